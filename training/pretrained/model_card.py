"""The card of a model, filled from what the model says of itself."""

from collections.abc import Mapping
from typing import Any

from agf_core.bundle.format import Metadata
from training.targets import DESCRIPTORS
from training.teachers import features

INTERVAL_NOTE = "95 % intervals by bootstrap over artists"
LEAST_SHOWN = 0.3  # confidence; nearly all tracks have more


def model_card(metadata: Metadata) -> str:
    """Return the card as Markdown."""
    scores, trained_on, recipe = metadata.scores, metadata.trained_on, metadata.recipe
    overall = {
        name: f"{value:.3f} [{low:.3f}, {high:.3f}]"
        for name, (value, low, high) in scores["overall"].items()
    }
    weak = [genre for genre, row in scores["genres"].items() if row["recall"] < 1 / 3]
    one_source = [genre for genre, row in scores["genres"].items() if row["sources"] == 1]
    by_fold = ", ".join(f"{x:.3f}" for x in scores["accuracy_by_fold"].values())
    sources = "\n".join(f"- {name}: {n} clips" for name, n in trained_on["sources"].items())
    spec = metadata.input
    return f"""# {metadata.name}

Hears {spec.excerpt_seconds:g} seconds of a track, in pieces spread over it \
({spec.excerpt_pieces}), up to {spec.fmax / 1000:g} kHz, and gives the probability of each of
{len(metadata.labels)} genres: {", ".join(metadata.labels)}.

## How good it is

{scores["tracks"]} clips by {scores["artists"]} artists with one main genre, in \
{len(scores["accuracy_by_fold"])} folds with no artist in two of them;
each clip predicted by a network that met nothing of its fold (normaliser included), with the
temperature that fits what the other folds' networks said of their clips.
Seed {recipe["networks"]["seed"]}, one run; {INTERVAL_NOTE}.

| score | value |
|---|---|
| accuracy | {overall["accuracy"]} |
| macro F1 | {overall["macro_f1"]} |
| log loss | {overall["log_loss"]} |
| calibration error (15 bins) | {overall["calibration_error"]} |
| always the most common genre: accuracy | {scores["most_common_genre_accuracy"]:.3f} |

Accuracy by fold: {by_fold}.

{genre_table(scores)}

Weak (fewer than a third of its clips found): {", ".join(weak) or "none"}.

What leaving unsure tracks alone buys, on the same clips:

{confidence_table(scores)}

## On the music of strangers

Learnt from one collection alone and asked about the other's clips of the main genres that both
have, which is the nearest to your music that could be measured:

{_strangers(scores["across_sources"])}

Read all these scores with care: {len(one_source)} of the genres come from one collection alone
({", ".join(one_source)}),
and a network can learn how a collection sounds rather than its music. Expect less on yours.

What it learns beside the genre was chosen by these folds, so that the scores flatter it a little.
The network that ships has learnt from the clips of all folds, so that no score of its own can be
given without other music. Its temperature ({metadata.temperature:.3f}) is fitted on the predictions
of folds and strangers together, so that it is less sure of itself than the folds alone would have
it. The table of confidence has for each fold a temperature fitted in that way without its clips.

## What it learnt from

{trained_on["tracks"]} clips, most of 30 to 60 seconds, by {trained_on["artists"]} artists;
{trained_on["with_genre"]} of them have one main genre:

{sources}
{_music(trained_on.get("unlabelled") or {}, replay=recipe["replay"])}{_variants(recipe)}
Most of these recordings are under copyright; neither they nor anything they could be heard from
again is part of the model. Genre labels are those of the collections, merged to
{len(metadata.labels)} main genres; clips with several of them teach \
{"each by its weight" if recipe["weighted_genres"] else "groups of artists, if anything"}.

## How

Recipe `{recipe["name"]}`: tasks {", ".join(recipe["tasks"])}; \
networks {recipe["networks"]["epochs"]} epochs, transfer MLP {recipe["transfer"]["epochs"]} epochs;
{_direct(recipe)}\
{spec.n_mels} mel bands, segments of \
{spec.segment_frames * spec.hop_length / spec.sample_rate:.1f} s.
The method is that of Kim et al., "Transfer Learning of Artist Group Factors to Musical Genre
Classification" (2018), {_beside(recipe["tasks"])}.

## What it must not be used for

It knows {len(metadata.labels)} broad genres of mostly Western popular and classical music, as two
collections label them. It does not know your sub-genres, speech or field recordings, and gives them
a genre all the same, if an unsure one. It is no judge of quality, origin or authorship.
"""


