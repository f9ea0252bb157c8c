"""The features of every track of a collection, made once for all experiments.

    python -m training.paper.prepare --table fma-medium.csv --work work

analyses every track of a table (see `training.datasets.collection`), on all cores or on the workers
of a Dask scheduler (``--scheduler``). Stopped, it goes on where it was. It leaves in ``work``

===========================  =====================================================================
``features/``                log-mel, MFCCs and Essentia's descriptors, a file per track and kind
``spectrograms/``            log-mel of all tracks in one file, which is mapped into memory
``tracks.csv``               the tracks that could be read; the audio is not needed any more
``prepared.json``            which table all that was made from
===========================  =====================================================================

and is the folder that every other command is given as ``--work``.
"""

import argparse
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core.audio import decode
from agf_core.data.tracks import Track
from agf_core.features.cache import FeatureCache
from agf_core.features.descriptors import kind_of, possible_sources
from agf_core.features.spectrogram import InputSpec
from agf_core.train.dataset import PackedRows, fit_normaliser
from agf_core.utils import atomic
from training import cli
from training.datasets.collection import Collection, read_csv, write_csv
from training.errors import DAMAGE, CollectionError, RunError, undamaged
from training.features import make_features, spectrogram, spectrogram_kind
from training.paper import cli as paper_cli
from training.paper import cluster

FROM_AUDIO = "me"  # sources made of a track's audio; d is made of m, and s of labels


