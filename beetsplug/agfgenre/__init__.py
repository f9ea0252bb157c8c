"""A beets plugin that puts genres right by listening to the music.

It adds the command ``beet agfgenre`` and, with ``auto: yes``, a stage to the importer. Nothing
heavy is imported before there is something to listen to.
"""

from __future__ import annotations

from contextlib import closing
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

import beets
from beets import ui
from beets.dbcore.query import (
    AndQuery,
    InvalidQueryArgumentValueError,
    InvalidQueryError,
    NoneQuery,
)
from beets.importer import Action
from beets.library import Item, parse_query_parts
from beets.logging import getLogger
from beets.plugins import BeetsPlugin
from beets.ui import Subcommand, UserError, should_write
from beets.util import displayable_path

from agf_core import missing_for_learning
from beetsplug.agfgenre.config import DEFAULTS, LearnSettings, Settings, empty_section, switch
from beetsplug.agfgenre.fields import FIELDS
from beetsplug.agfgenre.summary import Summary
from beetsplug.agfgenre.tag import journal, setup, undo
from beetsplug.agfgenre.tag import run as run_module
from beetsplug.agfgenre.tag.prefilter import Matching
from beetsplug.agfgenre.vocabulary import Vocabulary, read_learn_as

if TYPE_CHECKING:
    import optparse
    from collections.abc import Callable, Collection

    from beets.importer import ImportSession, ImportTask
    from beets.library import Album, Library

    from agf_core.inference.prior_adjusted import Tagger

INTERRUPTED = 130  # exit status of what Ctrl-C has stopped, as shells have it
NOT_BETTER = 3  # exit status of `beet agftrain` when nothing better was learnt

SWITCHES = (
    # on, off, name, what "on" does
    (("-f", "--force"), ("-F", "--no-force"), "force", "replace genres that are there"),
    (
        ("-k", "--keep-existing"),
        ("-K", "--no-keep-existing"),
        "keep_existing",
        "add to genres that are there",
    ),
    (
        ("-r", "--renew"),
        ("-R", "--no-renew"),
        "renew",
        "decide anew where agfgenre has set the genres itself; take them back if now unsure",
    ),
    (
        ("-a", "--albums"),
        ("-A", "--items"),
        "albums",
        "match albums, and decide for each (in compilations for each track)",
    ),
    (
        ("-w", "--write"),
        ("-W", "--nowrite"),
        "write",
        "write genres to the files' tags (default: as import.write says)",
    ),
)


