import importlib.util
import os

import confuse
import pytest
from beets.ui import UserError

from beetsplug.agfgenre.config import DEFAULTS
from beetsplug.agfgenre.vocabulary import Vocabulary, read_learn_as, title, unique

TREE = """
- rock:
    - metal:
        - doom metal
    - punk rock
- electronic:
    - house
    -
- jazz
"""


def vocabulary(**options) -> Vocabulary:
    config = confuse.Configuration("test", read=False)
    config.set({**DEFAULTS, **options})
    return Vocabulary.from_config(config)


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "file"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_by_default_labels_stay_as_they_are():
    assert vocabulary().translate("Soul-RnB") == ["Soul-RnB"]


def test_whitelist_ignores_case_comments_and_blank_lines(write):
    words = vocabulary(whitelist=write("# wanted\n\n  hip-hop \nRock\n"))
    assert words.translate("Hip-Hop") == ["Hip-Hop"]
    assert words.translate("rock") == ["Rock"]
    assert words.translate("# wanted") == []
    assert words.translate("Electronic") == []


def test_canonical_without_whitelist_is_the_root_of_the_branch(write):
    words = vocabulary(canonical=write(TREE))
    assert words.translate("Doom Metal") == ["Rock"]
    assert words.translate("Jazz") == ["Jazz"]
    assert words.translate("Old-Time / Historic") == ["Old-Time / Historic"]


def test_canonical_with_whitelist_is_every_wanted_genre_of_the_branch(write, tmp_path):
    wanted = tmp_path / "wanted"
    wanted.write_text("metal\nrock\n")
    words = vocabulary(canonical=write(TREE), whitelist=str(wanted))
    assert words.translate("Doom Metal") == ["Metal", "Rock"]
    assert words.translate("Punk Rock") == ["Rock"]
    assert words.translate("House") == []


def test_aliases_come_first(write):
    aliases = {"hip hop": ["hip[ -]?hop"], r"\1-\2": ["(k)[ -]*(pop)"], "EDM": ["electronic"]}
    words = vocabulary(aliases=aliases, whitelist=write("hip hop\nk-pop\nedm\n"))
    assert words.translate("Hip-Hop") == ["Hip Hop"]
    assert words.translate("K Pop") == ["K-Pop"]
    assert words.translate("Electronic") == ["EDM"]
    assert words.translate("Hip-Hop Beats") == []


@pytest.mark.parametrize(
    "aliases", [{"": ["electronic"]}, {None: ["electronic"]}, {r"\1": ["(x)?electronic"]}]
)
def test_an_alias_to_nothing_means_that_the_genre_is_not_wanted(aliases, write):
    for more in ({}, {"canonical": write(TREE)}):
        words = vocabulary(aliases=aliases, **more)
        assert words.translate("Electronic") == []
        assert words.main("Electronic") == ""
        assert words.translate("Jazz") == ["Jazz"]


@pytest.mark.parametrize("nothing", ["~", "''", "' '", "no"])
def test_a_file_says_that_a_genre_is_not_wanted(write, nothing):
    assert vocabulary(aliases=write(f"{nothing}: [electronic]\n")).translate("Electronic") == []


def test_aliases_may_be_a_file(write):
    assert vocabulary(aliases=write("hip hop: [hip-hop]\n")).translate("Hip-Hop") == ["Hip Hop"]


def test_without_title_case_names_are_as_in_the_files(write):
    words = vocabulary(canonical=write(TREE), title_case=False)
    assert words.translate("Doom Metal") == ["rock"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rock", "Rock"),
        ("r&b/soul", "R&B/Soul"),
        ("R&B/Soul", "R&B/Soul"),
        ("hip-hop", "Hip-Hop"),
        ("drum and bass", "Drum And Bass"),
        ("children's music", "Children's Music"),
        ("70s", "70s"),
        ("IDM", "IDM"),
        ("Soul-RnB", "Soul-RnB"),
        ("música popular", "Música Popular"),
    ],
)
def test_title_case(name, expected):
    assert title(name) == expected


def test_unique_keeps_the_first_of_each():
    assert unique(["Rock", "Jazz", "rock", "Pop"]) == ["Rock", "Jazz", "Pop"]


# Lastgenre's own files


