"""Training on a small set of generated music with audible genres."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from agf_core.errors import CheckpointError
from agf_core.features.spectrogram import InputSpec
from agf_core.train.checkpoints import read_history
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import (
    FeatureDataset,
    PackedRows,
    SegmentDataset,
    SideBySide,
    fit_normaliser,
)
from agf_core.train.loop import extract_features, fit, predict, train_networks, train_transfer
from agf_core.train.networks import MultiTaskNet
from agf_core.train.step import Step, optimisers_of
from training.paper.stacked_mlp import train_transfers

SPEC = InputSpec(n_mels=32, segment_frames=32, window_hop=16)
SCHEDULE = TrainConfig(epochs=8, batch_size=8, validate_every=4, seed=5)
N_TRACKS = 48


@pytest.fixture(scope="module")
def spectrograms():
    """Noise with a louder band: low for genre 0, in the middle for 1, high for 2."""
    rng = np.random.default_rng(0)
    result = []
    for i in range(N_TRACKS):
        s = rng.normal(-40, 5, (40 + i % 7, 32))
        s[:, 10 * (i % 3) : 10 * (i % 3) + 10] += 15
        result.append(s.astype(np.float32))
    return result


@pytest.fixture(scope="module")
def segments(spectrograms):
    return SegmentDataset(spectrograms, SPEC, *fit_normaliser(iter(spectrograms)))


@pytest.fixture(scope="module")
def genres():
    return np.eye(3, dtype=np.float32)[np.arange(N_TRACKS) % 3]


TRAIN, VALID = np.arange(36), np.arange(36, N_TRACKS)


def small_network(tasks=None):
    torch.manual_seed(0)
    return MultiTaskNet(tasks or {"g": 3}, width=0.25)


def state(network):
    return {k: v.clone() for k, v in network.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_examples_are_the_tracks_own_rows(spectrograms):
    mean, std = np.full(32, -40, np.float32), np.full(32, 5, np.float32)
    segments = SegmentDataset(spectrograms, SPEC, mean, std)
    expected = (spectrograms[5].astype(np.float16).astype(np.float32) + 40) / 5
    windows = segments.windows(5)
    assert windows.shape == (1, 1, 32, 32)  # 45 frames hold one whole window more than none
    np.testing.assert_allclose(windows[0, 0], expected[:32], atol=1e-5)
    generator = torch.Generator().manual_seed(0)
    starts = set()
    for _ in range(100):
        (drawn,) = segments.at(segments.starts(torch.tensor([5]), generator))
        (start,) = (s for s in range(14) if np.allclose(drawn[0], expected[s : s + 32], atol=1e-5))
        starts.add(start)
    assert starts == set(range(14))  # every place, the first and the last among them


def test_an_epoch_shows_one_example_of_each_track_or_every_window():
    lengths = (5, 1, 9)
    features = FeatureDataset([np.arange(n, dtype=np.float32)[:, None] for n in lengths])
    generator = torch.Generator().manual_seed(0)
    chosen = torch.tensor([2, 0])
    starts, tracks = features.epoch(chosen, generator)
    assert sorted(tracks.tolist()) == [0, 2]
    starts, tracks = features.epoch(chosen, generator, every_window=True)
    assert sorted(starts.tolist()) == [*range(5), *range(6, 15)]
    assert starts.tolist() != sorted(starts.tolist())
    np.testing.assert_array_equal(tracks, np.where(starts < 5, 0, 2))


@pytest.mark.parametrize(("every_window", "updates"), [(False, 2), (True, 26)])
def test_an_mlps_epoch_may_have_a_step_for_every_batch_of_windows(
    monkeypatch, every_window, updates
):
    """The paper's does: twelve tracks of seventeen windows each, in batches of eight, and one."""
    steps = []
    monkeypatch.setattr(Step, "__call__", lambda self, at, batch: steps.append(len(at)) or 0.0)
    features = FeatureDataset([np.zeros((17, 4), np.float32)] * 12)
    genres = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    schedule = TrainConfig(epochs=2, batch_size=8, every_window=every_window)
    train_transfer(features, genres, schedule, train=np.arange(12), progress=False)
    assert sum(steps) == 2 * 12 * (17 if every_window else 1)
    assert len(steps) == 2 * updates


