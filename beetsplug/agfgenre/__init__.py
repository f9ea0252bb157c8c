"""A beets plugin that puts genres right by listening to the music.

It adds the command ``beet agfgenre`` and, with ``auto: yes``, a stage to the importer. Nothing
heavy is imported before there is something to listen to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from beets.dbcore import types
from beets.dbcore.query import AndQuery, NoneQuery
from beets.library import Item, parse_query_parts
from beets.plugins import BeetsPlugin
from beets.ui import Subcommand, UserError
from beets.util import displayable_path

from . import tagging
from .settings import DEFAULTS, Settings
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    import optparse

    from beets.importer import ImportSession, ImportTask
    from beets.library import Library

    from agf_core.tagger import GenreTagger

FIELDS: dict[str, types.Type] = {
    "agf_genres": types.MULTI_VALUE_DSV,
    "agf_confidence": types.NullFloat(2),
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
    (("-a", "--albums"), ("-A", "--items"), "albums", "match albums, and decide for each"),
    (("-w", "--write"), ("-W", "--nowrite"), "write", "write genres to the files' tags"),
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
        if self.config["auto"]:
            self.import_stages = [self.imported]

    # The command

    def commands(self) -> list[Subcommand]:
        """Return ``beet agfgenre``."""
        command = Subcommand("agfgenre", help="set genres by listening to the music")
        add = command.parser.add_option
        for on, off, name, meaning in SWITCHES:
            add(*on, dest=name, action="store_true", help=meaning)
            add(*off, dest=name, action="store_false", help=f"opposite of {on[0]}")
        add("-p", "--pretend", action="store_true", help="show changes, but make none")
        add("-q", "--quiet", action="store_true", help="show neither changes nor progress")
        add("-t", "--threads", type="int", help="number of threads (0: one for each core)")
        add("--explain", action="store_true", help="show the probabilities of every track")
        command.func = self._command
        return [command]

    def _command(self, lib: Library, options: optparse.Values, query: list[str]) -> None:
        settings = Settings.from_config(self.config, vars(options))
        vocabulary = Vocabulary.from_config(self.config)
        tagger = tagging.load_tagger(settings)
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
        """Set the genres of what is being imported; the importer writes them with its own tags."""
        if self._import_given_up:
            return
        try:
            with session.lib.music_dir_context():
                self._tag_task(session.lib, task)
        except UserError as error:
            self._import_given_up = True
            self._log.warning("{} (no genres are set in this import)", error)
        except Exception as error:
            place = displayable_path(task.paths)
            self._log.warning("no genres are set in {}: {}", place, error or repr(error))
            self._log.debug("", exc_info=True)

    def _tag_task(self, lib: Library, task: ImportTask) -> None:
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