@dataclass(frozen=True)
class Prepared:
    """A collection whose features are made.

    Attributes
    ----------
    work : Path
    collection : Collection
        Without the tracks that could not be read.
    spectrograms : PackedRows
        Of its tracks, float16 decibels, mapped from a file.
    spec : InputSpec
        What they were made by.
    """

    work: Path
    collection: Collection
    spectrograms: PackedRows
    spec: InputSpec

    def normaliser(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of each mel band over a split's training set.

        Kept in a file, because it takes a minute for FMA-medium. See `fit_normaliser`.
        """
        path = _packed(self.work, self.spec)[0].with_suffix(f".{split}.npy")
        try:
            mean, std = np.load(path)
        except (FileNotFoundError, *DAMAGE):
            train = self.collection.part(split, "train")
            mean, std = fit_normaliser(self.spectrograms[i] for i in train)
            with atomic.written(path) as file:
                np.save(file, np.stack([mean, std]))
        return mean, std

    @classmethod
    def open(cls, work: Path, spec: InputSpec) -> "Prepared":
        """Read what `prepare` has made; `CollectionError` when it has not."""
        rows, index = _packed(work, spec)
        try:
            name = json.loads((work / "prepared.json").read_text(encoding="utf-8"))["name"]
            known = json.loads(index.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError):
            raise CollectionError(
                f"{work} holds no prepared collection for this recipe; run"
                " `python -m training.paper.prepare --table TABLE --work WORK` with the "
                "same --recipe"
            ) from None
        collection = replace(read_csv(work / "tracks.csv"), name=name)
        try:
            if known["track_ids"] != [track.track_id for track in collection.tracks]:
                raise ValueError("it is of other tracks")
            return cls(work, collection, PackedRows.open(rows, known["counts"]), spec)
        except (OSError, ValueError) as error:
            raise CollectionError(
                f"{rows} is damaged ({error}); run training.paper.prepare again"
            ) from None


def prepare(
    table: Path,
    work: Path,
    spec: InputSpec,
    *,
    sources: str = FROM_AUDIO,
    scheduler: str | None = None,
    workers: int | None = None,
) -> Prepared:
    """Make the features of every track; those that are there are kept.

    Tracks that cannot be read are left out and listed, as is what a source cannot describe.

    Parameters
    ----------
    sources : str
        Letters of the sources to describe tracks by.
    scheduler, workers
        See `training.paper.cluster.connect`.

    Raises
    ------
    CollectionError
        When the table is bad, or `work` was prepared from another.
    RunError
        When a track's features cannot be made for another reason than its sound, such as
        a full disk, or `work` has groups or runs of other tracks. Finished features are kept.
    """
    table, work = table.absolute(), work.absolute()
    collection = read_csv(table, audio_needed=True)
    work.mkdir(parents=True, exist_ok=True)
    fingerprint = hashlib.sha256(table.read_bytes()).hexdigest()
    made_from = work / "prepared.json"
    if made_from.exists() and fingerprint != _fingerprint(made_from):
        raise CollectionError(
            f"{work} was prepared from another table than {table}, or it has changed since;"
            " give another --work"
        )
    sources, left_out = possible_sources("".join(s for s in FROM_AUDIO if s in sources))
    if left_out:
        print(left_out)
    cache = FeatureCache(work / "features")
    kinds = [spectrogram_kind(spec), *(kind_of(s, fmax=spec.fmax) for s in sources)]
    wanted = [  # by name alone: what is damaged is seen when it is read
        track
        for track in collection.tracks
        if not all(cache.has_file(kind, track.track_id) for kind in kinds)
    ]
    unreadable = {}
    if wanted:
        make = partial(make_features, work / "features", spec, sources)
        with cluster.connect(scheduler, workers or os.cpu_count() or 1) as client:
            done = cluster.each(client, make, wanted)
            n_made = len(collection.tracks) - len(wanted)
            for track, errors, problem in tqdm(
                done, total=len(collection.tracks), initial=n_made, desc="tracks", unit="track"
            ):
                if problem:  # not the track's fault, or that of its sound
                    which = f"track {track.track_id} ({decode.shown(track.path)})"
                    raise RunError(cluster.reason(problem, which)) from problem
                if "log-mel" in errors:
                    unreadable[track.track_id] = errors["log-mel"]
                for what, why in errors.items():
                    tqdm.write(f"track {track.track_id}, left out of {what}: {why}")
    collection = collection.without(unreadable)
    if not collection.tracks:
        raise CollectionError(f"{table} has no track that can be read; see above")
    _check_derived(work, collection.tracks)
    _pack(collection.tracks, spec, cache, *_packed(work, spec))
    write_csv(collection, work / "tracks.csv")
    with atomic.written(made_from) as file:
        file.write(f"{json.dumps({'name': collection.name, 'sha256': fingerprint})}\n".encode())
    print(collection.summary())
    return Prepared.open(work, spec)


def _fingerprint(made_from: Path) -> str:
    """Return the checksum of the table that a folder was prepared from."""
    with undamaged(made_from, "delete it and run the command again"):
        return str(json.loads(made_from.read_text(encoding="utf-8"))["sha256"])


def _check_derived(work: Path, tracks: Sequence[Track]) -> None:
    """Raise a `RunError` if groups or runs are of other tracks: they count them by their places."""
    derived = [path for path in (*work.glob("groups-*"), work / "runs") if path.exists()]
    if not derived or not (work / "tracks.csv").exists():
        return
    before = [track.track_id for track in read_csv(work / "tracks.csv").tracks]
    if before != [track.track_id for track in tracks]:
        raise RunError(
            f"{work} has groups or runs of the {len(before)} tracks that could be read before, but"
            f" now {len(tracks)} can be read; delete {', '.join(map(str, derived))} and run the"
            " command again, or give another --work"
        )


def _packed(work: Path, spec: InputSpec) -> tuple[Path, Path]:
    """Return where the spectrograms of all tracks are, and the index of them."""
    folder = work / "spectrograms"
    return folder / f"{spectrogram_kind(spec)}.npy", folder / f"{spectrogram_kind(spec)}.json"


def _pack(
    tracks: Sequence[Track], spec: InputSpec, cache: FeatureCache, rows: Path, index: Path
) -> None:
    """Write the spectrograms of all tracks one behind the other, unless that is done.

    What was worked out from those of other tracks is removed.
    """
    ids = [track.track_id for track in tracks]
    try:
        known = json.loads(index.read_text(encoding="utf-8"))
        PackedRows.open(rows, known["counts"])
        if known["track_ids"] == ids:
            return
    except (FileNotFoundError, *DAMAGE):
        pass
    for normaliser in rows.parent.glob(f"{rows.stem}.*.npy"):
        normaliser.unlink()
    counts: list[int] = []

    def header() -> bytes:
        """Describe the rows as far as they are written; numpy leaves room for their number."""
        buffer = io.BytesIO()
        shape = (sum(counts), spec.n_mels)
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": "<f2", "fortran_order": False, "shape": shape}
        )
        return buffer.getvalue()

    with atomic.written(rows) as file:
        size = file.write(header())
        for track in tqdm(tracks, desc="one file", unit="track"):
            mine = spectrogram(track, spec, cache)
            file.write(mine.astype("<f2").tobytes())
            counts.append(len(mine))
        assert len(header()) == size
        file.seek(0)
        file.write(header())
    with atomic.written(index) as file:
        file.write(f"{json.dumps({'track_ids': ids, 'counts': counts})}\n".encode())


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--table", type=Path, required=True, help="CSV of training.datasets.collection"
    )
    parser.add_argument("--work", type=cli.folder, required=True, help="folder to fill")
    parser.add_argument("--sources", default=FROM_AUDIO, help="letters; default %(default)s")
    paper_cli.add_recipe(parser)
    cli.add_cluster(parser)
    arguments = parser.parse_args()
    prepare(
        arguments.table,
        arguments.work,
        paper_cli.recipe_of(arguments).input,
        sources=arguments.sources,
        scheduler=arguments.scheduler,
        workers=arguments.workers,
    )


if __name__ == "__main__":
    main()
