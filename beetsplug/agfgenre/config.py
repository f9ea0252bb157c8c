"""What the user asked for, checked at the door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from beets import ui
from beets.ui import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confuse import ConfigView

DEFAULTS: dict[str, Any] = {
    "auto": False,
    "count": 1,
    "min_confidence": 0.6,
    "whitelist": False,
    "canonical": False,
    "aliases": False,
    "title_case": True,
    "placeholders": [
        *("?", "??", "???", "-", "--", "---", ".", "...", "_", "*", "(12)", "(255)", "12", "255"),
        *(
            "genre",
            "genres",
            "(genre)",
            "no genre",
            "unknown genre",
            "other genre",
            "genre unknown",
        ),
        *("unknown", "(unknown)", "[unknown]", "<unknown>", "undefined", "unspecified", "not set"),
        *("other", "others", "(other)", "[other]", "misc", "misc.", "miscellaneous", "various"),
        *("none", "(none)", "null", "nil", "n/a", "na", "n.a.", "blank", "empty", "default"),
        *("music", "audio", "uncategorized", "uncategorised", "unclassified", "unclassifiable"),
        *("unbekannt", "sonstige", "sonstiges", "andere", "inconnu", "autre", "autres"),
        *("desconocido", "otro", "otros", "sconosciuto", "altro", "desconhecido", "outro"),
    ],
    "force": False,
    "keep_existing": False,
    "renew": False,
    "albums": False,
    "threads": 0,
    "model": "",
    "prior": "shipped",
    "min_tracks": 10,
    "learn_as": False,
    "groups": "",
}

SECTION = "agfgenre"
LONGEST_NAME = 50  # characters of a model's name: it is a folder's and stands in tables
PRIORS = BALANCED, SHIPPED, LIBRARY = "balanced", "shipped", "library"


def empty_section(configuration: ConfigView) -> str:
    """Make a section without options an empty one, which confuse does not take it for.

    Parameters
    ----------
    configuration : ConfigView
        The whole of it.

    Returns
    -------
    str
        What stands in the place of options; empty if nothing does.
    """
    odd = ""
    for source in configuration.root().sources:
        if not isinstance(source.get(SECTION, {}), dict):
            odd = odd or str(source[SECTION] or "")
            source[SECTION] = {}
    return odd


@dataclass(frozen=True)
class Settings:
    """The options of one run.

    Attributes
    ----------
    count : int
        The most genres that are set.
    min_confidence : float
        Probability of the first genre below which nothing is set.
    force, keep_existing : bool
        Handle what has genres too: replace them, or keep them and add to them.
    renew : bool
        Handle what has genres that this plugin has set, too, as if it had none.
    albums : bool
        Decide for each album rather than for each track.
    threads : int
        How many threads decode and listen; 0 for as many as there are cores.
    model : str
        Folder of the model; empty for the active personal model, or the one that ships.
    prior : str
        How music is taken to be made up: one of `PRIORS`; shipped is what the model has learnt.
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
    force: bool = False
    keep_existing: bool = False
    renew: bool = False
    albums: bool = False
    threads: int = 0
    model: str = ""
    prior: str = SHIPPED
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

        def get(name: str) -> Any:
            value = options.get(name)
            return config[name].get() if value is None else value

        return cls(
            count=_number("count", get("count"), int, 1, None),
            min_confidence=_number("min_confidence", get("min_confidence"), float, 0, 1),
            force=switch("force", get("force")),
            keep_existing=switch("keep_existing", get("keep_existing")),
            renew=switch("renew", get("renew")),
            albums=switch("albums", get("albums")),
            threads=_number("threads", get("threads"), int, 0, None),
            model=_folder(config),
            prior=_checked(
                "prior", config["prior"].get(), "balanced, shipped or library", PRIORS.__contains__
            ),
            write=ui.should_write(options.get("write")),
            pretend=bool(options.get("pretend")),
            quiet=bool(options.get("quiet")),
            explain=bool(options.get("explain")),
        )

    @property
    def open_only(self) -> bool:
        """Whether only what has no genres yet is to be changed."""
        return not (self.force or self.keep_existing or self.renew)


@dataclass(frozen=True)
class LearnSettings:
    """The options of one ``beet agftrain``.

    Attributes
    ----------
    min_tracks : int
        A genre with fewer tracks is not learnt.
    threads : int
        How many processes listen; 0 for as many as there are cores.
    model : str
        Folder of the model to begin with; empty for the one that ships.
    quick : bool
        Leave the networks as they are.
    pretend : bool
        Say what would be learnt from, and do nothing.
    quiet : bool
        Show neither progress nor the report, but the outcome.
    name : str
        What to call the model; empty for the date.
    groups : str
        Artist groups to learn beside the genre, of m, d, e and s; empty for those that the model
        to begin with has learnt.
    """

    min_tracks: int = 10
    threads: int = 0
    model: str = ""
    quick: bool = False
    pretend: bool = False
    quiet: bool = False
    name: str = ""
    groups: str = ""

    @classmethod
    def from_config(cls, config: ConfigView, options: Mapping[str, Any]) -> LearnSettings:
        """Combine the configuration with the options of the command.

        Raises
        ------
        UserError
            If a value makes no sense.
        """
        threads = options.get("threads")
        threads = config["threads"].get() if threads is None else threads
        if options.get("quick") and options.get("groups"):
            raise UserError(
                "agftrain: --quick leaves the networks as they are, which alone learn artist "
                "groups; it does not go with --groups"
            )
        return cls(
            min_tracks=_number("min_tracks", config["min_tracks"].get(), int, 2, None),
            threads=_number("threads", threads, int, 0, None),
            model=_folder(config),
            quick=bool(options.get("quick")),
            pretend=bool(options.get("pretend")),
            quiet=bool(options.get("quiet")),
            name=_model_name(options.get("name") or ""),
            groups=_checked(
                "groups",
                options.get("groups") or config["groups"].get() or "",
                "some of the letters m, d, e and s",
                _letters,
            ),
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


def _letters(value: Any) -> bool:
    """Whether a value names artist groups, each once."""
    return isinstance(value, str) and len(set(value)) == len(value) and set(value) <= set("mdes")


def _number(name: str, value: Any, kind: type, low: int, high: int | None) -> Any:
    def right(value: Any) -> bool:
        numeric = isinstance(value, int | kind) and not isinstance(value, bool)
        return numeric and low <= value and (high is None or value <= high)

    what = "a whole number" if kind is int else "a number"
    limits = f"from {low} up" if high is None else f"from {low} to {high}"
    return kind(_checked(name, value, f"{what} {limits}", right))


def switch(name: str, value: Any) -> bool:
    """Return the value of an option that is yes or no, or raise a `UserError`."""
    return _checked(name, value, "yes or no", lambda value: isinstance(value, bool))


def _checked(name: str, value: Any, what: str, right: Callable[[Any], bool]) -> Any:
    """Return a value that is right, or raise a `UserError` that says what would be."""
    if right(value):
        return value
    quoted = isinstance(value, str) and right(_unquoted(value))
    hint = " (without quotes)" if quoted else ""
    raise UserError(f"agfgenre: {name} must be {what}{hint}, not {value!r}")


def _unquoted(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # the latter from what looks like a date
        return text


def _folder(config: ConfigView) -> str:
    value = config["model"].get() or ""
    if not isinstance(value, str):
        raise UserError(f"agfgenre: model must be the folder of a model, not {value!r}")
    return config["model"].as_filename() if value else ""
