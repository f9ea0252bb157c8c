"""The commands of the plugin, from ``beet agfgenre`` to ``beet agfmodels``.

What only a command needs is imported when it runs: every ``beet`` command imports this module.
"""

from __future__ import annotations

from contextlib import closing
from difflib import get_close_matches
from optparse import SUPPRESS_HELP
from pathlib import Path
from typing import TYPE_CHECKING

from beets.dbcore.query import (
    AndQuery,
    InvalidQueryArgumentValueError,
    InvalidQueryError,
    NoneQuery,
    Query,
)
from beets.library import Album, Item, parse_query_parts
from beets.ui import Subcommand, UserError

from agf_core import missing_for_learning
from agf_core.errors import printable
from beetsplug.agfgenre.config import DEFAULTS, AuditSettings, Settings, TrainSettings, min_tracks
from beetsplug.agfgenre.console import LONGEST_LINE, name_of, plural, show
from beetsplug.agfgenre.summary import Summary
from beetsplug.agfgenre.vocabulary import Vocabulary, read_learn_as

if TYPE_CHECKING:
    import optparse
    from collections.abc import Callable

    from beets.library import Library
    from beets.logging import BeetsLogger
    from confuse import ConfigView

    from beetsplug.agfgenre.tag.library_tags import TaggedTrack
    from beetsplug.agfgenre.tag.prefilter import Matches
    from beetsplug.agfgenre.train.run import TrainingRun

    Command = Callable[[Library, optparse.Values, list[str]], None]

INTERRUPTED = 130  # exit status of what Ctrl-C has stopped, as shells have it
NOT_BETTER = 3  # exit status of `beet agftrain` when the new model is not better

SWITCHES = (
    # on, off, name, what "on" does
    (("-f", "--force"), ("-F", "--no-force"), "force", "replace existing genres"),
    (
        ("-k", "--keep-existing"),
        ("-K", "--no-keep-existing"),
        "keep_existing",
        "keep existing genres and add to them",
    ),
    (
        ("-r", "--renew"),
        ("-R", "--no-renew"),
        "renew",
        "decide again on genres that agfgenre has set; remove them if it is unsure now",
    ),
    (
        ("-a", "--albums"),
        ("-A", "--items"),
        "albums",
        "match albums and set the same genres on all tracks of each (compilations: by track)",
    ),
    (
        ("-w", "--write"),
        ("-W", "--nowrite"),
        "write",
        "write genres to the files (default: as import.write says)",
    ),
)


def tag_command(config: ConfigView, log: BeetsLogger) -> Subcommand:
    """Return ``beet agfgenre``."""
    command = Subcommand("agfgenre", help="set genres by analysing the audio")
    command.parser.set_usage("%prog [options] [QUERY]")
    add = command.parser.add_option
    for on, off, name, meaning in SWITCHES:
        add(*on, dest=name, action="store_true", help=meaning)
        add(*off, dest=name, action="store_false", help=f"opposite of {on[0]}")
    add("-p", "--pretend", action="store_true", help="show changes, but make none")
    add("-q", "--quiet", action="store_true", help="show neither changes nor progress")
    add("-t", "--threads", type="int", help="number of files analysed at a time (0: one a core)")
    explain = "show every track's most probable genres; analyses tracks that have genres, too"
    add("--explain", action="store_true", help=explain)
    add("--undo", action="store_true", help="restore the genres that the last run replaced")

    def run(lib: Library, options: optparse.Values, query: list[str]) -> None:
        _warn_of_unknown_options(config, log)
        settings = Settings.from_config(config, vars(options))
        if options.undo:
            others = ("force", "keep_existing", "renew", "albums", "explain")
            if given := [name for name in others if getattr(options, name)]:
                option = given[0].replace("_", "-")
                raise UserError(f"agfgenre: --undo cannot be combined with --{option}")
            _undo(lib, query, settings, log)
        else:
            _tag(lib, query, settings, config, log)

    command.func = _stoppable(run)
    return command


