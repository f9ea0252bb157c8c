"""Damages models, and tries to predict and to train with each as `beet` does.

python -m tests.stress.models [--models 500] [--seed 0]

Copies of the model that ships: each of its files in turn is cut off, changed, blanked, exchanged
with another, missing, or a folder. In half of them the checksums are made right again, as somebody
would who means harm, so that what is damaged is really used. Each must be one short line that names
the model, or a prediction and a network to train further; the run goes on in any case.
"""

import argparse
import hashlib
import json
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from agf_core.bundle import format as bundle_format
from agf_core.bundle.format import CARD, METADATA, NETWORK, SHIPPED, WEIGHTS
from agf_core.errors import LONGEST_MESSAGE, BundleError
from agf_core.inference import worker
from agf_core.inference.worker import IsolatedTagger
from agf_core.train.export import groups_from_bundle, network_from_bundle
from tests.stress.damage import blank, cut, empty, exaggerate, flip, flip_head, shuffle
from tests.stress.workplace import CLIPS, versions

FILES = (METADATA, NETWORK, WEIGHTS, CARD)
DAMAGES = (blank, cut, empty, exaggerate, flip, flip_head, shuffle)
NONSENSE = (0, -1, 1e308, 2**63, 2**31, 1e-308, None, "x", [], {}, True)
NONSENSE += (float("nan"), "\x1b[2J", "x" * 10**6, [0.0] * 10**6, 10**400, [["g"] * 100] * 100)


def damage(folder: Path, name: str, rng: random.Random) -> str:
    """Damage one file of a model; return how."""
    path = folder / name
    how = rng.choice((*DAMAGES, "missing", "folder", "exchanged", "nonsense"))
    if callable(how):
        path.write_bytes(how(bytearray(path.read_bytes()), b"", rng))
        return how.__name__
    if how == "exchanged":
        other = folder / rng.choice([file for file in FILES if file != name])
        content = path.read_bytes()
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif how == "nonsense":  # in the description, whichever file's turn it is
        values = json.loads((folder / METADATA).read_text())
        parts = ("input", "normaliser", "architecture", "tasks", "scores", "trained_on")
        inner = rng.choice((values, *(values[part] for part in parts)))
        inner[rng.choice(sorted(inner))] = rng.choice(NONSENSE)
        (folder / METADATA).write_text(json.dumps(values))
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
    return how


def correct(folder: Path) -> None:
    """Make the checksums those of the files, if the description can be read still."""
    try:
        values = json.loads((folder / METADATA).read_bytes())
        for name in values["sha256"]:
            values["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / METADATA).write_text(json.dumps(values))
    except (OSError, ValueError, TypeError, KeyError):
        pass


def run(models: int, seed: int) -> tuple[Counter[str], float]:
    """Do all of it; return what became of the models, and the longest time one took."""
    worker.SECONDS_WITHOUT_ANSWER = 30
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    longest = 0.0
    with TemporaryDirectory() as scratch:
        for number in range(models):
            folder = Path(scratch, f"model-{number}")
            shutil.copytree(SHIPPED, folder)
            how = damage(folder, FILES[number % len(FILES)], rng)
            if number // len(FILES) % 2:
                correct(folder)
            start = time.monotonic()
            outcome = attempt(folder)
            longest = max(longest, time.monotonic() - start)
            counts[outcome] += 1
            if number % 50 == 49:
                print(f"{number + 1} models, the last {how}: {outcome}", flush=True)
            shutil.rmtree(folder)
    return counts, longest


def attempt(folder: Path) -> str:
    """Predict with a model; return the outcome in a few words."""
    try:
        model = bundle_format.load(folder)
    except BundleError as error:
        _check(error, folder)
        return "refused when loaded"
    tagger = IsolatedTagger(model, threads=1)
    try:
        (result,) = tagger.predict_files([CLIPS / "askyel.mp3"])
    except BundleError as error:
        _check(error, folder)
        return "refused before predicting"
    finally:
        tagger.close()
    if result.error:
        return "could not predict, and reported it"
    try:
        network_from_bundle(model)
        groups_from_bundle(model)
    except BundleError as error:
        _check(error, folder)
        return "predicted a genre, but refused further training"
    return "predicted a genre"


def _check(error: BundleError, folder: Path) -> None:
    message = str(error)
    assert folder.name in message, message
    assert message.isprintable(), message
    assert len(message) <= LONGEST_MESSAGE, message


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    counts, longest = run(**vars(parser.parse_args()))
    print(versions())
    for outcome, count in counts.most_common():
        print(f"{count:7} {outcome}")
    print(f"the slowest took {longest:.1f} s")


if __name__ == "__main__":
    main()
