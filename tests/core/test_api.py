"""The public names of agf_core, and the former places that still work."""

import importlib
import sys

import numpy as np
import pytest

import agf_core as agf


def test_every_public_name_can_be_imported():
    for name in agf.__all__:
        assert getattr(agf, name).__name__ == name
    assert set(agf.__all__) <= set(dir(agf))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        agf.nothing  # noqa: B018


def test_every_error_is_an_agf_error():
    errors = importlib.import_module("agf_core.errors")
    for name in vars(errors):
        if name.endswith("Error"):
            assert issubclass(getattr(errors, name), agf.AgfError)


def test_evaluate_gives_every_score_with_its_interval():
    truth = np.arange(60) % 3
    scores = agf.evaluate(np.eye(3)[truth] * 0.7 + 0.1, truth, np.arange(60) // 4)
    assert scores["accuracy"].value == scores["accuracy"].low == 1
    assert scores["log_loss"].value == pytest.approx(-np.log(0.8))
    assert set(scores) == {"accuracy", "macro_f1", "log_loss", "calibration_error"}


def test_former_places_work_and_warn():
    sys.modules.pop("agf_core.tagger", None)
    with pytest.warns(DeprecationWarning, match="has moved"):
        from agf_core.tagger import GenreTagger
    assert GenreTagger is agf.GenreTagger
    from agf_core import audio

    with pytest.warns(DeprecationWarning, match=r"agf_core\.audio\.AudioError has moved"):
        assert audio.AudioError is agf.AudioError
    with pytest.raises(AttributeError):
        audio.nothing  # noqa: B018