class AGFGenrePlugin(BeetsPlugin):
    """Tags genres by listening."""

    item_types: ClassVar = FIELDS
    album_types: ClassVar = FIELDS

    def __init__(self) -> None:
        super().__init__()
        if odd := empty_section(beets.config):
            self._log.warning("the configuration says {}, not options (taken for none)", odd)
        self.config.add(DEFAULTS)
        self._import: tuple[Settings, Vocabulary, Tagger] | None = None
        self._import_given_up = False
        self._imported = Summary()
        self._as_is_told = False
        try:
            if switch("auto", self.config["auto"].get()):
                self.import_stages = [self.imported]
                self.register_listener("import", self._import_over)
        except UserError as error:  # but every command of beets passes here
            self._log.warning("{} (taken for no)", _plain(error))

    # The command

    def commands(self) -> list[Subcommand]:
        """Return ``beet agfgenre``."""
        command = Subcommand("agfgenre", help="set genres by listening to the music")
        command.parser.set_usage("%prog [options] [QUERY]")
        add = command.parser.add_option
        for on, off, name, meaning in SWITCHES:
            add(*on, dest=name, action="store_true", help=meaning)
            add(*off, dest=name, action="store_false", help=f"opposite of {on[0]}")
        add("-p", "--pretend", action="store_true", help="show changes, but make none")
        add("-q", "--quiet", action="store_true", help="show neither changes nor progress")
        add("-t", "--threads", type="int", help="number of threads (0: one for each core)")
        explain = (
            "also show every track's most probable genres; listens to tracks that have genres, too"
        )
        add("--explain", action="store_true", help=explain)
        add("--undo", action="store_true", help="put back what the last run replaced")
        command.func = _stoppable(self._command)
        return [command, self._train_command(), self._models_command()]

    def _train_command(self) -> Subcommand:
        command = Subcommand("agftrain", help="learn your genres from your library")
        command.parser.set_usage("%prog [options] [QUERY]")
        add = command.parser.add_option
        add("--quick", action="store_true", help="learn only what follows the networks")
        add("-p", "--pretend", action="store_true", help="show what would be learnt from")
        add("-q", "--quiet", action="store_true", help="show neither progress nor the report")
        add("-t", "--threads", type="int", help="files listened to at a time (0: one a core)")
        add("--groups", help="artist groups to learn beside the genre: letters of m, d, e and s")
        add("--name", help="what to call the model (default: the date)")
        command.func = _stoppable(self._train)
        return command

    def _models_command(self) -> Subcommand:
        command = Subcommand("agfmodels", help="list models, show, choose or remove one")
        command.parser.set_usage("%prog [show NAME | use NAME | remove NAME]")
        command.func = self._models
        return command

    def _command(self, lib: Library, options: optparse.Values, query: list[str]) -> None:
        self._name_unknown_options()
        settings = Settings.from_config(self.config, vars(options))
        if options.undo:
            others = ("force", "keep_existing", "renew", "albums", "explain")
            if given := [name for name in others if getattr(options, name)]:
                raise UserError(
                    f"agfgenre: --undo puts back what a run has replaced; it does not go with "
                    f"--{given[0].replace('_', '-')}"
                )
            self._undo(lib, settings, query)
            return
        vocabulary = Vocabulary.from_config(self.config)
        ears: Tagger = setup.load_tagger(settings)
        if not settings.pretend:
            setup.check_writable(lib)
        albums, tracks = self._matching(lib, query, settings, vocabulary)
        if not (albums or tracks):
            self._log.info("nothing in the library matches")
            return
        ears = self._with_prior(ears, lib, settings)
        done = "would tag" if settings.pretend else "tagged"
        with closing(journal.Journal(lib)) as notes:
            run = run_module.Run(lib, ears, vocabulary, settings, self._log, notes)
            try:
                with run:
                    run.select_albums(albums)
                    run.select_tracks(tracks.to_look_at(ears.model_id, run.summary))
                    del albums, tracks  # or a library would stay in memory for hours
                    run.listen(show_progress=not settings.quiet)
            except KeyboardInterrupt:
                self._log.info("{}; stopped: run again to go on", run.summary.text(done))
                raise
        self._log.info("{}", run.summary.text(done))
        if run.summary.all_failed:
            raise UserError("agfgenre: none of the files could be listened to")

    def _undo(self, lib: Library, settings: Settings, query: list[str]) -> None:
        if not settings.pretend:
            setup.check_writable(lib)
        done = "would put back" if settings.pretend else "put back"
        summary = Summary()
        try:
            if not undo.put_back(lib, query, settings, self._log, summary):
                of_what = " of what matches" if query else ""
                self._log.info("there is nothing to put back{}", of_what)
                return
        except KeyboardInterrupt:
            self._log.info("{}; stopped: run again to go on", summary.text(done))
            raise
        self._log.info("{}", summary.text(done))

    def _name_unknown_options(self) -> None:
        for name in self.config.keys() - DEFAULTS.keys():
            close = get_close_matches(name, DEFAULTS, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            self._log.warning("the configuration says {}, which is no option{}", name, hint)

    def _train(self, lib: Library, options: optparse.Values, query: list[str]) -> None:
        from beetsplug.agfgenre.train.training_set import TrainingSet  # which needs numpy

        self._name_unknown_options()
        settings = LearnSettings.from_config(self.config, vars(options))
        if not settings.pretend and (missing := missing_for_learning()):
            raise UserError(f"agftrain: {missing}")
        vocabulary, learn_as = Vocabulary.from_config(self.config), read_learn_as(self.config)
        teaching = TrainingSet.of(lib, query, vocabulary, learn_as)
        if not teaching.matched:
            raise UserError("agftrain: nothing in the library matches")
        if settings.pretend:
            for line in teaching.look(settings.min_tracks):
                if not settings.quiet:
                    ui.print_(line)
            return
        from agf_core.errors import CacheError, CheckpointError
        from beetsplug.agfgenre.train.run import TrainingRun

        lesson = TrainingRun(lib, vocabulary, learn_as, settings, self._log)
        try:
            better = lesson.learn(teaching)
        except (CacheError, CheckpointError) as error:
            raise UserError(f"agftrain: {error}; nothing is changed") from None
        except KeyboardInterrupt:
            self._log.info("stopped: run again to go on")
            raise
        if not better:
            raise SystemExit(NOT_BETTER)

    def _models(self, lib: Library, options: optparse.Values, arguments: list[str]) -> None:
        from beetsplug.agfgenre import models

        models.manage(arguments, Settings.from_config(self.config, {}), self._log)

    @staticmethod
    def _matching(
        lib: Library, query: list[str], settings: Settings, vocabulary: Vocabulary
    ) -> tuple[Collection[Album], Matching]:
        """Return the albums that match, and the tracks that are each to stand for itself."""
        try:
            parsed, sort = parse_query_parts(query, Item)
        except InvalidQueryArgumentValueError as error:
            raise InvalidQueryError(query, error) from None  # which beets shows in a line
        if not settings.albums:
            return (), Matching(lib, parsed, sort, settings, vocabulary)
        alone = AndQuery([parsed, NoneQuery("album_id")])
        return lib.albums(query), Matching(lib, alone, sort, settings, vocabulary)

    def _with_prior(
        self, ears: Tagger, lib: Library, settings: Settings, *, may_listen: bool = True
    ) -> Tagger:
        from beetsplug.agfgenre.tag import library_prior  # which needs numpy

        return library_prior.with_prior(ears, lib, settings, self._log, may_listen=may_listen)

    # The importer

    def imported(self, session: ImportSession, task: ImportTask) -> None:
        """Set the genres of what is being imported.

        The importer writes them to the files together with its own tags; what is imported as it is
        has them in the library only, since beets leaves the tags of such files alone.
        """
        if self._import_given_up:
            return
        try:
            with session.lib.music_dir_context():
                summary = self._tag_task(session.lib, task)
        except Exception as error:
            unusable = isinstance(error, setup.ModelError)
            if unusable or (self._import is None and isinstance(error, UserError)):
                self._import_given_up = True
                self._log.warning("{} (no genres are set in this import)", _plain(error))
                return
            place = displayable_path(task.paths)
            self._log.warning("no genres are set in {}: {}", place, _plain(error))
            self._log.debug("", exc_info=True)
        else:
            self._imported += summary
            as_is = not task.apply and task.choice_flag is not Action.RETAG
            if as_is and summary.tagged and should_write():
                self._tell_as_is()

    def _tag_task(self, lib: Library, task: ImportTask) -> Summary:
        if self._import is None:
            quiet: dict[str, Any] = {"write": False, "quiet": True}
            settings = Settings.from_config(self.config, quiet)
            vocabulary = Vocabulary.from_config(self.config)
            ears: Tagger = setup.load_tagger(settings)
            ears = self._with_prior(ears, lib, settings, may_listen=False)
            self._import = settings, vocabulary, ears
        settings, vocabulary, ears = self._import
        with run_module.Run(lib, ears, vocabulary, settings, self._log) as run:
            if task.is_album and settings.albums:
                run.select_albums([task.album])
            else:
                run.select_tracks(task.imported_items())
            run.listen(show_progress=False)
        return run.summary

    def _import_over(self, **_: Any) -> None:
        """Say what became of all that was imported."""
        if self._imported:
            _say("{}", self._imported.text())
            self._imported = Summary()

    def _tell_as_is(self) -> None:
        """Say once what was not written."""
        if not self._as_is_told:
            self._as_is_told = True
            _say(
                "imported as they are: genres are in the library only; "
                "`beet write` puts them into the files"
            )


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command that Ctrl-C has stopped end with a status of its own: beets would say 0."""

    def run(*arguments: Any) -> None:
        try:
            command(*arguments)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    return run


def _say(what: str, *values: object) -> None:
    """Tell by the log of beets: while it imports, a plugin may but warn by its own."""
    getLogger("beets").info(f"agfgenre: {what}", *values)


def _plain(error: Exception) -> str:
    """Return what an error says, less the name that the plugin's log begins every line with."""
    return str(error).removeprefix("agfgenre: ") or repr(error)
