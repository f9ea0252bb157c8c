"""A model tells which artists it was trained on without naming them."""

import json

import pytest

from agf_core.bundle.seen_artists import ARTIST_HASHES, hash_artists, seen_artists


def test_artists_are_known_however_they_are_spelt_and_not_named():
    hashes = json.loads(json.dumps(hash_artists(["The Beatles", "Sigur Rós", "!!!"])))
    assert "eatles" not in json.dumps(hashes)
    asked = ["beatles", "Beatles, The", "sigur ros", "!!!", "Nobody Else"]
    assert seen_artists({ARTIST_HASHES: hashes}, asked) == set(asked[:-1])


def test_tracks_of_nobody_are_not_seen_through_other_tracks_of_nobody():
    hashes = hash_artists(["Björk", ""])
    assert hashes == hash_artists(["Björk"])
    assert seen_artists({ARTIST_HASHES: hashes}, ["", "Björk"]) == {"Björk"}


def test_each_training_set_has_a_salt_of_its_own_and_is_hashed_alike_again():
    one, other = hash_artists(["Björk"]), hash_artists(["Björk", "Can"])
    assert one["salt"] != other["salt"]
    assert not set(one["artists"]) & set(other["artists"])
    assert hash_artists(["Björk"]) == one


@pytest.mark.parametrize("hashes", [None, [], {}, {"artists": "abc"}, {"artists": [1]}, "x"])
def test_a_model_that_does_not_say_has_seen_nobody(hashes):
    assert seen_artists({ARTIST_HASHES: hashes} if hashes is not None else {}, ["Björk"]) == set()
