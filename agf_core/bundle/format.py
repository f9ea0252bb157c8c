"""A model on disk: a folder, verified before it is used.

``model.json``
    Format version, labels, tasks, `InputSpec`, normaliser, temperature, prior, recipe, what the
    model was trained on, its scores, and the SHA-256 of the other files.
``network.onnx``
    Normalised log-mel windows in, genre logits out; beside them an embedding and the probabilities
    of styles, where the model has them (`agf_core.train.export`).
``weights.safetensors``
    The same weights, for further training.
``MODEL_CARD.md``
    A description for readers.
"""

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agf_core.bundle.library_head import LibraryHead
from agf_core.bundle.old_keys import with_present_keys
from agf_core.errors import BundleError, why_not_written
from agf_core.features.spectrogram import InputSpec
from agf_core.label_shift import check_prior
from agf_core.utils import atomic

FORMAT = 2  # 1 knew no styles and no embedding
METADATA, NETWORK, WEIGHTS, CARD = (
    "model.json",
    "network.onnx",
    "weights.safetensors",
    "MODEL_CARD.md",
)
SHIPPED = Path(__file__).parents[1] / "pretrained" / "default"
LARGEST_FILE = 512 * 2**20  # bytes; a model is a few megabytes
LARGEST_TEXT = 16 * 2**20  # bytes, of its description
LONGEST_NAME = 100  # characters


@dataclass(frozen=True)
class Style:
    """A style that a model can predict, such as ambient.

    Attributes
    ----------
    name : str
    genre : str
        The one of the model's genres that the style belongs to.
    """

    name: str
    genre: str


