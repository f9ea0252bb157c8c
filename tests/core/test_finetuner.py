"""Fine-tuning on generated features and spectrograms, without a library."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from starting_model import metadata_of

from agf_core import calibration
from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.features.descriptors import FromSpectrograms
from agf_core.features.spectrogram import InputSpec
from agf_core.finetune.auxiliary import WithGroupHeads
from agf_core.finetune.config import FineTuneConfig, TrainingData
from agf_core.finetune.finetuner import TEMPERATURE_PRIOR, FineTuner
from agf_core.finetune.frozen_features import segments_of
from agf_core.finetune.heads import network_with_heads
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import FeatureDataset, SegmentDataset
from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP

SPEC = InputSpec(n_mels=32, segment_frames=32, window_hop=16)
KNOWN = ("Rock", "Jazz", "Polka")
FAST = FineTuneConfig(
    networks=TrainConfig(epochs=2, batch_size=8, learning_rate=3e-3, validate_every=1),
    transfer=TrainConfig(epochs=20, batch_size=8, learning_rate=3e-3, validate_every=5),
    folds=3,
)
QUICK = replace(FAST, networks=None)


def track(i: int, artist: str, genre: str = "", album: str = "") -> Track:
    return Track(f"t{i}", Path(f"{i}.mp3"), artist, genre, (genre,) if genre else (), album=album)


def base_network(tasks: dict[str, int] | None = None) -> GenreNet:
    torch.manual_seed(0)
    network = MultiTaskNet(tasks or {"g": 3}, width=0.25)
    return GenreNet([network], TransferMLP(network.n_features, 3)).eval()


def model(network: GenreNet) -> bundle_format.Bundle:
    """A loaded model; nothing of it is read from its folder."""
    return bundle_format.Bundle(Path("nowhere"), metadata_of(network, SPEC, KNOWN), "start-0", b"")


def segments(spectra: np.ndarray) -> SegmentDataset:
    return segments_of(model(base_network()), list(spectra))


# New heads


def test_genres_of_the_same_name_keep_their_weights():
    before = base_network()
    after = network_with_heads(before, KNOWN, ("Jazz", "Bebop", "rock"))
    x = torch.randn(2, 1, 32, 32)
    was, now = before(x), after.eval()(x)
    torch.testing.assert_close(now[:, [0, 2]], was[:, [1, 0]])
    heads = before.networks[0](x, "g"), after.networks[0](x, "g")
    torch.testing.assert_close(heads[1][:, [0, 2]], heads[0][:, [1, 0]])
    assert before(x).shape == (2, 3)  # as it was


def test_group_branches_of_a_base_model_stay_as_they_are():
    before = base_network({"g": 3, "s": 5})
    after = network_with_heads(before, KNOWN, ("Bebop", "Jazz")).eval()
    assert after.n_classes == {"g": 2, "s": 5}
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(after(x)[:, 1], before(x)[:, 1])
    torch.testing.assert_close(after.networks[0](x, "s"), before.networks[0](x, "s"))


# Fine-tuning


def generated(n_artists: int = 12, each: int = 4) -> tuple[list[Track], FeatureDataset, np.ndarray]:
    """Tracks of two genres that the model does not know, and features that separate them."""
    rng = np.random.default_rng(1)
    tracks, rows = [], []
    for i in range(n_artists * each):
        artist = i // each
        tracks.append(track(i, f"artist {artist}", ("Блюз", "🎹")[artist % 2]))
        rows.append(rng.normal((artist % 2) * 2 - 1, 1, (6, 64)).astype(np.float32))
    spectra = rng.normal(-40, 10, (len(tracks), 64, 32)).astype(np.float32)
    for i in range(len(tracks)):
        half = slice(0, 16) if (i // each) % 2 else slice(16, 32)
        spectra[i, :, half] += 15
    return tracks, FeatureDataset(rows), spectra


def quick_tuner() -> FineTuner:
    tracks, features, _ = generated()
    network = base_network()
    return FineTuner(model(network), network, TrainingData(tracks, ("Блюз", "🎹"), features), QUICK)


def test_held_out_artists_are_predicted():
    tuner = quick_tuner()
    held_out = tuner.hold_out()
    assert sorted(held_out.tracks) == list(range(48))
    right = held_out.fine_tuned.argmax(axis=1) == held_out.truth
    assert right.mean() > 0.95
    assert held_out.folds == 3
    for p in (held_out.fine_tuned, held_out.base, held_out.common):
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    fine_tuned, temperature = tuner.finish(held_out)
    everything = fine_tuned.predict(np.arange(48))
    assert (everything.argmax(axis=1) == held_out.truth[np.argsort(held_out.tracks)]).mean() > 0.95
    assert 0.1 <= temperature <= 10


def test_a_fold_has_the_temperature_of_the_others():
    tuner = quick_tuner()
    held_out = tuner.hold_out()
    part = held_out.tracks[:16]
    test = tuner.predict_held_out(part, np.setdiff1d(np.arange(48), part), "fold-0")
    np.testing.assert_allclose(test.raw, held_out.raw[:16], atol=1e-6)
    fitted = calibration.fit_temperature(held_out.raw[16:], held_out.truth[16:])
    share = 32 / (32 + TEMPERATURE_PRIOR)
    temperature = fitted**share * tuner.model.metadata.temperature ** (1 - share)
    expected = calibration.apply_temperature(held_out.raw[:16], temperature)
    np.testing.assert_allclose(np.log(held_out.fine_tuned[:16]), np.log(expected), rtol=1e-6)
    # Not that of the validation split.
    assert not np.allclose(np.log(test.fine_tuned), np.log(expected), rtol=0.01)


def test_the_prior_counts_an_album_once_as_training_does():
    tracks, features, _ = generated()
    box = [replace(t, album=f"box {t.artist}") if t.genre == "🎹" else t for t in tracks]
    box.append(track(100, "somebody"))  # is used for artist groups alone
    network = base_network()
    tuner = FineTuner(model(network), network, TrainingData(box, ("Блюз", "🎹"), features), QUICK)
    assert tuner.prior == pytest.approx([24 / 30, 6 / 30])


def test_nothing_of_held_out_artists_reaches_their_predictions():
    tracks, features, spectra = generated()
    tracks += [track(100 + i, tracks[i].artist) for i in range(0, 48, 4)]  # untagged, by the same
    spectra = np.concatenate([spectra, spectra[::4]])
    genres = ("Блюз", "🎹")
    network = base_network({"g": 3, "s": 2})
    rows = [features.windows(i).numpy() for i in range(48)]
    test, rest = np.arange(12), np.arange(12, 60)
    theirs = {tracks[i].artist for i in test}
    rest = np.array([i for i in rest if tracks[i].artist not in theirs])

    def predicted(poison: bool) -> np.ndarray:
        rng = np.random.default_rng(2)
        here, sounds, labels = list(tracks), spectra.copy(), [("a", t.genre) for t in tracks]
        if poison:
            for i, t in enumerate(here):
                if t.artist in theirs:
                    labels[i] = ("poison",) * 9
                    if i < 48:
                        here[i] = replace(t, genre=genres[rng.integers(2)])
                    else:
                        sounds[i] = 1e3
        wide = [np.hstack([r, r]) for r in rows]
        data = TrainingData(
            here,
            genres,
            FeatureDataset(wide),
            segments(sounds),
            here,
            {"s": labels},
        )
        return (
            FineTuner(model(network), network, data, FAST).predict_held_out(test, rest).fine_tuned
        )

    np.testing.assert_array_equal(predicted(False), predicted(True))


def test_stopped_training_resumes_to_the_same_result(tmp_path, monkeypatch):
    from agf_core.finetune import finetuner

    tracks, features, _ = generated()
    network = base_network()

    def tuner(work: Path) -> FineTuner:
        data = TrainingData(tracks, ("Блюз", "🎹"), features)
        return FineTuner(model(network), network, data, QUICK, work=work)

    whole = tuner(tmp_path / "whole").hold_out()
    fit, calls = finetuner.fit, []

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(finetuner, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        tuner(tmp_path / "stopped").hold_out()
    again = tuner(tmp_path / "stopped").hold_out()
    np.testing.assert_array_equal(again.fine_tuned, whole.fine_tuned)


def test_a_label_without_a_counterpart_is_distributed_over_genres():
    tracks, features, _ = generated()
    network = base_network()
    data = TrainingData(tracks, ("Блюз", "🎹"), features)
    tuner = FineTuner(
        model(network), network, data, QUICK, counterparts={"Rock": "блюз", "Jazz": "🎹"}
    )
    before = tuner.predict_held_out(np.arange(12), np.arange(12, 48)).base
    np.testing.assert_allclose(before.sum(axis=1), 1, atol=1e-6)


def test_large_collections_are_evaluated_on_one_fold():
    tracks, features, spectra = generated()
    network = base_network()
    data = TrainingData(tracks, ("Блюз", "🎹"), features, segments(spectra))
    config = replace(FAST, all_folds_up_to=20)
    announced = []
    held_out = FineTuner(
        model(network), network, data, config, announce=lambda what, left: announced.append(what)
    ).hold_out()
    assert (held_out.folds, len(held_out.tracks)) == (1, 16)
    assert announced == ["training without some of the artists, to test on them"]


def test_networks_without_a_target_are_not_trained():
    tracks, features, spectra = generated()
    torch.manual_seed(0)
    networks = [MultiTaskNet({task: n}, width=0.25) for task, n in (("g", 3), ("m", 2))]
    both = GenreNet(networks, TransferMLP(128, 3)).eval()
    rows = [np.hstack([features.windows(i).numpy()] * 2) for i in range(len(tracks))]
    data = TrainingData(tracks, ("Блюз", "🎹"), FeatureDataset(rows), segments(spectra))
    fine_tuned = FineTuner(model(both), both, data, FAST).train(
        np.arange(len(tracks)), None, epochs=(2, 1)
    )
    after = dict(fine_tuned.network.networks[1].named_parameters())
    for name, before in both.networks[1].named_parameters():
        torch.testing.assert_close(after[name], before)
    first = "trunk.0.weight"
    assert not torch.equal(
        dict(fine_tuned.network.networks[0].named_parameters())[first],
        dict(both.networks[0].named_parameters())[first],
    )


def test_validation_is_every_few_epochs_on_one_window_in_three(monkeypatch):
    from agf_core.finetune import finetuner

    tracks, features, spectra = generated()
    network = base_network({"g": 3, "s": 2})
    rows = [np.hstack([features.windows(i).numpy()] * 2) for i in range(len(tracks))]
    labels = {"s": [("x", t.genre) for t in tracks]}
    data = TrainingData(
        tracks, ("Блюз", "🎹"), FeatureDataset(rows), segments(spectra), tracks, labels
    )
    fit, seen = finetuner.fit, []

    def noted(net, examples, targets, schedule, **options):
        history = fit(net, examples, targets, schedule, **options)
        seen.append((examples.hop, schedule.validate_every, [set(entry) for entry in history]))
        return history

    monkeypatch.setattr(finetuner, "fit", noted)
    config = replace(FAST, validation_thinning=3)
    test, rest = np.arange(12), np.arange(12, 48)
    FineTuner(model(network), network, data, config).predict_held_out(test, rest)
    (hop, every, entries), _ = seen
    assert (hop, every) == (3 * SPEC.segment_frames, 1)
    assert entries[0] == {"epoch", "g_log_loss", "g_accuracy"}  # groups are not scored


# What is announced of it


def test_early_stopping_keeps_the_best_state_even_if_untrained():
    from agf_core.train.loop import fit

    tracks, features, _ = generated()
    truth = np.array([t.genre == "🎹" for t in tracks]).astype(int)
    targets = np.eye(2, dtype=np.float32)[truth]
    train, valid = np.arange(32), np.arange(32, 48)

    def history(rows: np.ndarray, schedule: TrainConfig) -> tuple[list[dict], TransferMLP]:
        torch.manual_seed(0)
        mlp = TransferMLP(64, 2)
        return fit(
            mlp,
            features,
            {"g": rows},
            schedule,
            train=train,
            valid=valid,
            patience=2,
            progress=False,
        ), mlp

    schedule = TrainConfig(epochs=50, batch_size=8, learning_rate=1e-2, validate_every=1)
    fine_tuned, _ = history(targets, schedule)
    assert fine_tuned[0]["epoch"] == 0
    assert fine_tuned[-1]["g_log_loss"] < fine_tuned[0]["g_log_loss"]
    wrong = targets.copy()
    wrong[train] = 1 - wrong[train]
    misled, mlp = history(wrong, schedule)
    assert len(misled) == 3
    torch.manual_seed(0)
    for a, b in zip(mlp.parameters(), TransferMLP(64, 2).parameters(), strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="patience"):
        fit(TransferMLP(64, 2), features, {"g": targets}, schedule, train=train, patience=1)


def tuner_with_groups(observations: dict, described: list[Track] | None = None) -> FineTuner:
    """Half of the artists have no genre."""
    tracks, features, spectra = generated(n_artists=32, each=2)
    tracks = [t if i < 32 else replace(t, genre="") for i, t in enumerate(tracks)]
    network = base_network()
    data = TrainingData(
        tracks,
        ("Блюз", "🎹"),
        features.subset(np.arange(32)),
        segments(spectra),
        tracks if described is None else described,
        observations,
    )
    return FineTuner(model(network), network, data, FAST)


def every_sound() -> FromSpectrograms:
    return FromSpectrograms(list(generated(n_artists=32, each=2)[2]), "m")


def test_groups_are_dropped_after_training():
    tuner = tuner_with_groups({"s": [("x", str(i % 2)) for i in range(64)], "m": every_sound()})
    with_groups = tuner.train(np.arange(64), None, epochs=(2, 1))
    assert with_groups.network.n_classes == {"g": 2}
    assert with_groups.features.rows.shape[1] == 64
    before = [name for name, _ in base_network().named_parameters()]
    assert [name for name, _ in with_groups.network.named_parameters()] == before
    assert len(with_groups.predict(np.arange(32))) == 32


def test_untagged_tracks_are_trained_on_through_their_groups():
    def trunk(observations: dict, silent: bool = False) -> torch.Tensor:
        tuner = tuner_with_groups(observations)
        if silent:
            tuner.data.segments.rows[32 * 64 :] = -100
        network = tuner.train(np.arange(64), None, epochs=(2, 0)).network
        return network.networks[0].trunk[0].weight

    sounds = {"m": every_sound()}
    assert torch.equal(trunk(sounds), trunk(sounds))
    assert not torch.equal(trunk(sounds), trunk(sounds, silent=True))
    assert torch.equal(trunk({}), trunk({}, silent=True))


def test_what_is_known_of_no_artist_leaves_a_task_out():
    announced = []
    tuner = tuner_with_groups({"s": [()] * 64})
    tuner.announce = lambda phase, left: announced.append(phase)
    tuner.train(np.arange(64), None, epochs=(1, 1))
    assert announced == [
        "artist groups s are left out: task s needs tracks by two artists or more, not 0"
    ]


def test_a_track_without_a_target_has_no_loss_of_that_task():
    torch.manual_seed(0)
    network = WithGroupHeads(base_network().networks[0], "g", [2, 3], share=0.5).eval()
    x = torch.randn(2, 1, 32, 32)
    y = torch.zeros(2, 8)
    assert network.loss(x, y, "g") == 0
    y[0, 1] = 1
    genre = -network(x, "g").log_softmax(1)[0, 1] / 2
    torch.testing.assert_close(network.loss(x, y, "g"), genre)
    y[1, 4] = 1  # of the first group task
    features = network.network.features(x)
    of_group = -network.heads(features)[1, :2].log_softmax(0)[1] / 2
    torch.testing.assert_close(network.loss(x, y, "g"), genre + 0.25 * of_group)


def test_training_with_groups_resumes_to_the_same_result(tmp_path, monkeypatch):
    from agf_core.train import loop

    def tuned(work: Path) -> np.ndarray:
        tuner = tuner_with_groups({"m": every_sound()})
        tuner.work = work
        return tuner.predict_held_out(np.arange(8), np.arange(8, 64)).raw

    whole = tuned(tmp_path / "whole")
    epochs, train_epoch = [], loop._train_epoch

    def stopped(*arguments):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return train_epoch(*arguments)

    monkeypatch.setattr(loop, "_train_epoch", stopped)
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "stopped")
    assert list((tmp_path / "stopped").iterdir())
    np.testing.assert_array_equal(tuned(tmp_path / "stopped"), whole)