def test_the_papers_penalty_is_on_weights_alone():
    """Its gradient is 2 * decay * w; what is no weight has none."""
    network = small_network({"g": 3, "s": 4})
    schedule = TrainConfig(weight_decay=0.01, learning_rate=1.0, l2_on_weights=True)
    added = penalty_of(network, "g", schedule)
    for name, parameter in network.named_parameters():
        if name.startswith("branches.s"):
            assert name not in added  # another task's
        elif name.endswith(".weight") and parameter.dim() > 1:
            torch.testing.assert_close(added[name], 0.02 * parameter.detach())
        else:
            assert not added[name].any()
    everywhere = penalty_of(network, "g", replace(schedule, l2_on_weights=False))
    for name, gradient in everywhere.items():
        expected = 0.01 * network.get_parameter(name).detach()
        torch.testing.assert_close(gradient, expected)


def penalty_of(network, task, schedule):
    """Return what the penalty adds to a gradient of zero, by the parameter's name."""
    network = deepcopy(network)
    for parameter in network.task_parameters(task):
        parameter.grad = torch.zeros_like(parameter)
    (adam,) = optimisers_of(network, task, schedule, torch.device("cpu")).values()
    adam.step()
    return {  # Adam's mean of gradients, after the first of them
        name: adam.state[parameter]["exp_avg"] / 0.1
        for name, parameter in network.named_parameters()
        if parameter in adam.state
    }


def test_examples_shorter_than_a_segment_are_refused():
    with pytest.raises(ValueError, match="at least 32 rows"):
        SegmentDataset([np.zeros((10, 32))], SPEC, np.zeros(32), np.ones(32))


def test_normaliser_is_that_of_all_frames(spectrograms):
    mean, std = fit_normaliser(iter(spectrograms))
    frames = np.concatenate(spectrograms)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-4)
    assert fit_normaliser(iter([np.full((5, 2), -100.0)]))[1].tolist() == [1, 1]
    with pytest.raises(ValueError, match="no training"):
        fit_normaliser(iter([]))


@pytest.mark.parametrize("muon", [0.0, 0.02])
def test_networks_and_mlp_learn_audible_genres(segments, genres, muon):
    (network,) = train_networks(
        segments,
        {"g": genres},
        replace(SCHEDULE, muon=muon),
        train=TRAIN,
        width=0.25,
        progress=False,
    )
    features = extract_features([network], segments, progress=False)
    assert features.rows.shape[1] == network.n_features
    mlp = train_transfer(
        features, genres, replace(SCHEDULE, epochs=20), train=TRAIN, progress=False
    )
    for model, examples in ((network, segments), (mlp, features)):
        p = predict(model, examples, VALID, "g")
        assert np.allclose(p.sum(axis=1), 1)
        assert (p.argmax(axis=1) == VALID % 3).mean() > 0.9


def test_the_same_seed_learns_the_same(segments, genres):
    def learn(seed):
        network = small_network()
        schedule = replace(SCHEDULE, epochs=2, seed=seed)
        fit(network, segments, {"g": genres}, schedule, train=TRAIN, progress=False)
        return state(network)

    assert same(learn(5), learn(5))
    assert not same(learn(5), learn(6))


@pytest.mark.parametrize("muon", [0.0, 0.02])
def test_stopped_training_goes_on_as_if_never_stopped(segments, genres, tmp_path, muon):
    schedule = replace(SCHEDULE, muon=muon)
    targets = {"g": genres, "s": genres[:, ::-1].copy()}
    arguments = {"train": TRAIN, "valid": VALID, "progress": False}
    whole = small_network({"g": 3, "s": 3})
    history = fit(whole, segments, targets, schedule, **arguments)

    class StopError(Exception):
        pass

    class Stopping(SegmentDataset):
        def starts(self, tracks, generator):
            if (tmp_path / "c.safetensors").exists() and not stopped:
                stopped.append(1)
                raise StopError
            return super().starts(tracks, generator)

    stopped = []
    stopping = Stopping.__new__(Stopping)
    stopping.__dict__ = segments.__dict__
    path = tmp_path / "c.safetensors"
    parts = small_network({"g": 3, "s": 3})
    with pytest.raises(StopError):
        fit(parts, stopping, targets, schedule, checkpoint=path, **arguments)
    parts = small_network({"g": 3, "s": 3})
    resumed = fit(parts, stopping, targets, schedule, checkpoint=path, **arguments)
    assert resumed == history
    assert [entry["epoch"] for entry in history] == [4, 8, 12, 16]
    assert {"loss", "g_log_loss", "g_accuracy", "s_log_loss", "s_accuracy"} < history[0].keys()
    assert same(state(parts), state(whole))
    # Finished: nothing is trained.
    assert read_history(path) == history
    before = state(parts)
    assert fit(parts, segments, targets, schedule, checkpoint=path, **arguments) == history
    assert same(before, state(parts))


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_named(segments, genres, tmp_path):
    path = tmp_path / "c.safetensors"
    schedule = replace(SCHEDULE, epochs=1)
    arguments = {"train": TRAIN, "checkpoint": path, "progress": False}
    fit(small_network(), segments, {"g": genres}, schedule, **arguments)
    with pytest.raises(CheckpointError, match=r"c\.safetensors was made with other settings"):
        fit(small_network(), segments, {"g": genres}, replace(schedule, batch_size=9), **arguments)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"c\.safetensors is damaged .* delete it"):
        fit(small_network(), segments, {"g": genres}, schedule, **arguments)


