import pytest

from agf_core.data.artist_names import fold_artist_name

ONE_ARTIST = [
    ("The Beatles", "beatles", "Beatles, The", "THE  BEATLES", "ＢＥＡＴＬＥＳ", "The Beatles."),  # noqa: RUF001
    ("Björk", "Bjork", "BJÖRK", "Bjo\u0308rk"),
    ("Sigur Rós", "sigur ros"),
    ("Röyksopp", "Røyksopp"),
    ("AC/DC", "AC-DC", "ac dc"),
    ("Jay-Z", "JAY Z", "Jay‐Z"),  # noqa: RUF001
    ("R.E.M.", "REM", "r.e.m"),
    ("Destiny's Child", "Destiny’s Child", "Destinys Child"),  # noqa: RUF001
    ("Guns N' Roses", "Guns 'N' Roses", "Guns n Roses"),
    ("Simon & Garfunkel", "Simon and Garfunkel", "Simon + Garfunkel"),
    ("Earth, Wind & Fire", "Earth Wind and Fire"),
    ("Florence + the Machine", "Florence & The Machine"),
    ("Die Ärzte", "Ärzte, Die"),
    ("Los Lobos", "Lobos, Los"),
    ("A Tribe Called Quest", "Tribe Called Quest, A"),
    ("Ke$ha", "Kesha"),
    ("P!nk", "Pink"),
    ("ガックト", "ｶﾞｯｸﾄ"),
    ("Ёлка", "Елка", "ёлка"),
    ("Straße", "STRASSE"),
    ("The The", "the the", "The, The"),
    ("Little Feat", "Little Feat feat. Bonnie Raitt"),
    ("Nas", "Nas feat. Lauryn Hill", "Nas ft. Lauryn Hill", "Nas featuring Lauryn Hill"),
    ("Nas", "Nas (feat. Lauryn Hill)", "Nas [Ft. Lauryn Hill]", "Nas Feat Lauryn Hill & Others"),
]
THEMSELVES = {
    "!!!": "!!!",
    "???": "???",
    "+/-": "+/-",
    "The": "the",
    "The The": "the the",
    "Earth, Wind & Fire": "earth wind and fire",
    "Tyler, The Creator": "tyler the creator",
    "Crosby, Stills, Nash & Young": "crosby stills nash and young",
    "Little Feat": "little feat",
    "Little Feat & Friends": "little feat and friends",
    "Ft. Worth": "ft worth",
    "Defeater": "defeater",
    "The Unknown": "the unknown",
    "Various Production": "various production",
    "宇多田ヒカル": "宇多田ヒカル",
    "周杰倫": "周杰倫",
    "Кино": "кино",
    "Чайковский": "чайковский",
    "हरिहरन": "हरिहरन",
    "فيروز": "فيروز",
    "방탄소년단": "방탄소년단",
}
NOBODY = ["", " ", "Various Artists", "various", "VA", "V.A.", "V/A", "Unknown Artist", "[unknown]"]
NOBODY += ["<Unknown>", "Verschiedene Interpreten", "Artistes divers", "Разные исполнители", "群星"]


@pytest.mark.parametrize("names", ONE_ARTIST, ids=lambda names: names[0])
def test_spellings_of_one_artist(names):
    assert len({fold_artist_name(name) for name in names}) == 1
    assert fold_artist_name(names[0])


@pytest.mark.parametrize(("name", "key"), THEMSELVES.items())
def test_names_that_stay_themselves(name, key):
    assert fold_artist_name(name) == key
    assert fold_artist_name(key) == key


@pytest.mark.parametrize("name", NOBODY)
def test_names_of_nobody(name):
    assert fold_artist_name(name) == ""


def test_different_artists_stay_different():
    names = [
        "A",
        "B",
        "カックト",
        "ガックト",
        "Чай",
        "Чаи",
        "The The",
        "The Who",
        "!!!",
        "???",
        "REO",
    ]
    assert len({fold_artist_name(name) for name in names}) == len(names)
