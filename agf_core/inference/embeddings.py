"""What networks make of tracks, kept: nothing is analysed twice.

One file of SQLite holds the `Features` of every track, by model and by the sound itself
(its beginning and its length), so that tags and names may change and files may move. Which
sound a file holds is kept as well, until the file's size or time of change is another; an empty
key stands for a file that could not be analysed.

It is a cache. A store that is damaged is made again; one that cannot be used, because it is a newer
version's, its disk is full or another process holds it, is done without. `EmbeddingStore.problem`
then holds the reason, one sentence.
"""

import sqlite3
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from agf_core.bundle.format import Metadata
from agf_core.errors import AnyPath
from agf_core.inference.prediction import Features, FileResult, P, predict
from agf_core.utils.file_identity import file_identity

T = TypeVar("T")
Row = tuple[int, bytes, bytes, bytes, bytes]  # index of a file, its sound, its stored features

SCHEMA_VERSION = 1
DTYPES = "<f2", "<f4", "<f4"  # of embeddings, log probabilities and styles
SUM_TOLERANCE = 1e-3  # by which stored probabilities may miss 1 together
LOCK_SECONDS = 10.0  # seconds that another process is waited for
RESULTS_PER_WRITE = 64  # results that are stored at a time
FILES_PER_SELECT = 500
SCHEMA = """
    CREATE TABLE IF NOT EXISTS models (id INTEGER PRIMARY KEY, model_id TEXT UNIQUE NOT NULL);
    CREATE TABLE IF NOT EXISTS tracks (
        model INTEGER NOT NULL, sound BLOB NOT NULL, embedding BLOB NOT NULL,
        log_probabilities BLOB NOT NULL, styles BLOB NOT NULL, PRIMARY KEY (model, sound)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS files (file BLOB PRIMARY KEY, sound BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """The `Features` of many files, a row for each file that has any.

    Attributes
    ----------
    files : np.ndarray [shape=(n,), dtype=int]
        Which of the files has each row, ascending.
    keys : list of str
        Of their sounds.
    embeddings : np.ndarray [shape=(n, n_embedding), dtype=float16]
    log_probabilities : np.ndarray [shape=(n, n_base), dtype=float32]
    style_probabilities : np.ndarray [shape=(n, n_styles), dtype=float32]
    """

    files: np.ndarray
    keys: list[str]
    embeddings: np.ndarray
    log_probabilities: np.ndarray
    style_probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows as they are stored, all of the same sizes, column by column.

    They grow in place: the features of a large library are never in memory twice.
    """

    files: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    columns: list[bytearray] = field(default_factory=lambda: [bytearray() for _ in DTYPES])

    def add(self, file: int, sound: bytes, *blobs: bytes) -> None:
        self.files.append(file)
        self.keys.append(sound.hex())
        for column, blob in zip(self.columns, blobs, strict=True):
            column += blob

    def table(self, sizes: Sequence[int]) -> FeatureTable:
        """Return the rows whose numbers make sense; `sizes` are those of a row in bytes."""
        files, keys = np.array(self.files, int), self.keys
        columns = [
            np.frombuffer(column, kind).reshape(len(files), size // int(kind[-1]))
            for column, kind, size in zip(self.columns, DTYPES, sizes, strict=True)
        ]
        sound = np.abs(np.exp(columns[1]).sum(axis=1) - 1) <= SUM_TOLERANCE
        for column in columns:
            sound &= np.isfinite(column).all(axis=1)
        if not sound.all():
            files, columns = files[sound], [column[sound] for column in columns]
            keys = [key for key, there in zip(keys, sound.tolist(), strict=True) if there]
        return FeatureTable(files, keys, *columns)


class EmbeddingStore:
    """Features of tracks in a file.

    May be used from several threads and processes. No method raises: without a usable file nothing
    is found and nothing is stored. After a write that fails nothing more is stored, but what is
    there is found as before.

    Parameters
    ----------
    path : Path
        Made when first needed.
    on_damage : callable, optional
        Called with the path when a damaged file has been removed, to be made again.

    Attributes
    ----------
    problem : str
        Why the file cannot be used or written; empty if it can.
    """

    def __init__(self, path: Path, on_damage: Callable[[Path], None] = lambda path: None) -> None:
        self.path, self.problem = path, ""
        self._on_damage = on_damage
        self._unreadable = False
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def features(self, model_id: str, key: str) -> Features | None:
        """Return the features that a model made of a sound; None where there are none."""
        row = self._attempt(
            lambda connection: connection.execute(
                "SELECT embedding, log_probabilities, styles FROM tracks WHERE sound = ? AND "
                "model = (SELECT id FROM models WHERE model_id = ?)",
                (_blob(key), model_id),
            ).fetchone()
        )
        return None if row is None else _decoded(row)

    def key_of(self, path: AnyPath) -> str:
        """Return the key of the sound in a file; "" where it is unknown or the file has changed."""
        return (self._sound_in(path) or b"").hex()

    def has_failed(self, path: AnyPath) -> bool:
        """Whether a file is not there, or could not be analysed and has not changed since."""
        return self._sound_in(path) == b""

    def _sound_in(self, path: AnyPath) -> bytes | None:
        """Return the sound in a file, b"" where that has failed; None where it is unknown."""
        try:
            file = file_identity(path)
        except OSError:
            return b""
        row = self._attempt(
            lambda connection: connection.execute(
                "SELECT sound FROM files WHERE file = ?", (file,)
            ).fetchone()
        )
        return row[0] if row and isinstance(row[0], bytes) else None

    def table(self, model_id: str, paths: Sequence[AnyPath], n_base: int) -> FeatureTable:
        """Return the features that a model made of files, of all that are known and unchanged.

        Parameters
        ----------
        model_id : str
        paths : sequence of path
        n_base : int
            Number of the model's genres.
        """
        by_sizes: dict[tuple[int, ...], _Rows] = defaultdict(_Rows)
        for start in range(0, len(paths), FILES_PER_SELECT):
            for row in self._rows(model_id, paths[start : start + FILES_PER_SELECT], start):
                by_sizes[tuple(map(len, row[2:]))].add(*row)
        sizes = [size for size in by_sizes if size[1] == 4 * n_base]
        right = max(sizes, key=lambda size: len(by_sizes[size].files), default=(0, 4 * n_base, 0))
        return by_sizes[right].table(right)

    def _rows(self, model_id: str, paths: Sequence[AnyPath], start: int) -> list[Row]:
        places: dict[bytes, list[int]] = defaultdict(list)
        for i, path in enumerate(paths, start):
            with suppress(OSError):
                places[file_identity(path)].append(i)
        marks = ", ".join("?" * len(places))
        found = self._attempt(
            lambda connection: connection.execute(
                "SELECT file, tracks.sound, embedding, log_probabilities, styles FROM files "
                "JOIN tracks ON tracks.sound = files.sound WHERE model = "
                f"(SELECT id FROM models WHERE model_id = ?) AND file IN ({marks})",
                (model_id, *places),
            ).fetchall()
        )
        return sorted((i, *blobs) for file, *blobs in found or () for i in places[file])

    def add(self, model_id: str, results: Sequence[FileResult[Any]]) -> None:
        """Store the features of results that have any, and which files could not be analysed."""
        there = [(r, r.features) for r in results if r.features is not None and r.key]
        files = list(_files([result for result, _ in there]))
        failed = list(_files([r for r in results if r.error is not None]))

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(
                    "INSERT OR IGNORE INTO models (model_id) VALUES (?)", (model_id,)
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO tracks "
                    "SELECT id, ?, ?, ?, ? FROM models WHERE model_id = ?",
                    [(_blob(r.key), *_encoded(features), model_id) for r, features in there],
                )
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", files)
                connection.executemany("INSERT OR IGNORE INTO files VALUES (?, ?)", failed)

        if there or failed:
            self._attempt(write, writes=True)

    def follow(self, changes: Mapping[AnyPath, bytes]) -> None:
        """Record that files hold the sounds of files that were.

        Parameters
        ----------
        changes : mapping
            For the path of each file, the identity (`file_identity`) of the file that it was before
            it was moved, copied or given other tags.
        """
        pairs = []
        for path, before in changes.items():
            with suppress(OSError):  # it is gone
                pairs.append((file_identity(path), before))

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("UPDATE OR REPLACE files SET file = ? WHERE file = ?", pairs)

        self._attempt(write, writes=True)

    def counts(self) -> dict[str, int]:
        """Return the number of tracks with features of each model, by its id."""
        rows = self._attempt(
            lambda connection: connection.execute(
                "SELECT model_id, (SELECT count(*) FROM tracks WHERE model = id) FROM models"
            ).fetchall()
        )
        return dict(rows or ())

    def remove(self, model_ids: Iterable[str]) -> None:
        """Remove all features of models, and give their room back to the disk.

        A process that is killed meanwhile leaves all of them or none.
        """
        ids = [(model_id,) for model_id in model_ids]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "DELETE FROM tracks WHERE model = (SELECT id FROM models WHERE model_id = ?)",
                    ids,
                )
                connection.executemany("DELETE FROM models WHERE model_id = ?", ids)
                connection.execute(
                    "DELETE FROM files WHERE sound NOT IN (SELECT sound FROM tracks)"
                )
            with suppress(sqlite3.OperationalError):  # no room for a copy: the next ones reuse it
                connection.execute("VACUUM")

        if self.path.is_file():
            self._attempt(write, writes=True)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            self._close()

    def _attempt(self, use: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T | None:
        """Use the file; make it again if it is damaged, and do without it if it is unusable."""
        with self._lock:
            for last in (False, True):
                if self._unreadable or (writes and self.problem):
                    return None
                try:
                    return use(self._opened())
                except (sqlite3.Error, OSError) as error:
                    self._close()
                    if last or not _is_damage(error) or not self._removed():
                        self.problem = f"{self.path} cannot be used ({error})"
                        self._unreadable = not writes
                    else:
                        self._on_damage(self.path)
        return None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, LOCK_SECONDS, check_same_thread=False)
            self._connection = connection
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise sqlite3.NotSupportedError("it was made by a newer version of beets-agf")
            if version != SCHEMA_VERSION:
                connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.commit()
            connection.execute("PRAGMA synchronous = NORMAL")
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _removed(self) -> bool:
        """Remove a damaged file, with what SQLite keeps beside it; return whether it is gone."""
        try:
            for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                path.unlink(missing_ok=True)
        except OSError:
            return False
        return True


