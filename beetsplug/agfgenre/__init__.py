"""A beets plugin that puts genres right by listening to the music.

It adds the command ``beet agfgenre`` and, with ``auto: yes``, a stage to the importer. Nothing
heavy is imported before there is something to listen to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from beets.dbcore import types
from beets.dbcore.query import AndQuery, NoneQuery
from beets.importer import Action
from beets.library import Item, parse_query_parts
from beets.logging import getLogger
from beets.plugins import BeetsPlugin
from beets.ui import Subcommand, UserError, should_write
from beets.util import displayable_path

from . import tagging
from .decision import SHOWN_DIGITS
from .settings import DEFAULTS, Settings, switch
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    import optparse

    from beets.importer import ImportSession, ImportTask
    from beets.library import Library

    from agf_core.tagger import GenreTagger

    from .report import Summary

FIELDS: dict[str, types.Type] = {
    "agf_genres": types.MULTI_VALUE_DSV,
    "agf_confidence": types.NullFloat(SHOWN_DIGITS),
    "agf_model": types.STRING,
}

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
        self.config.add(DEFAULTS)
        self._import: tuple[Settings, Vocabulary, GenreTagger] | None = None
        self._import_given_up = False
        self._as_is_told = False
        try:
            if switch("auto", self.config["auto"].get()):
                self.import_stages = [self.imported]
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
        command.func = self._command
        return [command]

    def _command(self, lib: Library, options: optparse.Values, query: list[str]) -> None:
        settings = Settings.from_config(self.config, vars(options))
        vocabulary = Vocabulary.from_config(self.config)
        tagger = tagging.load_tagger(settings)
        if not settings.pretend:
            tagging.check_writable(lib)
        run = tagging.Run(lib, tagger, vocabulary, settings, self._log)
        try:
            self._select(run, lib, query, settings.albums)
            run.listen(show_progress=not settings.quiet)
        except KeyboardInterrupt:
            self._log.info("{}; stopped: run again to go on", run.summary.text(settings.pretend))
            raise
        if not run.matched:
            self._log.info("nothing in the library matches")
            return
        self._log.info("{}", run.summary.text(settings.pretend))
        if run.summary.all_failed:
            raise UserError("agfgenre: none of the files could be listened to")

    @staticmethod
    def _select(run: tagging.Run, lib: Library, query: list[str], albums: bool) -> None:
        if albums:
            run.select_albums(lib.albums(query))
            parsed, _ = parse_query_parts(query, Item)
            run.select_tracks(lib.items(AndQuery([parsed, NoneQuery("album_id")])))
        else:
            run.select_tracks(lib.items(query))

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
            if self._import is None and isinstance(error, UserError):
                self._import_given_up = True
                self._log.warning("{} (no genres are set in this import)", _plain(error))
                return
            place = displayable_path(task.paths)
            self._log.warning("no genres are set in {}: {}", place, _plain(error))
            self._log.debug("", exc_info=True)
        else:
            as_is = not task.apply and task.choice_flag is not Action.RETAG
            if as_is and summary.tagged and should_write():
                self._tell_as_is()

    def _tag_task(self, lib: Library, task: ImportTask) -> Summary:
        if self._import is None:
            quiet: dict[str, Any] = {"write": False, "quiet": True}
            settings = Settings.from_config(self.config, quiet)
            vocabulary = Vocabulary.from_config(self.config)
            self._import = settings, vocabulary, tagging.load_tagger(settings)
        settings, vocabulary, tagger = self._import
        run = tagging.Run(lib, tagger, vocabulary, settings, self._log)
        if task.is_album and settings.albums:
            run.select_albums([task.album])
        else:
            run.select_tracks(task.imported_items())
        run.listen(show_progress=False)
        return run.summary

    def _tell_as_is(self) -> None:
        """Say once what was not written; by the log of beets, for stages may but warn by theirs."""
        if not self._as_is_told:
            self._as_is_told = True
            getLogger("beets").info(
                "agfgenre: imported as they are: genres are in the library only; "
                "`beet write` puts them into the files"
            )


def _plain(error: Exception) -> str:
    """Return what an error says, less the name that the plugin's log begins every line with."""
    return str(error).removeprefix("agfgenre: ") or repr(error)