def _tag(
    lib: Library, query: list[str], settings: Settings, config: ConfigView, log: BeetsLogger
) -> None:
    from beetsplug.agfgenre.tag import context, library_prior, setup
    from beetsplug.agfgenre.tag.journal import Journal
    from beetsplug.agfgenre.tag.library_tags import LibraryTags
    from beetsplug.agfgenre.tag.run import Run

    vocabulary, learn_as = Vocabulary.from_config(config), read_learn_as(config)
    tagger = setup.load_tagger(settings)
    if not settings.pretend:
        setup.check_writable(lib)
    albums, tracks = _matches(lib, query, by_album=settings.albums)
    if not (albums or tracks):
        raise UserError("agfgenre: nothing in the library matches")
    tags = LibraryTags(lib, tagger.labels, tagger.styles, vocabulary, learn_as)
    of_run = _analysed_by_run(albums, tracks, settings)
    tagger = library_prior.with_prior(tagger, tags, lib, settings, log, of_run)
    known = context.of_library(lib, tags, tagger, settings)
    wordings = ("add genres to", "added genres to") if settings.keep_existing else ("tag", "tagged")
    done = f"would {wordings[0]}" if settings.pretend else wordings[1]
    with closing(Journal(lib)) as journal:
        run = Run(lib, tagger, vocabulary, settings, log, journal, known)
        try:
            run.select(albums, tracks)
            run.process(show_progress=not settings.quiet)
        except KeyboardInterrupt:
            log.info("{}; stopped, run again to continue", run.summary.text(done))
            raise
    log.info("{}", run.summary.text(done))
    if run.summary.all_failed:
        raise UserError("agfgenre: none of the files could be analysed; see the lines above")


def _analysed_by_run(
    albums: Matches[Album] | tuple[()], tracks: Matches[Item], settings: Settings
) -> Callable[[TaggedTrack], bool]:
    """Return what tells whether a run will analyse a track, if that is not analysed yet."""
    of_albums, alone = set(albums.ids if albums else ()), set(tracks.ids)
    all_of_them = settings.explain or not settings.open_only

    def will_analyse(track: TaggedTrack) -> bool:
        return (all_of_them or track.is_open) and (
            track.number in alone or track.album in of_albums
        )

    return will_analyse


def _matches(
    lib: Library, query: list[str], by_album: bool
) -> tuple[Matches[Album] | tuple[()], Matches[Item]]:
    """Return the albums that match, and the tracks that match and are decided on one by one."""
    from beetsplug.agfgenre.tag.prefilter import Matches

    try:
        parsed, sort = parse_query_parts(query, Item)
        if not by_album:
            return (), Matches(lib, Item, parsed, sort)
        alone: Query = AndQuery([parsed, NoneQuery("album_id")])
        return (
            Matches(lib, Album, *parse_query_parts(query, Album)),
            Matches(lib, Item, alone, sort),
        )
    except InvalidQueryArgumentValueError as error:
        raise InvalidQueryError(query, error) from None  # which beets shows in a line


def _undo(lib: Library, query: list[str], settings: Settings, log: BeetsLogger) -> None:
    from beetsplug.agfgenre.tag import setup, undo

    if not settings.pretend:
        setup.check_writable(lib)
    done = "would restore" if settings.pretend else "restored"
    summary = Summary()
    try:
        if not undo.restore(lib, query, settings, log, summary):
            log.info("there is nothing to restore{}", " of the tracks that match" if query else "")
            return
    except KeyboardInterrupt:
        log.info("{}; stopped, run again to continue", summary.text(done))
        raise
    log.info("{}", summary.text(done))


