"""One genre is one genre, whatever the case, Unicode form or byte-order mark of its name."""

import unicodedata

import confuse
import pytest
from beets.ui import UserError
from beets_helpers import FakeTagger, open_library, summary

from agf_core.data.genre_names import namesakes
from beetsplug.agfgenre.config import DEFAULTS
from beetsplug.agfgenre.train.training_set import TrainingSet
from beetsplug.agfgenre.vocabulary import Vocabulary, read_learn_as, title, unique

FORMS = ("NFC", "NFD")
NAMES = ("Música Popular", "シティ・ポップ", "Việt Nam", "가요")
PAIRS = [(one, other) for one in FORMS for other in FORMS]


def options(**values) -> confuse.Configuration:
    config = confuse.Configuration("test", read=False)
    config.set({**DEFAULTS, **values})
    return config


def vocabulary(**values) -> Vocabulary:
    return Vocabulary.from_config(options(**values))


@pytest.fixture
def write(tmp_path):
    def write(text: str, encoding: str = "utf-8") -> str:
        path = tmp_path / "file"
        path.write_text(text, encoding=encoding)
        return str(path)

    return write


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("label", "file"), PAIRS)
def test_files_of_genres_match_labels_of_either_form(write, name, label, file):
    label, named = unicodedata.normalize(label, name), unicodedata.normalize(file, name)
    assert vocabulary(whitelist=write(f"{named}\n")).translate(label) == [label]
    assert vocabulary(aliases={"World": [named]}).translate(label) == ["World"]
    assert vocabulary(aliases=write(f"World: ['{named}']\n")).translate(label) == ["World"]
    assert vocabulary(canonical=write(f"- world:\n    - {named}\n")).translate(label) == ["World"]
    tree = vocabulary(canonical=write(f"- {named}:\n    - fado\n"), title_case=False)
    assert tree.translate("Fado") == [named.lower()]  # the form of the tree
    learnt = read_learn_as(options(learn_as=write(f"{named}: World\n")))
    assert learnt == read_learn_as(options(learn_as={label: "World"}))


@pytest.mark.parametrize("form", FORMS)
def test_title_case_leaves_letters_below_accents_alone(form):
    name = unicodedata.normalize(form, "música popular")
    assert title(name) == unicodedata.normalize(form, "Música Popular")


def test_lists_of_genres_have_each_once():
    forms = [unicodedata.normalize(form, "Música") for form in FORMS]
    assert unique([*forms, "música"]) == forms[:1]
    assert namesakes(forms[:1], forms) == [0, 0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(write, encoding):
    assert vocabulary(whitelist=write("Rock\nJazz\n", encoding)).translate("Rock") == ["Rock"]
    assert vocabulary(canonical=write("- pop:\n  - rock\n", encoding)).translate("Rock") == ["Pop"]
    assert vocabulary(aliases=write("pop: [rock]\n", encoding)).translate("Rock") == ["Pop"]
    assert read_learn_as(options(learn_as=write("Rock: Pop\n", encoding))) == {"rock": "Pop"}


@pytest.mark.parametrize(
    "text",
    [
        "&a [rock, *a]\n",
        "- rock: &a\n  - metal: *a\n",
        "&a\nrock: *a\n",
        "[" * 5000 + "]" * 5000,
    ],
)
@pytest.mark.parametrize("option", ["canonical", "aliases", "learn_as"])
def test_a_file_that_refers_to_itself_is_one_clear_line(write, text, option):
    read = read_learn_as if option == "learn_as" else Vocabulary.from_config
    with pytest.raises(UserError, match=rf"^agfgenre: {option}: ") as caught:
        read(options(**{option: write(text)}))
    (message,) = caught.value.args
    assert "\n" not in message


@pytest.mark.parametrize("smallest", ["[rock, pop]", "[]", "{}", "rock: []"])
def test_a_tree_that_anchors_make_huge_is_one_clear_line(write, smallest):
    doubled = "".join(f"- &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    with pytest.raises(UserError, match="more than 100000 branches"):
        vocabulary(canonical=write(f"- &a0\n  {smallest}\n{doubled}"))


def test_a_genre_above_nothing_is_a_genre_of_the_tree(write):
    tree = write("- pop:\n  - city pop: []\n  - {yé-yé: {}}\n")
    assert vocabulary(canonical=tree).translate("City Pop") == ["Pop"]
    assert vocabulary(canonical=tree).translate("Yé-yé") == ["Pop"]


def test_files_with_byte_order_marks_may_be_joined(write):
    words = vocabulary(whitelist=write("\ufeff\ufeffRock\n\ufeffJazz\n"))
    assert words.whitelist == {"rock", "jazz"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("option", ["whitelist", "canonical", "aliases"])
def test_another_encoding_is_one_clear_line(write, option, encoding):
    with pytest.raises(UserError, match="is not UTF-8 text: save it as UTF-8"):
        vocabulary(**{option: write("Rock: [rock]\n", encoding)})


def test_a_date_that_is_none_is_one_clear_line(write):
    with pytest.raises(UserError, match="is not YAML"):
        vocabulary(canonical=write("- 2001-99-99\n"))


# In a library


class Named(FakeTagger):
    """Predicts a genre whose name is decomposed."""

    labels = (unicodedata.normalize("NFD", "Música"), "Rock")
    styles = ()

    def predict_files(self, paths):
        from agf_core.inference.prediction import FileResult, Prediction

        for path in paths:
            yield FileResult(path, Prediction(self.labels, [0.9, 0.1]))


@pytest.fixture
def library(monkeypatch):
    yield from open_library(monkeypatch, Named())


@pytest.mark.parametrize("form", FORMS)
def test_a_genre_that_is_there_in_another_form_is_right_and_stays(library, form):
    there = unicodedata.normalize(form, "Música")
    library.track("a", genres=[there])
    library.beet("agfgenre", "-f")
    assert library.genres("a") == [there]
    assert "already right: 1 track" in summary(library)
    library.beet("agfgenre", "-k")
    assert library.genres("a") == [there]


@pytest.mark.parametrize("form", FORMS)
def test_genres_that_we_have_set_are_known_in_either_form(library, form):
    name = unicodedata.normalize(form, "Música")
    library.track("a", genres=[name], agf_set=[unicodedata.normalize("NFC", name)])
    library.configure(min_confidence=1)
    library.beet("agfgenre", "-r")
    assert library.genres("a") == []


def test_both_forms_are_trained_as_one_genre_in_the_more_common_one(library):
    forms = [unicodedata.normalize(form, "Música") for form in ("NFC", "NFD", "NFD")]
    for i, name in enumerate(forms):
        library.track(f"t{i}", genres=[name], artist=f"Artist {i}")
    tracks = TrainingSet.of(library.lib.items(), Vocabulary(), {}).tracks
    assert {track.genre for track in tracks} == {forms[-1]}
    assert len({track.labels for track in tracks}) == 1