class FilePredictor(Protocol):
    """What predicts from files and knows its model."""

    metadata: Metadata
    model_id: str

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files."""


class StoringTagger:
    """Predicts as another tagger does, but analyses no file whose features are stored.

    Parameters
    ----------
    tagger : FilePredictor
        Computes keys and features, as an `IsolatedTagger` with the path of the store does.
    store : EmbeddingStore
    """

    def __init__(self, tagger: FilePredictor, store: EmbeddingStore) -> None:
        self.metadata, self.model_id = tagger.metadata, tagger.model_id
        metadata = tagger.metadata
        self.labels, self.styles, self.prior = metadata.labels, metadata.styles, metadata.prior
        self.fine_tuned = "base_model" in tagger.metadata.recipe
        self.store = store
        self._tagger = tagger
        self._base_id = self.metadata.head.base_id if self.metadata.head else self.model_id

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files, in their order; see `GenreTagger.predict_files`."""
        ahead: deque[FileResult[P] | None] = deque()  # None where a file must be analysed

        def unknown() -> Iterator[P]:
            for path in paths:
                result = self.stored(path)
                ahead.append(result)
                if result is None:
                    yield path

        new: list[FileResult[P]] = []
        results = self._tagger.predict_files(unknown())
        try:
            for analysed in results:
                while (known := ahead.popleft()) is not None:
                    yield known
                new.append(analysed)
                if len(new) >= RESULTS_PER_WRITE:
                    self.store.add(self._base_id, new)
                    new.clear()
                yield analysed
            yield from (known for known in ahead if known is not None)
        finally:
            results.close()
            self.store.add(self._base_id, new)

    def stored(self, path: P) -> FileResult[P] | None:
        """Return the result of a file from its stored features; None where there are none."""
        key = self.store.key_of(path)
        features = self.store.features(self._base_id, key) if key else None
        if features is None or not _fits(self.metadata, features):
            return None
        return FileResult(path, predict(self.metadata, features), features=features, key=key)


