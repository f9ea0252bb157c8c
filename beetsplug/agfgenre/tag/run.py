"""Which tracks and albums, and what is heard in them; what is settled of them is stored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Self, cast

from beets.library import Album, Item
from beets.util import syspath

from beetsplug.agfgenre.console import Progress
from beetsplug.agfgenre.database import BATCH, store, uninterrupted, writing
from beetsplug.agfgenre.tag.apply import GenreApplier
from beetsplug.agfgenre.tag.decision import Heard, Outcome
from beetsplug.agfgenre.tag.setup import ModelError

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from agf_core.inference.prediction import FileResult, Prediction
    from agf_core.inference.prior_adjusted import Tagger
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.summary import Summary
    from beetsplug.agfgenre.tag.decision import Model
    from beetsplug.agfgenre.tag.journal import Journal
    from beetsplug.agfgenre.vocabulary import Vocabulary

BATCH_SECONDS = 2.0  # after which what has been settled is stored, if that can be helped


@dataclass(frozen=True)
class Job:
    """What is listened to before one decision: a track, or all tracks of an album."""

    items: tuple[int, ...]
    paths: tuple[bytes | str, ...]
    album: int | None = None  # that is decided on
    part_of: int | None = None  # the album of a track that is decided on

    @classmethod
    def of_track(cls, item: Item) -> Job:
        """Note number and path of a track that is in the library."""
        return cls((cast(int, item.id),), (syspath(item.path),), part_of=item.album_id)

    @classmethod
    def of_album(cls, album: Album, items: Sequence[Item]) -> Job:
        """Note numbers and paths of an album's tracks."""
        numbers = tuple(cast(int, item.id) for item in items)
        return cls(numbers, tuple(syspath(item.path) for item in items), album.id)