@dataclass(frozen=True)
class Metadata:
    """The contents of ``model.json``.

    Attributes
    ----------
    name : str
    labels : tuple of str
        Genres, in the order of the network's outputs.
    tasks : dict
        Number of classes of each training task, by its letter.
    architecture : dict
        ``networks``, the tasks of each, their ``width`` and ``frames_pooled``: what the weights
        belong to (`agf_core.train.networks.MultiTaskNet`); ``direct``, whether there is a linear
        head (`agf_core.train.networks.TransferMLP`).
    input : InputSpec
    mean, std : np.ndarray [shape=(n_mels,), dtype=float32]
        Normaliser of the log-mel bands, decibels.
    temperature : float
        See `agf_core.calibration`.
    prior : np.ndarray [shape=(n_labels,)] or None
        Share of each genre in the training set, see `agf_core.label_shift`; None in older models
        without it.
    head : LibraryHead or None
        In a light model, which is a base model and this head: the labels, the temperature and the
        prior are then the head's.
    styles : tuple of Style
        In the order of the network's output ``styles``; empty where it has none.
    recipe, trained_on, scores : dict
        For readers and for further training; prediction does not use them.
    """

    name: str
    labels: tuple[str, ...]
    tasks: dict[str, int]
    architecture: dict[str, Any]
    input: InputSpec
    mean: np.ndarray
    std: np.ndarray
    temperature: float
    prior: np.ndarray | None = None
    styles: tuple[Style, ...] = ()
    head: LibraryHead | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    trained_on: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def check(holds: bool, complaint: str) -> None:
            if not holds:
                raise ValueError(complaint)

        check(_is_name(self.name), "it has no name")
        check(
            len(self.labels) > 1
            and len(set(self.labels)) == len(self.labels)
            and all(map(_is_name, self.labels)),
            "its labels are not two or more different names",
        )
        shape = (self.input.n_mels,)
        check(self.mean.shape == self.std.shape == shape, "its normaliser has another size")
        check(
            bool(
                np.isfinite(self.mean).all() and np.isfinite(self.std).all() and self.std.min() > 0
            ),
            "its normaliser holds impossible numbers",
        )
        check(
            isinstance(self.temperature, int | float)
            and math.isfinite(self.temperature)
            and 0 < self.temperature <= 100,
            "its temperature is impossible",
        )
        check(
            all(_is_name(style.name) and style.genre in self.labels for style in self.styles),
            "its styles are not names below its genres",
        )
        if self.prior is not None:
            check_prior(self.prior, len(self.labels))
        if self.head is not None:
            check(len(self.head.bias) == len(self.labels), "its head has other labels")

    @property
    def network_labels(self) -> tuple[str, ...]:
        """Genres in the order of the network's logits: in a light model those of its base."""
        return self.head.base_labels if self.head else self.labels

    @property
    def averages_logits(self) -> bool:
        """Whether logits are averaged over a track's windows; probabilities otherwise."""
        direct = self.architecture.get("direct") is True  # absent from older models
        return direct or self.architecture.get("head", "mlp") != "mlp"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {
            "name": self.name,
            "labels": list(self.labels),
            "tasks": self.tasks,
            "architecture": self.architecture,
            "input": self.input.to_dict(),
            "normaliser": {"mean": self.mean.tolist(), "std": self.std.tolist()},
            "temperature": self.temperature,
            "prior": None if self.prior is None else self.prior.tolist(),
            "styles": [asdict(style) for style in self.styles],
            "head": None if self.head is None else self.head.to_dict(),
            "recipe": self.recipe,
            "trained_on": self.trained_on,
            "scores": self.scores,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Metadata":
        """Read the result of `to_dict`; raise `KeyError`, `TypeError` or `ValueError` otherwise."""
        normaliser, prior = values["normaliser"], values.get("prior")
        head = values.get("head")
        return cls(
            name=values["name"],
            labels=tuple(values["labels"]),
            tasks=dict(values["tasks"]),
            architecture=dict(values["architecture"]),
            input=InputSpec.from_dict(values["input"]),
            mean=np.array(normaliser["mean"], np.float32),
            std=np.array(normaliser["std"], np.float32),
            temperature=values["temperature"],
            prior=None if prior is None else np.array(prior, np.float64),
            styles=tuple(Style(**style) for style in values.get("styles", ())),
            head=None if head is None else LibraryHead.from_dict(head),
            recipe=with_present_keys(values["recipe"]),
            trained_on=with_present_keys(values["trained_on"]),
            scores=with_present_keys(values["scores"]),
        )


def _is_name(value: object) -> bool:
    """Whether a terminal and a tag can show a value: printable and short."""
    return (
        isinstance(value, str)
        and value.strip() != ""
        and value.isprintable()
        and len(value) <= LONGEST_NAME
    )


@dataclass(frozen=True)
class Bundle:
    """A loaded and verified model.

    Attributes
    ----------
    folder : Path
    metadata : Metadata
    model_id : str
        Name and fingerprint, unique to the model.
    network : bytes
        The ONNX network, as verified.
    """

    folder: Path
    metadata: Metadata
    model_id: str
    network: bytes

    @property
    def base_id(self) -> str:
        """The id of the model that features are computed by: that below a light model."""
        return self.metadata.head.base_id if self.metadata.head else self.model_id


def load(folder: str | Path | None = None) -> Bundle:
    """Load and verify a model.

    Parameters
    ----------
    folder : path, optional
        The folder of the model; by default the shipped model.

    Raises
    ------
    BundleError
        When there is no model, or it is damaged, foreign or made by a newer version.
    """
    shipped = folder is None
    folder = SHIPPED if folder is None else Path(folder)
    hint = "install beets-agf again" if shipped else "choose another model or make it again"
    if not (folder / METADATA).is_file():
        raise BundleError(f"no model in {folder} (it has no {METADATA}); {hint}")
    raw = _read(folder / METADATA, hint)
    try:
        values = json.loads(raw)
        version = values["format"]
        checksums = dict(values["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"the model in {folder} is damaged ({METADATA}); {hint}") from error
    if type(version) is not int or not 1 <= version <= FORMAT:
        if isinstance(version, int) and version > FORMAT:
            raise BundleError(
                f"the model in {folder} was made by a newer version of beets-agf (format "
                f"{version}, this version reads {FORMAT}); upgrade beets-agf or use another model"
            )
        raise BundleError(f"the model in {folder} has an unknown format ({version!r}); {hint}")
    contents = {}
    for name in (NETWORK, WEIGHTS, CARD):
        contents[name] = _read(folder / name, hint)
        if hashlib.sha256(contents[name]).hexdigest() != checksums.get(name):
            raise BundleError(
                f"the model in {folder} is damaged ({name} is not the file it was made with); "
                f"{hint}"
            )
    try:
        metadata = Metadata.from_dict(values)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BundleError(
            f"the model in {folder} is damaged ({METADATA}: {error}); {hint}"
        ) from error
    model_id = f"{metadata.name}-{hashlib.sha256(raw).hexdigest()[:8]}"
    return Bundle(folder, metadata, model_id, contents[NETWORK])


def _read(path: Path, hint: str) -> bytes:
    largest = LARGEST_TEXT if path.name == METADATA else LARGEST_FILE
    try:
        return atomic.read(path, largest)
    except OSError as error:
        raise BundleError(
            f"{path} of the model cannot be read ({error.strerror}); {hint}"
        ) from error


def save(folder: Path, metadata: Metadata, files: Mapping[str, bytes]) -> Bundle:
    """Write a model, whole or not at all, in place of an older one.

    All files are on the disk before the folder gets its name. A process that is killed leaves a
    hidden folder beside it, which may hold the older model if it is killed while that is replaced.

    Parameters
    ----------
    folder : Path
    files : mapping
        Contents of ``network.onnx``, ``weights.safetensors`` and ``MODEL_CARD.md``.

    Raises
    ------
    BundleError
        When it cannot be written; the older model stays.
    """
    if files.keys() != {NETWORK, WEIGHTS, CARD}:
        raise ValueError(f"a model consists of {NETWORK}, {WEIGHTS} and {CARD}")
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    values = {"format": FORMAT} | metadata.to_dict() | {"sha256": checksums}
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        new = scratch / "new"
        new.mkdir()
        for name, content in {**files, METADATA: text.encode()}.items():
            with atomic.written(new / name) as file:
                file.write(content)
        if folder.exists():
            folder.rename(scratch / "old")
            try:
                new.rename(folder)
            except OSError:
                (scratch / "old").rename(folder)
                raise
        else:
            new.rename(folder)
    except OSError as error:
        raise BundleError(why_not_written(folder, error)) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return load(folder)