def test_tracks_without_a_target_are_not_trained_on(segments, genres):
    masked = genres.copy()
    masked[::2] = np.nan
    with_target = np.flatnonzero(~np.isnan(masked[:36, 0]))
    schedule = replace(SCHEDULE, epochs=2)

    def learn(targets, train):
        network = small_network()
        fit(network, segments, {"g": targets}, schedule, train=train, progress=False)
        return state(network)

    assert same(learn(masked, TRAIN), learn(genres, with_target))
    with pytest.raises(ValueError, match="task g has 0 training tracks"):
        learn(np.full_like(genres, np.nan), TRAIN)


def test_validation_tracks_are_only_scored(segments, genres):
    changed = genres.copy()
    changed[VALID] = genres[VALID][:, ::-1]

    def learn(targets):
        network = small_network()
        schedule = replace(SCHEDULE, epochs=4)
        history = fit(
            network, segments, {"g": targets}, schedule, train=TRAIN, valid=VALID, progress=False
        )
        return state(network), history

    (one, scores), (other, other_scores) = learn(genres), learn(changed)
    assert same(one, other)
    assert scores != other_scores


def test_one_network_per_task_or_one_for_all(segments, genres):
    targets = {"g": genres, "s": genres}
    schedule = replace(SCHEDULE, epochs=1)
    arguments = {"train": TRAIN, "width": 0.25, "progress": False}
    apart = train_networks(segments, targets, schedule, shared=False, **arguments)
    assert [n.tasks for n in apart] == [("g",), ("s",)]
    (together,) = train_networks(segments, targets, schedule, shared=True, **arguments)
    assert together.tasks == ("g", "s")
    features = extract_features(apart, segments, progress=False)
    assert features.rows.shape[1] == sum(n.n_features for n in apart)


def test_bfloat16_learns_nearly_the_same_and_only_where_a_processor_has_it(
    segments, genres, monkeypatch
):
    def losses(*, bfloat16, has_it):
        able = {"avx2": True, "avx512_bf16": has_it}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
        schedule = replace(SCHEDULE, epochs=8, bfloat16=bfloat16)
        history = fit(
            small_network(), segments, {"g": genres}, schedule, train=TRAIN, progress=False
        )
        return [entry["loss"] for entry in history]

    single = losses(bfloat16=False, has_it=True)
    half = losses(bfloat16=True, has_it=True)
    assert half == pytest.approx(single, abs=0.05)
    assert half != single
    assert losses(bfloat16=True, has_it=False) == single


def test_features_are_drawn_by_window():
    rows = [np.arange(6, dtype=np.float32).reshape(3, 2), np.zeros((1, 2), np.float32)]
    features = FeatureDataset(rows)
    drawn = features.at(features.starts(torch.tensor([0, 1]), torch.Generator().manual_seed(0)))
    assert drawn.shape == (2, 2)
    assert drawn[0].tolist() in rows[0].tolist()
    assert features.windows(0).shape == (3, 2)


def test_of_thinned_tracks_one_window_in_so_many_is_read():
    features = FeatureDataset([np.arange(14, dtype=np.float32).reshape(7, 2)])
    assert torch.equal(features.thinned(3).windows(0), features.windows(0)[::3])
    assert len(features.windows(0)) == 7


def test_rows_streamed_from_a_file_train_the_same_network(spectrograms, segments, genres, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.concatenate(spectrograms).astype(np.float16))
    packed = PackedRows.open(path, [len(s) for s in spectrograms])
    np.testing.assert_array_equal(packed[5], spectrograms[5].astype(np.float16))
    streamed = SegmentDataset(packed, SPEC, segments.mean, segments.std, stream=True)
    assert streamed.rows.data_ptr() == packed.rows.data_ptr()  # mapped, not copied

    def learn(examples):
        network = small_network()
        schedule = replace(SCHEDULE, epochs=2)
        history = fit(
            network, examples, {"g": genres}, schedule, train=TRAIN, valid=VALID, progress=False
        )
        return state(network), history

    (one, scores), (other, other_scores) = learn(segments), learn(streamed)
    assert same(one, other)
    assert scores == other_scores
    with pytest.raises(ValueError, match="but the tracks have 7"):
        PackedRows.open(path, [3, 4])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("changes", [{}, {"one_cycle": True, "muon": 0.03}])
