"""A beets plugin that sets genres by analysing the audio, offline.

It adds the commands of `beetsplug.agfgenre.commands` and, with ``auto: yes``, a stage to the
importer. Nothing is imported before it is needed: every ``beet`` command loads the plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import beets
from beets.importer import Action
from beets.logging import getLogger
from beets.plugins import BeetsPlugin
from beets.ui import Subcommand, UserError, should_write
from beets.util import displayable_path

from beetsplug.agfgenre import commands
from beetsplug.agfgenre.config import DEFAULTS, Settings, replace_odd_section, switch
from beetsplug.agfgenre.console import make_printable
from beetsplug.agfgenre.database import rollback_record
from beetsplug.agfgenre.fields import FIELDS
from beetsplug.agfgenre.file_changes import FileChanges
from beetsplug.agfgenre.summary import Summary
from beetsplug.agfgenre.vocabulary import Vocabulary, read_learn_as

if TYPE_CHECKING:
    from beets.importer import ImportSession, ImportTask
    from beets.library import Library

    from agf_core.inference.prior_adjusted import Tagger
    from beetsplug.agfgenre.tag.context import LibraryContext


class AGFGenrePlugin(BeetsPlugin):
    """Sets genres by analysing the audio."""

    item_types: ClassVar = FIELDS
    album_types: ClassVar = FIELDS

    def __init__(self) -> None:
        super().__init__()
        self._log.addFilter(make_printable)
        if odd := replace_odd_section(beets.config):
            self._log.warning(
                "`agfgenre: {}` in the configuration is no list of options; the defaults are used",
                odd,
            )
        self.config.add(DEFAULTS)
        self._import: tuple[Settings, Vocabulary, Tagger, LibraryContext | None] | None = None
        self._import_is_off = False
        self._imported = Summary()
        self._library_only_reported = False
        self.register_listener("library_opened", _repair)
        FileChanges().listen(self)
        try:
            if switch(self.config, "auto"):
                self.import_stages = [self.imported]
                self.register_listener("import", self._import_ended)
        except UserError as error:  # not raised: every command of beets loads the plugin
            self._log.warning("{}; `auto: no` is used", _without_prefix(error))

    def commands(self) -> list[Subcommand]:
        """Return ``beet agfgenre`` and the others."""
        return [
            commands.tag_command(self.config, self._log),
            commands.train_command(self.config, self._log),
            commands.audit_command(self.config, self._log),
            commands.similar_command(self.config, self._log),
            commands.models_command(self.config, self._log),
            commands.map_command(self.config, self._log),
        ]

    def imported(self, session: ImportSession, task: ImportTask) -> None:
        """Set the genres of what is being imported.

        The importer writes them to the files together with its own tags. Files that are imported
        as they are keep their tags, and only the library has the genres.
        """
        if self._import_is_off:
            return
        try:
            with session.lib.music_dir_context():
                summary = self._tag_task(session.lib, task)
        except Exception as error:
            from beetsplug.agfgenre.tag.setup import ModelError

            unusable = isinstance(error, ModelError)
            if unusable or (self._import is None and isinstance(error, UserError)):
                self._import_is_off = True
                self._log.warning("{}; no genres are set in this import", _without_prefix(error))
                return
            place = displayable_path(task.paths)
            self._log.warning("no genres are set in {}: {}", place, _without_prefix(error))
            self._log.debug("", exc_info=True)
        else:
            self._imported += summary
            as_is = not task.apply and task.choice_flag is not Action.RETAG
            if as_is and summary.tagged and should_write():
                self._report_library_only()

    def _tag_task(self, lib: Library, task: ImportTask) -> Summary:
        from beetsplug.agfgenre.tag import context, library_prior, run, setup
        from beetsplug.agfgenre.tag.library_tags import LibraryTags

        if self._import is None:
            settings = Settings.from_config(self.config, {"write": False, "quiet": True})
            vocabulary = Vocabulary.from_config(self.config)
            tagger = setup.load_tagger(settings)
            learn_as = read_learn_as(self.config)
            tags = LibraryTags(lib, tagger.labels, tagger.styles, vocabulary, learn_as)
            tagger = library_prior.with_prior(tagger, tags, lib, settings, self._log)
            known = context.of_library(lib, tags, tagger, settings)
            self._import = settings, vocabulary, tagger, known
        settings, vocabulary, tagger, known = self._import
        if known:
            known.add_tags(task.imported_items())
        tagging = run.Run(lib, tagger, vocabulary, settings, self._log, context=known)
        if task.is_album and settings.albums:
            tagging.select([task.album], [])
        else:
            tagging.select([], task.imported_items())
        tagging.process(show_progress=False)
        return tagging.summary

    def _import_ended(self, **_: Any) -> None:
        """Report what became of all that was imported."""
        if self._imported:
            _log_in_import("{}", self._imported.text())
            self._imported = Summary()

    def _report_library_only(self) -> None:
        """Report, once, that the files do not have the genres."""
        if not self._library_only_reported:
            self._library_only_reported = True
            _log_in_import(
                "files imported as they are have their genres in the library only; "
                "`beet write` writes them to the files"
            )


def _repair(lib: Library) -> None:
    """Roll back the file that a killed process was writing, if there is one."""
    record = rollback_record(lib)
    if record and record.exists():
        from beetsplug.agfgenre.tag import rollback

        rollback.repair(lib)


def _log_in_import(message: str, *values: object) -> None:
    """Log by beets' own log: during an import, a plugin's log shows warnings only."""
    getLogger("beets").info(f"agfgenre: {message}", *values)


def _without_prefix(error: Exception) -> str:
    """Return an error's message without the prefix that the plugin's log adds to every line."""
    return str(error).removeprefix("agfgenre: ") or repr(error)