def _fits(metadata: Metadata, features: Features) -> bool:
    sizes = len(features.log_probabilities), len(features.style_probabilities)
    if metadata.head:
        right = len(features.embedding) == metadata.head.n_embedding
        return right and sizes[0] == len(metadata.network_labels)
    return sizes == (len(metadata.labels), len(metadata.styles))


def _is_damage(error: Exception) -> bool:
    """Whether SQLite finds that a file is not what it has written."""
    kinds = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    foreign = isinstance(error, sqlite3.OperationalError) and "no such" in str(error)
    return code in kinds or foreign


def _blob(key: str) -> bytes:
    return bytes.fromhex(key)


def _files(results: Iterable[FileResult[Any]]) -> Iterator[tuple[bytes, bytes]]:
    for result in results:
        with suppress(OSError):  # it has just been removed
            yield file_identity(result.path), _blob(result.key)


def _encoded(features: Features) -> tuple[bytes, bytes, bytes]:
    numbers = features.embedding, features.log_probabilities, features.style_probabilities
    embedding, logs, styles = (
        part.astype(kind).tobytes() for part, kind in zip(numbers, DTYPES, strict=True)
    )
    return embedding, logs, styles


def _decoded(row: tuple[bytes, bytes, bytes]) -> Features | None:
    """Return what `_encoded` made; None where these are other bytes."""
    try:
        embedding, logs, styles = (
            np.frombuffer(blob, kind) for blob, kind in zip(row, DTYPES, strict=True)
        )
    except (TypeError, ValueError):
        return None
    finite = all(np.isfinite(numbers).all() for numbers in (embedding, logs, styles))
    if not finite or not len(logs) or abs(float(np.exp(logs).sum()) - 1) > SUM_TOLERANCE:
        return None
    return Features(embedding, logs.astype(np.float64), styles)