def test_on_a_gpu_graphs_and_streamed_rows_train_as_plain_steps_do(
    spectrograms, genres, monkeypatch, changes
):
    schedule = replace(SCHEDULE, **changes)

    def curves(*, captured, stream):
        monkeypatch.setattr(MultiTaskNet, "capturable", captured)
        normaliser = fit_normaliser(iter(spectrograms))
        segments = SegmentDataset(spectrograms, SPEC, *normaliser, device="cuda", stream=stream)
        targets = {"g": genres, "s": genres[:, ::-1].copy()}
        network = small_network({"g": 3, "s": 3}).to("cuda")
        history = fit(
            network, segments, targets, schedule, train=TRAIN, valid=VALID, progress=False
        )
        return {(entry["epoch"], name): entry[name] for entry in history for name in entry}

    plain = curves(captured=False, stream=False)
    soon = {key: plain[key] for key in plain if key[0] == SCHEDULE.validate_every}
    for other in (curves(captured=True, stream=False), curves(captured=False, stream=True)):
        # Sums in another order grow apart with time: at first they are close, then not far.
        assert {key: other[key] for key in soon} == pytest.approx(soon, abs=0.005)
        assert other == pytest.approx(plain, abs=0.05)


def test_features_left_on_the_disk_teach_nearly_the_same(segments, genres, tmp_path):
    networks = [small_network().eval(), small_network({"s": 5}).eval()]
    made = {}
    for stream in (False, True):
        made[stream] = SideBySide(
            [
                extract_features(
                    [network],
                    segments,
                    progress=False,
                    file=tmp_path / f"{i}.npy" if stream else None,
                )
                for i, network in enumerate(networks)
            ]
        )
    memory, disk = made.values()
    assert disk.n_features == memory.n_features == sum(n.n_features for n in networks)
    assert disk.rows.dtype == torch.float16  # half precision, mapped from a file
    assert (tmp_path / "1.npy").stat().st_size > disk.rows.nbytes
    torch.testing.assert_close(disk.windows(3, 7), memory.windows(3, 7), atol=2e-3, rtol=2e-3)
    schedule = replace(SCHEDULE, epochs=4, every_window=True)
    predictions = []
    for features in made.values():
        mlp = train_transfer(features, genres, schedule, train=TRAIN, progress=False)
        predictions.append(predict(mlp, features, VALID))
    np.testing.assert_allclose(*predictions, atol=0.02)


def test_windows_of_many_tracks_come_in_their_order(segments):
    together = segments.windows(4, 11, 7)
    apart = [segments.windows(track) for track in (4, 11, 7)]
    assert segments.n_windows([4, 11, 7]) == [len(part) for part in apart]
    assert torch.equal(together, torch.cat(apart))


def test_an_mlp_learns_on_one_thread_and_leaves_the_others_to_the_rest(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "agf_core.train.loop.fit", lambda *_, **__: seen.append(torch.get_num_threads())
    )
    features = FeatureDataset([np.zeros((2, 4), np.float32)] * 4)
    genres = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train_transfer(features, genres, SCHEDULE, train=np.arange(4))
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("papers", [False, True])
def test_mlps_side_by_side_learn_what_each_learns_alone(segments, genres, papers):
    torch.manual_seed(0)
    networks = [MultiTaskNet({"g": 3}, 0.25), MultiTaskNet({"s": 5}, 0.125)]
    apart = [extract_features([network.eval()], segments, progress=False) for network in networks]
    together = SideBySide(apart)
    n, m = (part.rows.shape[1] for part in apart)
    columns = [np.arange(n), np.arange(n, n + m), np.arange(n + m)]
    schedule = replace(
        SCHEDULE, epochs=3, weight_decay=0.01, every_window=papers, l2_on_weights=papers
    )
    mlps, history = train_transfers(
        together, columns, genres, schedule, train=TRAIN, progress=False
    )
    losses = []
    for mlp, features in zip(mlps, [*apart, together], strict=True):
        alone = train_transfer(features, genres, schedule, train=TRAIN, progress=False)
        for name, weights in alone.state_dict().items():
            torch.testing.assert_close(mlp.state_dict()[name], weights, atol=1e-4, rtol=1e-3)
        p = predict(alone, features, VALID)
        np.testing.assert_allclose(predict(mlp, features, VALID), p, atol=1e-3)
        losses.append(p)
    assert np.abs(losses[0] - losses[1]).max() > 0.01  # they do differ from each other
    assert history[-1]["epoch"] == 3