def genre_table(scores: Mapping[str, Any]) -> str:
    """Return the per-genre scores of `training.pretrained.evaluate` as Markdown."""
    head = "| genre | clips | artists | precision | recall |\n|---|---|---|---|---|"
    rows = [
        f"| {genre} | {row['tracks']} | {row['artists']} | {_number(row['precision'])} "
        f"| {_number(row['recall'])} |"
        for genre, row in scores["genres"].items()
    ]
    return "\n".join([head, *rows])


def confidence_table(scores: Mapping[str, Any]) -> str:
    """Return what leaving unsure tracks alone buys, as Markdown."""
    head = "| confidence at least | of all tracks | of these right |\n|---|---|---|"
    rows = [
        f"| {limit} | {row['share_of_tracks']:.0%} | {_percent(row['right'])} |"
        for limit, row in scores["by_confidence"].items()
        if float(limit) >= LEAST_SHOWN
    ]
    return "\n".join([head, *rows])


def _strangers(across: Mapping[str, Any]) -> str:
    """Return scores across sources as Markdown."""
    names = ("accuracy", "macro_f1", "log_loss")
    rows = [
        f"| {title} | {one['tracks']} | {one['artists']} | "
        + " | ".join("{:.3f} [{:.3f}, {:.3f}]".format(*one["overall"][name]) for name in names)
        + " |"
        for title, one in across.items()
    ]
    head = "| learnt from, to asked about | clips | artists | accuracy | macro F1 | log loss |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _music(unlabelled: Mapping[str, int], *, replay: bool) -> str:
    """Return of which music only what the teachers hear was learnt, as Markdown."""
    if not unlabelled:
        return ""
    names = ", ".join(sorted(unlabelled))
    return f"""
Before that{" and meanwhile" if replay else ""} it learnt what its teachers (below) hear of \
{sum(unlabelled.values())} tracks of freely licensed game music without genres,
from these packages of Debian: {names}.
"""


def _variants(recipe: Mapping[str, Any]) -> str:
    """Return how music was changed to learn more from it, as Markdown."""
    if not recipe["augmented_copies"]:
        return ""
    return f"""
Each clip and track was heard in {recipe["augmented_copies"]} more forms: faster or slower, by four
semitones at most, and half of them with game music mixed in. What these sound like was for
the teachers to say.
"""


def _direct(recipe: Mapping[str, Any]) -> str:
    if not recipe["linear_head"]:
        return ""
    share = f"{recipe['linear_head_share']:.0%}"
    text = f"a logistic regression over whole tracks has {share} of the logits"
    if recipe["class_balance"]:
        text += ",\nand gives rare genres more weight"
    return f"{text};\n"


def _beside(tasks: str) -> str:
    groups = " and ".join(DESCRIPTORS[task] for task in tasks if task in DESCRIPTORS)
    sources = [f"groups of artists made of {groups}"] if groups else []
    if features.TASK in tasks:
        sources.append(
            "what two\nteachers hear: musicnn (ISC licence), a tagger that learnt from the Million "
            "Song Dataset, and EfficientAT\n(MIT licence), which learnt voices, instruments and "
            "music among other sounds of AudioSet"
        )
    if not sources:
        return "with the genre as its only task"
    return f"with the genre and {', and '.join(sources)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