def train_command(config: ConfigView, log: BeetsLogger) -> Subcommand:
    """Return ``beet agftrain``."""
    command = Subcommand("agftrain", help="train a model on the genres of your library")
    command.parser.set_usage("%prog [options] [QUERY]")
    add = command.parser.add_option
    add("--deep", action="store_true", help="fine-tune the networks, too; needs beets-agf[train]")
    # What it did is the default now: accepted for one release.
    add("--quick", action="store_true", help=SUPPRESS_HELP)
    add("-p", "--pretend", action="store_true", help="show what would be trained on")
    add("-q", "--quiet", action="store_true", help="show neither progress nor the report")
    add("-t", "--threads", type="int", help="number of files analysed at a time (0: one a core)")
    add(
        "--groups",
        help="with --deep: artist groups that are auxiliary tasks, letters of m, d, e and s, or "
        "none (default: all that are possible)",
    )
    add("--name", help="name of the new model (default: the date)")

    def run(lib: Library, options: optparse.Values, query: list[str]) -> None:
        from beetsplug.agfgenre.library_features import matching_items
        from beetsplug.agfgenre.train.training_set import TrainingSet

        _warn_of_unknown_options(config, log)
        settings = TrainSettings.from_config(config, vars(options))
        if settings.deep and not settings.pretend and (missing := missing_for_learning()):
            raise UserError(f"agftrain: {missing}")
        vocabulary, learn_as = Vocabulary.from_config(config), read_learn_as(config)
        training_set = TrainingSet.of(matching_items(lib, query), vocabulary, learn_as)
        if not training_set.matched:
            raise UserError("agftrain: nothing in the library matches")
        if settings.pretend:
            for line in training_set.preview(settings.min_tracks):
                if not settings.quiet:
                    show(line)
            return
        from agf_core.errors import CacheError, CheckpointError

        way: type[TrainingRun]
        if settings.deep:
            from beetsplug.agfgenre.train.deep import DeepRun

            way = DeepRun
        else:
            from beetsplug.agfgenre.train.light import LightRun

            way = LightRun

        try:
            better = way(lib, vocabulary, learn_as, settings, log).train(training_set)
        except (CacheError, CheckpointError) as error:
            raise UserError(f"agftrain: {error}; nothing is changed") from None
        except KeyboardInterrupt:
            log.info("stopped, run again to continue")
            raise
        if not better:
            raise SystemExit(NOT_BETTER)

    command.func = _stoppable(run)
    return command


def similar_command(config: ConfigView, log: BeetsLogger) -> Subcommand:
    """Return ``beet agfsimilar``."""
    command = Subcommand("agfsimilar", help="list tracks that sound like those of a query")
    command.parser.set_usage("%prog [options] QUERY")
    command.parser.add_format_option(target="item")
    add = command.parser.add_option
    add("-n", "--count", type="int", default=10, help="how many tracks (default: 10)")
    add("--not-same-artist", action="store_true", help="leave out tracks by the same artist")
    add("--to", metavar="QUERY2", default="", help="list a smooth path to the track of QUERY2")
    add("--playlist", metavar="FILE", help="write an M3U8 playlist instead of a list")

    def run(lib: Library, options: optparse.Values, query: list[str]) -> None:
        from beetsplug.agfgenre.playlist import write_playlist
        from beetsplug.agfgenre.similar import Request, find_similar

        _warn_of_unknown_options(config, log)
        request = Request(query, options.to, options.count, bool(options.not_same_artist))
        found = find_similar(lib, request, Settings.from_config(config, {}), log)
        if options.playlist:
            write_playlist(lib, Path(options.playlist), found, log)
            log.info("wrote {} to {}", plural(len(found), "track"), options.playlist)
            return
        wanted = getattr(options, "format", None)  # absent without -f
        for item in found:
            show(format(item) if wanted else name_of(item))

    command.func = _stoppable(run)
    return command


