"""``beet agfaudit``: read, check, compare, and show or correct, in this order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from beets.dbcore.query import InvalidQueryArgumentValueError, InvalidQueryError, TrueQuery
from beets.library import Album, Item, parse_query_parts
from beets.ui import UserError

from agf_core.bundle import format as bundle_format
from agf_core.bundle.registry import SHIPPED_NAME
from agf_core.data.artist_names import fold_artist_name
from agf_core.errors import BundleError
from beetsplug.agfgenre.audit.consistency import check
from beetsplug.agfgenre.audit.find import Auditor, Subject
from beetsplug.agfgenre.audit.fix import Fixer
from beetsplug.agfgenre.audit.rows import is_kept, read_rows
from beetsplug.agfgenre.audit.show import Report, show_formatted, show_json, show_report
from beetsplug.agfgenre.fields import is_set_by_plugin
from beetsplug.agfgenre.library_features import read_features
from beetsplug.agfgenre.models import chosen_model
from beetsplug.agfgenre.tag.prefilter import Matches

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from agf_core.bundle.format import Bundle
    from beetsplug.agfgenre.audit.find import Suspect
    from beetsplug.agfgenre.audit.rows import Naming, Row
    from beetsplug.agfgenre.config import AuditSettings, Settings
    from beetsplug.agfgenre.fields import TrackOrAlbum
    from beetsplug.agfgenre.library_features import LibraryFeatures
    from beetsplug.agfgenre.vocabulary import Vocabulary

ALBUM_FIELDS = ("albumartist", "genres", "comp", "agf_set", "agf_kept")


def audit(
    lib: Library,
    query: Sequence[str],
    vocabulary: Vocabulary,
    learn_as: Mapping[str, str],
    options: AuditSettings,
    settings: Settings,
    log: BeetsLogger,
) -> None:
    """Check the genres of a library, and show or correct those that are probably wrong.

    All of the library is read and trained on; the tracks or albums of the query are reported.

    Raises
    ------
    UserError
        If there is nothing to check, or something cannot be read or written.
    """
    kind = Album if options.albums else Item
    matched = _matched(lib, query, kind)
    base = _base(settings, log)
    features = read_features(lib, [], base, log)
    rows, naming = read_rows(lib, vocabulary, learn_as)
    if not any(row.genres for row in rows):
        raise UserError(
            "agfaudit: no track of the library has a genre to check; `beet agfgenre` sets genres"
        )
    use_artists = settings.context and not options.by_sound
    auditor, analysed = _auditor(rows, naming, features, base, options.min_tracks, use_artists)
    subjects = _albums(lib, vocabulary, naming, analysed) if options.albums else _tracks(analysed)
    found = auditor.check(subjects, matched)
    shown = found.suspects[: options.at_most] if options.at_most else found.suspects
    if options.fix:
        if shown:
            Fixer(lib, vocabulary, settings, log).walk(shown)
        else:
            log.info("no genre is probably wrong; nothing to fix")
        return
    tracks = _tracks_of(matched, rows) if options.albums else matched
    report = Report(
        found=found,
        artists=auditor.check_artists(tracks),
        consistency=check(rows, tracks),
        suspects=_with_objects(lib, shown, kind),
        albums=options.albums,
        at_most=options.at_most,
    )
    if options.json:
        show_json(report)
    elif options.template:
        show_formatted(report, options.template)
    else:
        show_report(report)


def suspect_tracks(
    lib: Library,
    features: LibraryFeatures,
    matched: set[int],
    vocabulary: Vocabulary,
    learn_as: Mapping[str, str],
    min_tracks: int,
    settings: Settings,
    log: BeetsLogger,
) -> list[Suspect]:
    """Return the tracks whose genres are probably wrong, the worst first.

    Parameters
    ----------
    lib : Library
    features : LibraryFeatures
        Of all of the library.
    matched : set of int
        Ids of the tracks that may be returned.
    vocabulary, learn_as, min_tracks, settings, log
        As for `audit`.
    """
    rows, naming = read_rows(lib, vocabulary, learn_as)
    if not any(row.genres for row in rows):
        return []
    base = _base(settings, log)
    auditor, analysed = _auditor(rows, naming, features, base, min_tracks, settings.context)
    return auditor.check(_tracks(analysed), matched).suspects


def _auditor(
    rows: Sequence[Row],
    naming: Naming,
    features: LibraryFeatures,
    base: Bundle,
    min_tracks: int,
    use_artists: bool,
) -> tuple[Auditor, list[Row]]:
    """Return an auditor, and the tracks that it has features of."""
    by_id = {row.id: row for row in rows}
    ids = features.items.ids
    places = [i for i, number in enumerate(ids) if number in by_id]  # others are gone by now
    analysed = [by_id[ids[i]] for i in places]
    chosen = slice(None) if len(places) == len(ids) else places  # a slice copies nothing
    auditor = Auditor(
        analysed,
        naming,
        features.embeddings[chosen],
        features.log_probabilities[chosen],
        base,
        min_tracks=min_tracks,
        use_artists=use_artists,
    )
    return auditor, analysed


def _matched(lib: Library, query: Sequence[str], kind: type[Item | Album]) -> set[int]:
    try:
        matches = Matches(lib, kind, *parse_query_parts(list(query), kind))
    except InvalidQueryArgumentValueError as error:
        raise InvalidQueryError(query, error) from None  # which beets shows in a line
    if not len(matches):
        raise UserError("agfaudit: nothing in the library matches")
    return set(matches.ids)


def _base(settings: Settings, log: BeetsLogger) -> Bundle:
    """Return the base model of the model in use, without the head that was trained on these genres.

    Raises
    ------
    UserError
        If it cannot be used.
    """
    try:
        model = chosen_model(settings.model)
        shipped = bundle_format.load()
    except BundleError as error:
        raise UserError(f"agfaudit: {error}") from None
    metadata = model.metadata
    if model.base_id == shipped.model_id:
        return shipped
    if metadata.head is not None:
        base = replace(metadata, labels=metadata.network_labels, head=None, prior=None)
        return replace(model, model_id=model.base_id, metadata=base)
    log.warning(
        "the networks of {} may have been trained on this library, wrong genres included; "
        "`beet agfmodels use {}` checks by networks that were not",
        *(metadata.name, SHIPPED_NAME),
    )
    return model


def _tracks(rows: Sequence[Row]) -> list[Subject]:
    return [
        Subject(
            id=row.id,
            rows=(place,),
            genres=row.genres,
            mains=row.mains,
            artist=row.artist,
            album=row.album,
            is_album=False,
            by_plugin=row.by_plugin,
            kept=row.kept,
        )
        for place, row in enumerate(rows)
    ]


def _albums(
    lib: Library, vocabulary: Vocabulary, naming: Naming, rows: Sequence[Row]
) -> list[Subject]:
    """Return the albums with analysed tracks; compilations are no subjects, their tracks are."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row.album is not None:
            places[row.album].append(place)
    subjects = []
    for values in Matches(lib, Album, TrueQuery()).values(*ALBUM_FIELDS):
        number = values["id"]
        if values["comp"] or number not in places:
            continue
        genres = vocabulary.genres_of(values["genres"])
        subjects.append(
            Subject(
                id=number,
                rows=tuple(places[number]),
                genres=tuple(genres),
                mains=tuple(naming.main(genre) for genre in genres),
                artist=fold_artist_name(values["albumartist"] or "") or f"album {number}",
                album=number,
                is_album=True,
                by_plugin=bool(genres) and is_set_by_plugin(values, genres[:1]),
                kept=bool(genres) and is_kept(genres, values["agf_kept"]),
            )
        )
    return subjects


def _tracks_of(albums: set[int], rows: Sequence[Row]) -> set[int]:
    return {row.id for row in rows if row.album in albums}


def _with_objects(
    lib: Library, suspects: Sequence[Suspect], kind: type[Item | Album]
) -> list[tuple[Suspect, TrackOrAlbum]]:
    """Return suspects with their objects, which may be gone by now."""
    fetch = lib.get_item if kind is Item else lib.get_album
    pairs = ((suspect, fetch(suspect.id)) for suspect in suspects)
    return [(suspect, obj) for suspect, obj in pairs if obj is not None]