class Run:
    """One go over tracks and albums, in a ``with`` statement: select them, then `listen`.

    At its end, and where it is stopped, what has been heard is settled. What is to be listened to
    is kept as numbers and paths only, and fetched from the library again when its turn comes, so
    that a run of hours neither holds a library in memory nor overwrites what has been changed
    meanwhile.

    Parameters
    ----------
    lib : Library
    ears : Ears
    vocabulary : Vocabulary
    settings : Settings
    log : BeetsLogger
    journal : Journal, optional
        Where it is noted what is replaced; without one, no file is written.
    """

    def __init__(
        self,
        lib: Library,
        ears: Tagger,
        vocabulary: Vocabulary,
        settings: Settings,
        log: BeetsLogger,
        journal: Journal | None = None,
    ) -> None:
        self._lib, self._ears, self._settings, self._log = lib, ears, settings, log
        self._settler = GenreApplier(vocabulary, settings, log, journal)
        self._progress = Progress(0, log)
        self._jobs: list[Job] = []
        self._pending: list[Callable[[], Iterable[Model]]] = []  # each returns what to store
        self._flushed = time.monotonic()
        # Whether tracks that have genres are decided on, too.
        self._anew = settings.force or settings.keep_existing or settings.renew
        self._touched: set[int] = set()  # albums of which a track was decided on by itself
        # Tracks of each album that have not been heard yet; None while they are selected.
        self._left: Counter[int | None] | None = None
        self._pretended: dict[
            int | None, list[str]
        ] = {}  # what tracks would have, but are not given

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._left = Counter()  # stopped, albums go by what their tracks have by now
        try:
            self._flush()
        finally:
            self._progress.close()

    @property
    def summary(self) -> Summary:
        """What became of the tracks and albums."""
        return self._settler.summary

    # Selecting

    def select_tracks(self, items: Iterable[Item]) -> None:
        """Note which tracks are to be listened to; settle those that have been heard before."""
        for item in items:
            if not self._concerns([item]):
                self.summary.add(Outcome.TAKEN, Item)
            elif heard := self._recall(item):
                self._later(partial(self._settle_track, item, heard))
            else:
                self._jobs.append(Job.of_track(item))

    def select_albums(self, albums: Iterable[Album]) -> None:
        """Do the same for albums; the tracks of a compilation stand each for itself.

        An album has been heard before if each of its present tracks has.
        """
        for album in albums:
            items = list(album.items())
            models: list[Model] = [album, *items]
            if album.comp or not items:
                self.select_tracks(items)
            elif not self._concerns(models):
                for model in models:
                    self.summary.add(Outcome.TAKEN, type(model))
            elif all(map(self._recall, items)) and (heard := self._recall(album)):
                self._later(partial(self._settle_album, models, heard))
            else:
                self._jobs.append(Job.of_album(album, items))

    def _concerns(self, models: Iterable[Model]) -> bool:
        return self._settings.explain or any(map(self._settler.may_change, models))

    def _recall(self, model: Model) -> Heard | None:
        return None if self._settings.explain else Heard.recall(model, self._ears.model_id)

    # Listening

    def listen(self, show_progress: bool = True) -> None:
        """Listen to what has been selected, and settle it.

        Raises
        ------
        ModelError
            If the model cannot be run.
        """
        from agf_core.errors import BundleError

        self._left = Counter(job.part_of for job in self._jobs)
        paths = [path for job in self._jobs for path in job.paths]
        self._progress = Progress(len(paths) if show_progress else 0, self._log)
        results = self._ears.predict_files(paths)
        try:
            for job in self._jobs:
                heard = [self._counted(result) for result in islice(results, len(job.paths))]
                self._left[job.part_of] -= 1
                self._later(partial(self._settle_job, job, heard))
        except BundleError as error:
            raise ModelError(f"agfgenre: {error}") from None
        finally:
            results.close()

    def _counted(self, result: FileResult) -> FileResult:
        self._progress.step()
        return result

    def _settle_job(self, job: Job, results: Sequence[FileResult]) -> Iterator[Model]:
        """Settle what has been listened to, as far as the library still has it."""
        items = [self._lib.get_item(number) for number in job.items]
        there = [(item, result) for item, result in zip(items, results, strict=True) if item]
        for item, result in there:
            if round(result.lost, 1):
                self._log.info(
                    "{}: {:.1f} s that were to be heard are damaged, and what else there is was "
                    "heard; better replace it by an intact copy",
                    *(item.filepath, result.lost),
                )
        album = self._lib.get_album(job.album) if job.album else None
        if album and any(result.prediction for _, result in there):
            yield from self._settle_heard_album(album, there)
            return
        for item, result in there:
            if result.prediction is None:
                self._settler.fail(result.error)
            else:
                self._settle_track(item, self._remember(item, [result.prediction]))
                yield item

    def _settle_heard_album(
        self, album: Album, there: Sequence[tuple[Item, FileResult]]
    ) -> Iterator[Model]:
        """Settle an album from the tracks that could be heard; silent ones go along with them."""
        models: list[Model] = [album]
        predictions = []
        for item, result in there:
            if result.prediction:
                predictions.append(result.prediction)
                self._remember(item, [result.prediction])
            elif not _is_mute(result.error):
                self._settler.fail(result.error)
                continue
            models.append(item)
        heard = self._remember(album, predictions)
        for model in models:
            self._settler.settle(model, heard)
            yield model

    def _remember(self, model: Model, predictions: Sequence[Prediction]) -> Heard:
        heard = Heard.of(predictions)
        heard.remember(model, self._ears.model_id)
        self._settler.explain(model, predictions)
        return heard

    # Settling. What is to be stored comes out one by one, as soon as its file has been written.

    def _settle_track(self, item: Item, heard: Heard) -> Sequence[Model]:
        changed = self._settler.settle(item, heard)
        # What is right already may be so from a run that was killed before it came to the album.
        if item.album_id and (changed or self._anew):
            self._touched.add(item.album_id)
        return [item] if changed else []

    def _settle_album(self, models: Iterable[Model], heard: Heard) -> Iterator[Model]:
        return (model for model in models if self._settler.settle(model, heard))

    # Storing

    def _later(self, settle: Callable[[], Iterable[Model]]) -> None:
        self._pending.append(settle)
        late = time.monotonic() - self._flushed > BATCH_SECONDS
        if late or len(self._pending) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        """Settle what has been heard and not been settled yet: show, write, store.

        What has been settled before something goes wrong is stored all the same.
        """
        pending, self._pending = self._pending, []
        models: list[Model] = []
        with writing(self._lib), uninterrupted(), self._progress.aside():
            try:
                for model in chain.from_iterable(settle() for settle in pending):
                    models.append(model)
            finally:
                self._keep(models)
        self._flushed = time.monotonic()

    def _keep(self, models: Sequence[Model]) -> None:
        if self._settings.pretend:
            self._pretended |= {
                model.id: self._settler.current_genres(model)
                for model in models
                if isinstance(model, Item)
            }
            self._complete_albums()
        elif models or self._touched:
            with self._lib.transaction():
                for model in models:
                    store(model)
                self._complete_albums()

    def _complete_albums(self) -> None:
        """Give albums whose tracks are all settled the genres that these have, by now, in common.

        As with tracks, genres that are there stay unless the user wants others.
        """
        if self._left is None and self._anew:
            return  # which of their tracks will be decided on is not known yet
        done = {number for number in self._touched if not (self._left and self._left[number])}
        self._touched -= done
        for number in done:
            album = self._lib.get_album(number)
            if album is None or not self._settler.may_change(album):
                continue
            common = {
                tuple(self._pretended.get(item.id, self._settler.current_genres(item)))
                for item in album.items()
            }
            genres = common.pop() if len(common) == 1 else ()
            if genres and self._settler.change(album, genres):
                outcome = Outcome.TAGGED
            elif not genres and self._settler.withdraw(album):
                outcome = Outcome.WITHDRAWN
            else:
                continue
            self.summary.add(outcome, Album)
            if not self._settings.pretend:
                store(album)


def _is_mute(error: Exception | None) -> bool:
    """Whether a file is fine but for there being nothing to hear in it."""
    from agf_core.errors import AudioTooShortError, SilentAudioError

    return isinstance(error, AudioTooShortError | SilentAudioError)