def audit_command(config: ConfigView, log: BeetsLogger) -> Subcommand:
    """Return ``beet agfaudit``."""
    command = Subcommand("agfaudit", help="find genres that are probably wrong")
    command.parser.set_usage("%prog [options] [QUERY]")
    command.parser.add_album_option(("-a", "--album", "--albums"))
    command.parser.add_format_option()
    add = command.parser.add_option
    at_most = AuditSettings.at_most
    how_many = f"how many to show (default: {at_most}; 0: all)"
    add("-n", "--count", dest="at_most", type="int", default=at_most, help=how_many)
    add("--json", action="store_true", default=False, help="show everything as JSON")
    by_sound = "check without the artist's other tracks: finds artists who are wrong throughout"
    add("--by-sound", action="store_true", default=False, help=by_sound)
    add("--fix", action="store_true", default=False, help="correct them one by one")
    on, off, name, meaning = SWITCHES[-1]
    add(*on, dest=name, action="store_true", help=f"with --fix: {meaning}")
    add(*off, dest=name, action="store_false", help=f"opposite of {on[0]}")

    def run(lib: Library, options: optparse.Values, query: list[str]) -> None:
        from beetsplug.agfgenre.audit.run import audit
        from beetsplug.agfgenre.tag import setup

        _warn_of_unknown_options(config, log)
        own = AuditSettings.from_config(config, vars(options))
        settings = Settings.from_config(config, {"write": options.write})
        vocabulary, learn_as = Vocabulary.from_config(config), read_learn_as(config)
        if own.fix:
            setup.check_writable(lib)
        audit(lib, query, vocabulary, learn_as, own, settings, log)

    command.func = _stoppable(run)
    return command


def models_command(config: ConfigView, log: BeetsLogger) -> Subcommand:
    """Return ``beet agfmodels``."""
    command = Subcommand("agfmodels", help="list models; show, use or remove one")
    command.parser.set_usage("%prog [show NAME [--open] | use NAME | remove NAME | prune]")
    command.parser.add_option("--open", action="store_true", help="open the report in a browser")

    def run(lib: Library, options: optparse.Values, arguments: list[str]) -> None:
        from beetsplug.agfgenre import models

        models.manage(arguments, Settings.from_config(config, {}), log, open_page=options.open)

    command.func = _stoppable(run)
    return command


def map_command(config: ConfigView, log: BeetsLogger) -> Subcommand:
    """Return ``beet agfmap``."""
    command = Subcommand("agfmap", help="draw a map of the library, in one page of HTML")
    command.parser.set_usage("%prog [options] [QUERY]")
    add = command.parser.add_option
    page = "the page (default: agfmap.html in this folder; with a query: agfmap-query.html)"
    add("-o", "--output", metavar="FILE", help=page)
    add("--open", action="store_true", help="open the page in a browser")
    add("--renew", action="store_true", help="lay out all tracks anew; they move")
    add("--force", action="store_true", help="replace a file that is no map")

    def run(lib: Library, options: optparse.Values, query: list[str]) -> None:
        from beetsplug.agfgenre.map.run import FILE, FILE_OF_QUERY, Mapper, open_page

        _warn_of_unknown_options(config, log)
        vocabulary, learn_as = Vocabulary.from_config(config), read_learn_as(config)
        path = Path(options.output or (FILE_OF_QUERY if query else FILE)).expanduser()
        settings = Settings.from_config(config, {})
        mapper = Mapper(lib, vocabulary, learn_as, settings, min_tracks(config), log)
        mapper.draw(query, path, force=options.force, renew=options.renew)
        if options.open:
            open_page(path)

    command.func = _stoppable(run)
    return command


def _warn_of_unknown_options(config: ConfigView, log: BeetsLogger) -> None:
    for name in config.keys() - DEFAULTS.keys():
        close = get_close_matches(name, DEFAULTS, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        log.warning("`{}` in the configuration is not an option of agfgenre{}", name, hint)


def _stoppable(command: Command) -> Command:
    """Return a command that exits with a status of its own on Ctrl-C; beets' would be 0.

    Messages of its errors are made printable: they may have names of the library in them.
    """

    def run(lib: Library, options: optparse.Values, arguments: list[str]) -> None:
        try:
            command(lib, options, arguments)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except (UserError, InvalidQueryError) as error:
            error.args = (printable(str(error), LONGEST_LINE),)
            raise

    return run