def bundled(name: str) -> bool:
    folder = importlib.util.find_spec("beetsplug.lastgenre").submodule_search_locations[0]
    return os.path.exists(os.path.join(folder, name))


def test_yes_means_the_files_of_lastgenre():
    words = vocabulary(whitelist=True, canonical=True)
    assert words.translate("Doom Metal") == ["Doom Metal", "Heavy Metal", "Rock"]
    assert vocabulary(canonical=True).translate("Doom Metal") == ["Rock"]


@pytest.mark.parametrize("value", [False, "", None])
def test_nothing_means_no(value):
    assert vocabulary(whitelist=value, canonical=value, aliases=value) == vocabulary()


def test_aliases_of_lastgenre_are_used_where_beets_has_them():
    if bundled("aliases.yaml"):
        assert vocabulary(aliases=True).translate("Hip-Hop") == ["Hip Hop"]
    else:
        with pytest.raises(UserError, match="name a file of your own instead of yes"):
            vocabulary(aliases=True)


# Files that cannot be used


@pytest.mark.parametrize(
    ("option", "text", "problem"),
    [
        ("whitelist", b"caf\xe9\n", "not UTF-8"),
        ("whitelist", "# nothing\n", "names no genre"),
        ("canonical", "- rock: [\n", "not YAML (line"),
        ("canonical", "rock\n", "holds no tree"),
        ("aliases", "- rock\n", "holds no mapping"),
        ("aliases", "rock: rawk\n", "has no list"),
        ("aliases", "rock: ['r(ock']\n", "cannot be used"),
        ("aliases", "r\\2: ['r(.*)']\n", "cannot be used (invalid group reference 2"),
        ("aliases", "r\\g<x>: ['r(.*)']\n", "cannot be used (unknown group name"),
    ],
)
def test_malformed_file_is_one_clear_line(write, option, text, problem):
    path = write(text)
    with pytest.raises(UserError) as caught:
        vocabulary(**{option: path})
    (message,) = caught.value.args
    assert message.startswith(f"agfgenre: {option}: ")
    assert path in message
    assert problem in message
    assert message.endswith(f"or set {option}: no")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("whitelist", "name a text file"),
        ("canonical", "name a file with a YAML tree"),
        ("aliases", "name a file with a YAML mapping"),
    ],
)
def test_missing_file_and_folder_and_number(option, remedy, tmp_path):
    with pytest.raises(UserError, match=rf"cannot be read \(No such file .*: {remedy}, or"):
        vocabulary(**{option: str(tmp_path / "none")})
    with pytest.raises(UserError, match="cannot be read"):
        vocabulary(**{option: str(tmp_path)})
    with pytest.raises(UserError, match="5 is neither yes, no nor a file"):
        vocabulary(**{option: 5})


def test_genres_are_trained_as_the_most_general_that_is_wanted(write, tmp_path):
    words = vocabulary(canonical=write(TREE))
    assert words.main("Doom Metal") == "Rock"
    assert words.main("zydeco") == "Zydeco"
    wanted = tmp_path / "wanted"
    wanted.write_text("metal\n")
    words = vocabulary(canonical=write(TREE), whitelist=str(wanted))
    assert words.main("Doom Metal") == "Metal"
    assert words.main("Jazz") == ""


def learn_as(value) -> dict[str, str]:
    config = confuse.Configuration("test", read=False)
    config.set({**DEFAULTS, "learn_as": value})
    return read_learn_as(config)


def test_genres_are_trained_as_a_file_or_the_configuration_says(write):
    expected = {"shoegaze": "Rock", "spoken": "", "блюз": "Blues"}
    assert learn_as(write("Shoegaze: Rock\nSpoken:\nБлюз: Blues\n")) == expected
    assert learn_as({"Shoegaze": "Rock", "Spoken": None, "Блюз": "Blues"}) == expected
    assert learn_as(False) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- Rock\n", "holds no mapping"),
        ("Rock: [a, b]\n", "holds no mapping"),
        ("a: b: c", "is not YAML"),
    ],
)
def test_a_mapping_that_is_none_is_one_clear_line(write, text, message):
    with pytest.raises(UserError, match=f"learn_as: .*{message}"):
        learn_as(write(text))


def test_there_is_no_mapping_that_comes_with_lastgenre():
    with pytest.raises(UserError, match="learn_as: True is neither"):
        learn_as(True)
