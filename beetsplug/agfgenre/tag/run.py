"""``beet agfgenre``: select, predict, decide, apply, store, in this order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, cast

from beets.library import Album, Item
from beets.util import syspath

from agf_core.errors import AudioTooShortError, BundleError, SilentAudioError
from beetsplug.agfgenre.console import Progress
from beetsplug.agfgenre.database import BATCH_SIZE, store, uninterrupted, writing
from beetsplug.agfgenre.fields import CONTEXT_FIELDS
from beetsplug.agfgenre.summary import Outcome
from beetsplug.agfgenre.tag.apply import GenreApplier, listed
from beetsplug.agfgenre.tag.decision import StoredPrediction, decide
from beetsplug.agfgenre.tag.library_tags import artist_key
from beetsplug.agfgenre.tag.prefilter import Matches
from beetsplug.agfgenre.tag.setup import ModelError

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from agf_core.inference.prediction import FileResult, Prediction
    from agf_core.inference.prior_adjusted import Tagger
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.fields import TrackOrAlbum
    from beetsplug.agfgenre.summary import Summary
    from beetsplug.agfgenre.tag.context import LibraryContext
    from beetsplug.agfgenre.tag.journal import Journal
    from beetsplug.agfgenre.vocabulary import Vocabulary

    Results = Sequence[FileResult[Any]]

BY_SOUND = "by sound alone"
GENRES_EXPLAINED = 3  # of each part of a prediction
MOST_WAITING = 100  # tracks of an artist that are decided on together
BATCH_SECONDS = 2.0  # after which predictions are applied and stored, though the batch is not full


@dataclass(frozen=True)
class Job:
    """A track, or an album with all of its tracks, that is to be decided on.

    Attributes
    ----------
    items : tuple of int
        Ids of the tracks.
    paths : tuple of bytes or str
        Files to analyse: one for each track, or none if their predictions are stored.
    album : int or None
        Id of the album that is decided on.
    part_of : int or None
        Id of the album that a track is part of, which is decided on by itself.
    artist : str
        The artist's key, see `artist_key`; empty for nobody.
    """

    items: tuple[int, ...]
    paths: tuple[bytes | str, ...]
    album: int | None = None
    part_of: int | None = None
    artist: str = ""


class Run:
    """One go over tracks and albums: `select` them, then `process` them.

    Until its turn comes, a job is ids and paths only, and its objects are then fetched from the
    library: a run of hours neither holds a library in memory nor overwrites what has changed
    meanwhile.

    Parameters
    ----------
    lib : Library
    tagger : Tagger
    vocabulary : Vocabulary
    settings : Settings
    log : BeetsLogger
    journal : Journal, optional
        Where changes are recorded before they are made; without one, no file is written.
    context : LibraryContext, optional
        Genres of artists in the library; without them, the sound alone decides.
    """

    def __init__(
        self,
        lib: Library,
        tagger: Tagger,
        vocabulary: Vocabulary,
        settings: Settings,
        log: BeetsLogger,
        journal: Journal | None = None,
        context: LibraryContext | None = None,
    ) -> None:
        self._context = context
        self._lib, self._tagger, self._settings, self._log = lib, tagger, settings, log
        self._vocabulary = vocabulary
        self._applier = GenreApplier(vocabulary, settings, log, journal)
        self._jobs: list[Job] = []
        # Albums of tracks that were decided on, and how many of their tracks are still to be.
        self._albums: set[int] = set()
        self._remaining: Counter[int | None] = Counter()
        self._pretended: dict[int | None, list[str]] = {}  # genres of tracks, not stored

    @property
    def summary(self) -> Summary:
        """What became of the tracks and albums."""
        return self._applier.summary

    # Select

    def select(self, albums: Iterable[Album], tracks: Iterable[Item]) -> None:
        """Choose what is to be decided on, and count the others; nothing is changed.

        The tracks of a compilation are decided on one by one.
        """
        if isinstance(tracks, Matches) and self._settings.open_only and not self._settings.explain:
            self._pass_over(tracks)
        for album in albums:
            items = list(album.items())
            if album.comp:
                self._select_tracks(items)
            elif items:
                self._select_album(album, items)
        self._select_tracks(tracks)
        self._jobs.sort(key=lambda job: bool(job.paths))  # what need not be analysed comes first
        if self._context:
            self._jobs = _by_artist(self._jobs)
        self._remaining = Counter(job.part_of for job in self._jobs)

    def _pass_over(self, tracks: Matches[Item]) -> None:
        """Count the tracks that stay as they are, and leave them out without building them.

        These are tracks that have genres, and tracks without, whose stored prediction gives none.
        """
        outcomes: dict[int, Outcome] = {}
        fields = {"genres", "agf_model", "agf_genres", "agf_confidence"}
        for values in tracks.values(*fields.union(CONTEXT_FIELDS if self._context else ())):
            if self._vocabulary.genres_of(values["genres"]):
                outcomes[values["id"]] = Outcome.HAS_GENRES
            elif stored := StoredPrediction.read(values, self._model_id(values)):
                decision = decide(stored, self._vocabulary, self._settings)
                if not decision.genres:
                    outcomes[values["id"]] = decision.outcome
        tracks.leave_out(outcomes)
        for outcome, count in Counter(outcomes.values()).items():
            self.summary.add(outcome, Item, count)

    def _select_tracks(self, items: Iterable[Item]) -> None:
        for item in items:
            if not self._is_wanted(item):
                self.summary.add(Outcome.HAS_GENRES, Item)
                continue
            stored = self._stored(item)
            decision = stored and self._applier.decide(item, stored)
            if decision and not decision.changes:
                self.summary.add(decision.outcome, Item)
                self._note_album(item)
            else:
                paths = () if stored else (syspath(item.path),)
                number, artist = cast(int, item.id), artist_key(item)
                self._jobs.append(Job((number,), paths, part_of=item.album_id, artist=artist))

    def _select_album(self, album: Album, items: Sequence[Item]) -> None:
        """Choose an album; its predictions are stored if those of all of its tracks are, too."""
        objs: list[TrackOrAlbum] = [album, *items]
        if not any(map(self._is_wanted, objs)):
            for obj in objs:
                self.summary.add(Outcome.HAS_GENRES, type(obj))
            return
        paths = () if all(map(self._stored, objs)) else tuple(syspath(i.path) for i in items)
        numbers = tuple(cast(int, item.id) for item in items)
        self._jobs.append(Job(numbers, paths, album.id, artist=artist_key(album)))

    def _is_wanted(self, obj: TrackOrAlbum) -> bool:
        return self._settings.explain or self._applier.may_change(obj)

    def _stored(self, obj: TrackOrAlbum) -> StoredPrediction | None:
        if self._settings.explain:
            return None
        return StoredPrediction.read(obj, self._model_id(obj))

    def _model_id(self, obj: TrackOrAlbum | Mapping[str, Any]) -> str:
        """Return what a prediction of a track or an album depends on: the model, and the artist."""
        suffix = self._context.suffix(obj) if self._context else ""
        return self._tagger.model_id + suffix

    # Process

    def process(self, show_progress: bool = True) -> None:
        """Predict, decide, apply and store, a batch at a time.

        What was predicted before an error or Ctrl-C is applied and stored all the same.

        Raises
        ------
        ModelError
            If the model cannot be run.
        UserError
            If the library or the journal cannot be written.
        """
        batch: list[tuple[Job, Results]] = []
        may_end = _ends_of_artists(self._jobs) if self._context else repeat(True)
        n_files = sum(len(job.paths) for job in self._jobs)
        progress = Progress(n_files if show_progress else 0, self._log)
        started = time.monotonic()
        try:
            for predicted, complete in zip(self._predict(progress), may_end, strict=False):
                batch.append(predicted)
                is_due = len(batch) >= BATCH_SIZE or time.monotonic() - started > BATCH_SECONDS
                if complete and is_due:
                    full, batch = batch, []
                    with progress.aside():
                        self._process_batch(full)
                    started = time.monotonic()
        finally:
            self._remaining.clear()  # albums whose tracks are not all decided on do not wait
            with progress.aside():
                self._process_batch(batch)
            progress.close()

    def _predict(self, progress: Progress) -> Iterator[tuple[Job, Results]]:
        results = self._tagger.predict_files(path for job in self._jobs for path in job.paths)
        try:
            for job in self._jobs:
                predicted = []
                for result in islice(results, len(job.paths)):
                    predicted.append(result)
                    progress.step()
                self._remaining[job.part_of] -= 1
                yield job, predicted
        except BundleError as error:
            raise ModelError(f"agfgenre: {error}") from None
        finally:
            results.close()

    def _process_batch(self, batch: Sequence[tuple[Job, Results]]) -> None:
        """Decide, apply and store; what was applied before an error is stored all the same."""
        if self._context:
            for job, results in batch:
                for number, result in zip(job.items, results, strict=False):
                    if result.prediction and (item := self._lib.get_item(number)):
                        self._context.add(item, result.prediction)
        for start in range(0, max(len(batch), 1), BATCH_SIZE):  # albums may wait though no job does
            self._apply_batch(batch[start : start + BATCH_SIZE])

    def _apply_batch(self, batch: Sequence[tuple[Job, Results]]) -> None:
        changed: list[TrackOrAlbum] = []
        with writing(self._lib), uninterrupted():
            try:
                for job, results in batch:
                    for obj, prediction in self._predictions(job, results):
                        decision = self._applier.decide(obj, prediction)
                        applied = self._applier.apply(obj, decision)
                        if applied or results:
                            changed.append(obj)
                        if isinstance(obj, Item) and not job.album:
                            self._note_album(obj, applied)
            finally:
                self._store(changed)

    def _predictions(
        self, job: Job, results: Results
    ) -> Iterator[tuple[TrackOrAlbum, StoredPrediction]]:
        """Yield the objects of a job that are in the library by now, with what decides on each."""
        album = self._lib.get_album(job.album) if job.album else None
        items = [self._lib.get_item(number) for number in job.items]
        if results:
            there = [(item, result) for item, result in zip(items, results, strict=True) if item]
            yield from self._new_predictions(album, there)
            return
        shared = self._stored(album) if album else None
        for obj in (album, *items):
            if obj and (stored := shared or self._stored(obj)):
                yield obj, stored

    def _new_predictions(
        self, album: Album | None, results: Sequence[tuple[Item, FileResult[Any]]]
    ) -> Iterator[tuple[TrackOrAlbum, StoredPrediction]]:
        """Set the fields of predictions; an album has the mean of its tracks', as have they.

        Tracks without sound get the genres of their album.
        """
        for item, result in results:
            if round(result.lost, 1):
                self._log.info(
                    "{}: {:.1f} s of the part to analyse are damaged or missing, and {:.1f} s were "
                    "analysed; replace the file by an intact copy",
                    *(item.filepath, result.lost, result.seconds),
                )
        adjusted = {
            item.id: self._adjusted(item, r.prediction) for item, r in results if r.prediction
        }
        predictions = list(adjusted.values())
        shared = self._keep(album, predictions) if album and predictions else None
        if album and shared:
            yield album, shared
        for item, result in results:
            if result.prediction:
                own = self._keep(item, [adjusted[item.id]])
                if self._settings.explain:
                    self._applier.explain_more(self._parts(item, result.prediction))
                yield item, shared or own
            elif shared and isinstance(result.error, AudioTooShortError | SilentAudioError):
                yield item, shared
            else:
                self._applier.fail(result.error)

    def _parts(self, item: Item, prediction: Prediction) -> list[str]:
        """Return a line for each part of a prediction; none where the sound is the only one."""
        from agf_core.inference.prior_adjusted import PriorAdjustedTagger  # which needs numpy

        parts = [(BY_SOUND, prediction)]
        if isinstance(self._tagger, PriorAdjustedTagger) and self._tagger.name:
            before = self._tagger.unadjusted(prediction)
            parts = [(BY_SOUND, before), (f"with the {self._settings.prior} prior", prediction)]
        if self._context:
            parts += self._context.parts(item, prediction)
        shown = [(name, one.top(GENRES_EXPLAINED)) for name, one in parts]
        return [f"{name}: {listed(shares)}" for name, shares in shown] if len(shown) > 1 else []

    def _adjusted(self, item: Item, prediction: Prediction) -> Prediction:
        return self._context.adjust(item, prediction) if self._context else prediction

    def _keep(self, obj: TrackOrAlbum, predictions: Sequence[Prediction]) -> StoredPrediction:
        stored = StoredPrediction.of(predictions)
        stored.write(obj, self._model_id(obj))
        self._applier.explain(obj, predictions)
        return stored

    # Store

    def _store(self, objs: Sequence[TrackOrAlbum]) -> None:
        if self._settings.pretend:
            items = [obj for obj in objs if isinstance(obj, Item)]
            self._pretended |= {item.id: self._applier.current_genres(item) for item in items}
            self._complete_albums()
        elif objs or self._albums:
            with self._lib.transaction():
                for obj in objs:
                    store(obj)
                self._complete_albums()

    def _note_album(self, item: Item, changed: bool = False) -> None:
        """Note that the album of a track may have to follow the track.

        Where tracks that have genres are decided on as well, that may be so of unchanged ones: a
        run that was killed may have changed them and not come to the album.
        """
        if (changed or not self._settings.open_only) and item.album_id:
            self._albums.add(item.album_id)

    def _complete_albums(self) -> None:
        """Give albums whose tracks are all decided on the genres that these now have in common.

        As with tracks, genres that are there stay unless the user wants others.
        """
        for number in [number for number in self._albums if not self._remaining[number]]:
            self._albums.remove(number)
            album = self._lib.get_album(number)
            if album is None or not self._applier.may_change(album):
                continue
            common = {
                tuple(self._pretended.pop(item.id, self._applier.current_genres(item)))
                for item in album.items()
            }
            genres = common.pop() if len(common) == 1 else ()
            if self._applier.apply_common(album, genres) and not self._settings.pretend:
                store(album)


def _by_artist(jobs: Iterable[Job]) -> list[Job]:
    """Bring tracks of an artist together, as they count for each other; else in their order."""
    together: dict[tuple[bool, str | int], list[Job]] = {}
    for i, job in enumerate(jobs):
        together.setdefault((bool(job.paths), job.artist or i), []).append(job)
    return list(chain.from_iterable(together.values()))


def _ends_of_artists(jobs: Sequence[Job]) -> Iterator[bool]:
    """Yield for each job whether a batch may end with it, rather than part an artist's tracks."""
    waiting = 0
    for job, following in zip(jobs, [*jobs[1:], None], strict=True):
        waiting += max(len(job.items), 1)
        is_end = not following or not job.artist or following.artist != job.artist
        if is_end or waiting >= MOST_WAITING:
            waiting = 0
            yield True
        else:
            yield False
