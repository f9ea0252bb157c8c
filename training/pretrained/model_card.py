"""The card of a model, filled from its metadata."""

from collections.abc import Mapping
from typing import Any

from agf_core.bundle.format import Metadata
from training.markdown import table

LEAST_CONFIDENCE_SHOWN = 0.3  # confidence; nearly all tracks have more


def model_card(metadata: Metadata) -> str:
    """Return the card as Markdown."""
    scores, trained_on, spec = metadata.scores, metadata.trained_on, metadata.input
    sources = "\n".join(f"- {name}: {n} tracks" for name, n in trained_on["sources"].items())
    return f"""# {metadata.name}

Analyses {spec.excerpt_seconds:g} seconds of a track, in {spec.excerpt_pieces} pieces spread over \
it, up to {spec.fmax / 1000:g} kHz, and predicts
the probability of each of {len(metadata.labels)} genres ({", ".join(metadata.labels)}),
that of {len(metadata.styles)} styles below them, and an embedding of 256 numbers.

## How good it is on collections it was not trained on

Every row is a collection that was left out of training: the network and the head that predict it
have seen none of its tracks and artists; the temperature is fitted on the other collections. All
{len(metadata.labels)} genres are allowed. Brackets are 95 % intervals by bootstrap over artists.
Written is what has a confidence of {scores["confidence"]:g} or more, the plugin's default, and
right is how much of that is right.

{collection_table(scores)}

{means_table(scores)}

The labels of `Famelgas/MULT_TP2` and `RohitJacob/MusicAnalysis` come with the clips. Those of the
other collections are people's own folders of whole songs: a fifth of their labels are the file's
own tag, the rest were assigned by artist and title. Which head ships was chosen on these
collections, so that the scores flatter it a little. Nearly all tracks of Blues, Country and Reggae
are in `Famelgas/MULT_TP2`: a model that has not seen it does not recognise them.

What leaving unsure tracks alone buys, on {scores["tracks"]} songs by {scores["artists"]} artists
in {scores["folds"]} of these collections:

{confidence_table(scores)}

Over the tracks of all collections, by genre:

{genre_table(scores)}

## What it was trained on

{trained_on["tracks"]} tracks by {trained_on["artists"]} artists; {trained_on["with_genre"]} of them
have a genre, one or several:

{sources}
{_music(trained_on.get("unlabelled") or {})}
Most of these recordings are under copyright; neither they nor anything they could be restored from
is part of the model.

## How

The network is a student of two others: musicnn (Pons and Serra, 2019; ISC licence), which predicts
50 tags of the Million Song Dataset, and EfficientAT's mn04_as (Schmid et al., 2023; MIT licence),
which predicts sounds and music of AudioSet. It predicts {metadata.architecture["sizes"]["classes"]}
classes of theirs for every 3 s. A table, `styles.yaml`, maps these classes to genres
and styles. Fitted to genre labels are only a weight for each teacher and a bias for each genre. How
surely a window is music is AudioSet's class of that name; speech and noise get flat probabilities.

A style's probability is that of its classes, as the teachers predict them. It is no share: a track
may have several styles or none.

## What it must not be used for

It predicts broad genres of mostly Western popular and classical music. International, Folk, Latin
and R&B/Soul are seldom recognised. It does not measure quality, origin or authorship.
"""


def collection_table(scores: Mapping[str, Any]) -> str:
    """Return the scores of each collection as Markdown."""
    head = ("collection", "tracks", "artists", "accuracy", "log loss", "written", "right")
    rows = [
        [
            *(name, str(one["tracks"]), str(one["artists"])),
            *(_interval(one["accuracy"]), _interval(one["log_loss"])),
            *(f"{one['written']:.0%}", _percent(one["right"])),
        ]
        for name, one in scores["by_collection"].items()
    ]
    return table(head, rows).rstrip()


def means_table(scores: Mapping[str, Any]) -> str:
    """Return mean accuracy and log loss over collections, of the model and of baselines."""
    n_headline, n_all = len(scores["headline"]), len(scores["by_collection"])
    head = ("accuracy / log loss, mean over", f"{n_headline} of whole songs", f"all {n_all}")
    rows = [
        [name, *("{:.3f} / {:.2f}".format(*one[which]) for which in ("headline", "all"))]
        for name, one in scores["means"].items()
    ]
    return table(head, rows).rstrip()


def genre_table(scores: Mapping[str, Any]) -> str:
    """Return the scores of each genre as Markdown."""
    head = ("genre", "tracks", "predicted", "precision", "recall")
    rows = [
        [
            *(genre, str(row["tracks"]), str(row["predicted"])),
            *(_number(row["precision"]), _number(row["recall"])),
        ]
        for genre, row in scores["genres"].items()
    ]
    return table(head, rows).rstrip()


def confidence_table(scores: Mapping[str, Any]) -> str:
    """Return which share of tracks has a confidence, and how many of these are right."""
    rows = [
        [limit, f"{row['share_of_tracks']:.0%}", _percent(row["right"])]
        for limit, row in scores["by_confidence"].items()
        if float(limit) >= LEAST_CONFIDENCE_SHOWN
    ]
    return table(("confidence at least", "of all tracks", "of these right"), rows).rstrip()


def _music(unlabelled: Mapping[str, int]) -> str:
    """Return which music without genres it was trained on, as Markdown."""
    if not unlabelled:
        return ""
    names = ", ".join(sorted(unlabelled))
    return f"""
Besides these, {sum(unlabelled.values())} tracks without genres: {names}.
"""


def _interval(score: list[float]) -> str:
    return "{:.3f} [{:.3f}, {:.3f}]".format(*score)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
