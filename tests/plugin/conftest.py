"""Fixtures of `beet agftrain`: tiny base models, and a library that is trained on with them."""

from dataclasses import replace
from functools import partial

import pytest
from beets_helpers import open_library
from starting_model import metadata_of
from train_library import PLAN, RATE

from agf_core.bundle import format as bundle_format
from agf_core.inference.embeddings import EmbeddingStore
from agf_core.inference.tagger import GenreTagger


@pytest.fixture(scope="session")
def start_folder(tmp_path_factory):
    """A base model with random weights, whose features tell something all the same."""
    import torch

    from agf_core.features.spectrogram import InputSpec
    from agf_core.groups.lda import ArtistGroups
    from agf_core.train.export import network_to_onnx, weights_to_safetensors
    from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP

    spec = InputSpec(
        RATE, 256, 128, 32, 0.0, 4_000.0, segment_frames=40, window_hop=20, excerpt_seconds=2.0
    )
    torch.manual_seed(0)
    network = MultiTaskNet({"g": 2, "s": 2}, width=0.25)
    whole = GenreNet([network], TransferMLP(network.n_features, 2)).eval()
    labels = [["Doom"], ["Chiptune"], ["Doom"], ["Chiptune"]]
    groups = {"s": ArtistGroups.fit("s", labels, list("abcd"))}
    metadata = metadata_of(whole, spec, ("Chiptune", "Doom"), temperature=1.2)
    files = {
        bundle_format.NETWORK: network_to_onnx(whole, spec),
        bundle_format.WEIGHTS: weights_to_safetensors(whole, groups),
        bundle_format.CARD: b"# Start\n",
    }
    return bundle_format.save(tmp_path_factory.mktemp("models") / "start", metadata, files).folder


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory, start_folder):
    """A base model as the shipped one: genres and styles are made of classes."""
    import torch

    from agf_core.train.class_head import ClassHead, HeadSizes
    from agf_core.train.export import network_to_onnx, weights_to_safetensors
    from agf_core.train.networks import GenreNet, MultiTaskNet

    torch.manual_seed(0)
    network = MultiTaskNet({"g": 2}, width=0.25)
    head = ClassHead(network.n_features, HeadSizes(3, teachers=1, genres=2, styles=1, terms=1))
    head.table[0, 0] = head.table[1, 1] = 1
    whole = GenreNet([network], head).eval()
    metadata = replace(
        metadata_of(whole, bundle_format.load(start_folder).metadata.input, ("Chiptune", "Doom")),
        architecture={"networks": [["g"]], "width": 0.25} | head.architecture(),
        styles=(bundle_format.Style("sludge", "Doom"),),
    )
    files = {
        bundle_format.NETWORK: network_to_onnx(whole, metadata.input),
        bundle_format.WEIGHTS: weights_to_safetensors(whole, {}),
        bundle_format.CARD: b"# Student\n",
    }
    return bundle_format.save(tmp_path_factory.mktemp("models") / "student", metadata, files).folder


def without_essentia(sources):
    return sources.replace("e", ""), "task e is left out: essentia is not installed"


@pytest.fixture
def training_library(monkeypatch, tmp_path, start_folder, request):
    """In memory, or by an indirect parameter that is true in a file, where runs can be undone."""
    monkeypatch.setattr("beetsplug.agfgenre.train.deep.FineTuneConfig", partial(replace, PLAN))
    # Which takes seconds per track, and is not installed everywhere.
    monkeypatch.setattr("beetsplug.agfgenre.train.deep.possible_sources", without_essentia)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("agf_core.bundle.format.SHIPPED", start_folder)
    for module in ("models", "train.deep", "train.workspace"):
        name = f"beetsplug.agfgenre.{module}.cache_folder"
        monkeypatch.setattr(name, lambda: tmp_path / "cache")

    def tagger(model, threads=None, store=None):
        return GenreTagger(model, threads=threads, store=EmbeddingStore(store))

    # A worker would load the real shipped model.
    monkeypatch.setattr("beetsplug.agfgenre.models.IsolatedTagger", tagger)
    yield from open_library(monkeypatch, None, on_disk=getattr(request, "param", False))
