"""The options of the configuration and of the commands, checked before anything is done."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import confuse
import yaml
from beets import ui
from beets.ui import UserError

from agf_core.data.genre_names import composed

if TYPE_CHECKING:
    from confuse import ConfigView

T = TypeVar("T")
N = TypeVar("N", bound=float)

DEFAULTS: dict[str, Any] = {
    "auto": False,
    "count": 1,
    "min_confidence": 0.6,
    "styles": False,
    "min_style_confidence": 0.15,
    "whitelist": False,
    "canonical": False,
    "aliases": False,
    "title_case": True,
    "placeholders": [
        *("?", "(12)", "255", "genre", "no genre", "none", "none given", "null", "nil", "n/a"),
        *("unknown", "undefined", "unspecified", "unset", "not set", "not specified"),
        *("not available", "blank", "empty", "default", "untagged", "tbd"),
        *("other", "others", "misc", "miscellaneous", "various", "general", "genres"),
        *("music", "audio", "musik", "musique"),
        *("uncategorized", "uncategorised", "unclassified", "unclassifiable"),
        *(
            "unbekannt",
            "unbekanntes",
            "sonstige",
            "sonstiges",
            "andere",
            "diverse",
            "verschiedenes",
        ),
        *("inconnu", "autre", "autres", "divers", "desconocido", "otro", "otros", "varios"),
        *("sconosciuto", "altro", "desconhecido", "outro", "outros", "não definido"),
        *("onbekend", "overig", "overige", "inne", "nieznany"),
        *("неизвестно", "неизвестный", "другое", "прочее", "разное"),
        *("音乐", "未知", "其他", "其它", "未分类", "その他", "不明", "未分類", "기타"),
    ],
    "force": False,
    "keep_existing": False,
    "renew": False,
    "albums": False,
    "threads": 0,
    "model": "",
    "context": True,
    "prior": "library",
    "min_tracks": 10,
    "learn_as": False,
    "groups": "",
}

SECTION = "agfgenre"
LONGEST_NAME = 50  # characters of a model's name: it is a folder's and stands in tables
PRIORS = BALANCED, SHIPPED, LIBRARY = "balanced", "shipped", "library"


def replace_odd_section(configuration: ConfigView) -> str:
    """Replace a section that is no mapping by an empty one, which confuse cannot do without.

    Parameters
    ----------
    configuration : ConfigView
        All of beets' configuration.

    Returns
    -------
    str
        The value that was in the place of options; empty if there was none.
    """
    odd = ""
    for source in configuration.root().sources:
        if not isinstance(source.get(SECTION, {}), dict):
            odd = odd or str(source[SECTION] or "")
            source[SECTION] = {}
    return odd


class Number(confuse.Template[N]):
    """A number within limits, both of them allowed; unlike confuse's own, true and false are none.

    Parameters
    ----------
    kind : type
        int or float.
    low, high : float
    """

    def __init__(self, kind: type[N], low: float, high: float = math.inf) -> None:
        super().__init__()
        self._kind, self._low, self._high = kind, low, high

    def convert(self, value: Any, view: ConfigView) -> N:
        """Return the number; `confuse.ConfigError` for anything else."""
        if isinstance(value, bool) or not isinstance(value, int | self._kind):
            self.fail("must be a number", view, True)
        if not self._low <= value <= self._high:
            self.fail("must be within its limits", view)
        return self._kind(value)


SWITCH, YES_OR_NO = confuse.TypeTemplate(bool), "yes or no"
CONFIDENCE = Number(float, 0, 1), "a number from 0 to 1"
THREADS = Number(int, 0), "a whole number from 0 up"
NO_GROUPS = "none"
GROUPS = confuse.Optional(confuse.String(pattern=rf"^({NO_GROUPS}|(?!.*(.).*\2)[mdes]*)$"))


def value_of(config: ConfigView, name: str, template: confuse.Template[T], what: str) -> T:
    """Return the value of an option.

    Parameters
    ----------
    config : ConfigView
    name : str
    template : confuse.Template
    what : str
        The values it accepts, for people.

    Raises
    ------
    UserError
        If it accepts no such value.
    """
    try:
        return config[name].get(template)
    except confuse.ConfigError:
        value, hint = config[name].get(), ""
    if isinstance(value, str):
        with suppress(confuse.ConfigError, yaml.YAMLError, ValueError):  # the last from odd dates
            confuse.RootView([confuse.ConfigSource({name: yaml.safe_load(value)})])[name].get(
                template
            )
            hint = " (without quotes)"
    raise UserError(f"agfgenre: {name} must be {what}{hint}, not {value!r}")


def switch(config: ConfigView, name: str) -> bool:
    """Return the value of an option that is yes or no; `UserError` if it is neither."""
    return value_of(config, name, SWITCH, YES_OR_NO)


def _with_options(config: ConfigView, options: Mapping[str, Any]) -> ConfigView:
    """Return the configuration with the options of a command, which win unless None."""
    given = {name: value for name, value in options.items() if value is not None}
    sources: list[Any] = [given, *(values for values, _ in config.resolve())]
    return confuse.RootView([confuse.ConfigSource(values) for values in sources])


def _model_folder(config: ConfigView) -> str:
    value = config["model"].get() or ""
    if not isinstance(value, str):
        raise UserError(f"agfgenre: model must be the folder of a model, not {value!r}")
    return config["model"].as_filename() if value else ""


@dataclass(frozen=True)
class Settings:
    """The options of ``beet agfgenre``.

    Attributes
    ----------
    count : int
        The most genres that are set.
    min_confidence : float
        Probability of the first genre below which nothing is set.
    styles : bool
        Set the style, too, before its genre.
    min_style_confidence : float
        Probability of a style below which it is not set.
    force, keep_existing : bool
        Change tracks and albums that have genres, too: replace the genres, or add to them.
    renew : bool
        Decide on genres that this plugin has set as if there were none.
    albums : bool
        Decide by album rather than by track.
    threads : int
        Files analysed at a time; 0 for as many as there are cores.
    model : str
        Folder of the model; empty for the active fine-tuned model, or the shipped one.
    context : bool
        Combine a prediction with those of the artist's other tracks, and with the user's genres.
    prior : str
        Class prior of the predictions, one of `PRIORS`.
    write : bool
        Write tags to files as well as to the library.
    pretend : bool
        Change nothing.
    quiet : bool
        Show neither changes nor progress.
    explain : bool
        Show the probabilities of every track.
    """

    count: int = 1
    min_confidence: float = 0.6
    styles: bool = False
    min_style_confidence: float = 0.15
    force: bool = False
    keep_existing: bool = False
    renew: bool = False
    albums: bool = False
    threads: int = 0
    model: str = ""
    context: bool = True
    prior: str = LIBRARY
    write: bool = False
    pretend: bool = False
    quiet: bool = False
    explain: bool = False

    @classmethod
    def from_config(cls, config: ConfigView, options: Mapping[str, Any]) -> Settings:
        """Combine the configuration with the options of a command, which win unless None.

        Raises
        ------
        UserError
            If a value makes no sense.
        """
        values = _with_options(config, options)
        prior = confuse.Choice(PRIORS)
        return cls(
            count=value_of(values, "count", Number(int, 1), "a whole number from 1 up"),
            min_confidence=value_of(values, "min_confidence", *CONFIDENCE),
            styles=switch(values, "styles"),
            min_style_confidence=value_of(values, "min_style_confidence", *CONFIDENCE),
            force=switch(values, "force"),
            keep_existing=switch(values, "keep_existing"),
            renew=switch(values, "renew"),
            albums=switch(values, "albums"),
            threads=value_of(values, "threads", *THREADS),
            model=_model_folder(config),
            context=switch(values, "context"),
            prior=value_of(values, "prior", prior, "library, shipped or balanced"),
            write=ui.should_write(options.get("write")),
            pretend=bool(options.get("pretend")),
            quiet=bool(options.get("quiet")),
            explain=bool(options.get("explain")),
        )

    @property
    def open_only(self) -> bool:
        """Whether only tracks and albums without genres are to be changed."""
        return not (self.force or self.keep_existing or self.renew)


@dataclass(frozen=True)
class TrainSettings:
    """The options of ``beet agftrain``.

    Attributes
    ----------
    min_tracks : int
        Genres with fewer tracks are left out.
    threads : int
        Processes that analyse files; 0 for as many as there are cores.
    model : str
        Folder of the base model; empty for the shipped one.
    deep : bool
        Fine-tune the networks, too.
    pretend : bool
        Show what would be trained on, and do nothing.
    quiet : bool
        Show neither progress nor the report, but the outcome.
    name : str
        Of the new model; empty for the date.
    groups : str
        Artist groups that are auxiliary tasks, of m, d, e and s; empty for all that are possible,
        `NO_GROUPS` for none.
    min_confidence : float
        From which on the report counts a genre as written.
    """

    min_tracks: int = 10
    threads: int = 0
    model: str = ""
    deep: bool = False
    pretend: bool = False
    quiet: bool = False
    name: str = ""
    groups: str = ""
    min_confidence: float = 0.6

    @classmethod
    def from_config(cls, config: ConfigView, options: Mapping[str, Any]) -> TrainSettings:
        """Combine the configuration with the options of the command.

        Raises
        ------
        UserError
            If a value makes no sense.
        """
        if options.get("groups") and not options.get("deep"):
            raise UserError(
                "agftrain: --groups needs --deep: only fine-tuning the networks uses these groups"
            )
        if options.get("quick") and options.get("deep"):
            raise UserError("agftrain: --quick cannot be combined with --deep")
        values = _with_options(config, options)
        groups = value_of(values, "groups", GROUPS, "none or some of the letters m, d, e and s")
        return cls(
            min_tracks=value_of(values, "min_tracks", Number(int, 2), "a whole number from 2 up"),
            threads=value_of(values, "threads", *THREADS),
            model=_model_folder(config),
            deep=bool(options.get("deep")),
            pretend=bool(options.get("pretend")),
            quiet=bool(options.get("quiet")),
            name=_model_name(composed(options.get("name") or "")),
            groups=groups or "",
            min_confidence=value_of(values, "min_confidence", *CONFIDENCE),
        )


def min_tracks(config: ConfigView) -> int:
    """Return how many tracks a genre must have to be trained on; `UserError` where it is wrong."""
    return value_of(config, "min_tracks", Number(int, 2), "a whole number from 2 up")


@dataclass(frozen=True)
class AuditSettings:
    """The options of ``beet agfaudit`` alone.

    Attributes
    ----------
    albums : bool
        Check albums instead of tracks.
    at_most : int
        Tracks or albums that are shown; 0 for all.
    template : str
        Format to show them in; empty for the plugin's own.
    json, fix, by_sound : bool
        Show JSON; correct one by one; check without the artist's other tracks.
    min_tracks : int
        Genres with fewer tracks are not trained on.
    """

    albums: bool = False
    at_most: int = 20
    template: str = ""
    json: bool = False
    fix: bool = False
    by_sound: bool = False
    min_tracks: int = 10

    @classmethod
    def from_config(cls, config: ConfigView, options: Mapping[str, Any]) -> AuditSettings:
        """Combine the configuration with the options of the command.

        Raises
        ------
        UserError
            If a value makes no sense.
        """
        ways = [name for name in ("fix", "json", "format") if options.get(name)]
        if len(ways) > 1:
            raise UserError(f"agfaudit: --{ways[0]} cannot be combined with --{ways[1]}")
        if options["fix"] and not sys.stdin.isatty():
            raise UserError("agfaudit: --fix puts questions on a terminal, and there is none")
        if options["at_most"] < 0:
            raise UserError("agfaudit: -n must be 0 (all) or more")
        return cls(
            albums=options["album"],
            at_most=options["at_most"],
            template=options.get("format") or "",
            json=options["json"],
            fix=options["fix"],
            by_sound=options["by_sound"],
            min_tracks=min_tracks(config),
        )


def _model_name(name: str) -> str:
    from agf_core.bundle.registry import checked_name  # which needs numpy

    try:
        if name:
            checked_name(name)
        if len(name) > LONGEST_NAME:
            raise ValueError(f"a model's name has at most {LONGEST_NAME} characters")
    except ValueError as error:
        raise UserError(f"agftrain: {error}") from None
    return name
