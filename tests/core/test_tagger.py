import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from agf_core.audio import decode
from agf_core.features.preprocessing import load_log_mel
from agf_core.features.spectrogram import log_mel
from agf_core.inference.tagger import GenreTagger


@pytest.fixture
def tagger(tiny_folder):
    return GenreTagger.load(tiny_folder, threads=2)


def probabilities(results):
    return [None if r.prediction is None else r.prediction.probabilities.tolist() for r in results]


def test_every_layer_says_the_same(tagger, clips):
    spec = tagger.metadata.input
    excerpt = decode.read_excerpt(clips[0], spec.excerpt_seconds, sample_rate=spec.sample_rate)
    by_samples = tagger.predict_samples(excerpt.samples, excerpt.sample_rate)
    by_spectrogram = tagger.predict_log_mel(log_mel(excerpt.samples, spec))
    (by_many,) = tagger.predict_files([clips[0]])
    alone = tagger.predict_file(clips[0])
    for other in (by_spectrogram, by_many.prediction, alone):
        np.testing.assert_array_equal(other.probabilities, by_samples.probabilities)


def test_a_prediction_is_a_distribution_with_its_labels(tagger, clips):
    prediction = tagger.predict_file(clips[0])
    assert prediction.probabilities.sum() == pytest.approx(1)
    top = prediction.top(2)
    assert len(top) == 2
    assert top[0][1] >= top[1][1]
    assert dict(prediction.top(10)).keys() == set(tagger.labels)


def test_many_files_in_order_with_errors_among_them(tagger, clips, tmp_path):
    text = tmp_path / "text.mp3"
    text.write_text("no music")
    gone = tmp_path / "gone.flac"
    paths = [clips[0], text, *clips[1:], gone, os.fsencode(clips[0])]
    results = list(tagger.predict_files(iter(paths)))
    assert [r.path for r in results] == paths
    for result in results:
        if result.path in (text, gone):
            assert result.prediction is None
            assert isinstance(result.error, decode.UnreadableAudioError)
            assert result.path.name in str(result.error)
        else:
            assert result.error is None
            assert result.prediction is not None
    assert probabilities(results)[0] == probabilities(results)[-1]
    assert list(tagger.predict_files([])) == []


def test_threads_do_not_change_results(tiny_folder, clips):
    one = GenreTagger.load(tiny_folder, threads=1).predict_files(clips)
    many = GenreTagger.load(tiny_folder, threads=8).predict_files(clips)
    assert probabilities(one) == probabilities(many)


def test_paths_are_taken_only_a_few_ahead_of_results(tagger, clips):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield clips[0]

    results = tagger.predict_files(endless())
    for number in range(1, 30):
        next(results)
        assert taken <= number + 2 * tagger.threads
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("predict")]


def test_an_interrupt_ends_the_threads(tagger, clips):
    def interrupted():
        yield from [clips[0]] * 6
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(tagger.predict_files(interrupted()))
    assert not [t for t in threading.enumerate() if t.name.startswith("predict")]


PREDICT = """
import sys
from agf_core.inference.worker import IsolatedTagger
from agf_core.inference.tagger import GenreTagger
for kind in (GenreTagger, IsolatedTagger):
    (result,) = kind.load(sys.argv[1]).predict_files([sys.argv[2]])
    assert result.prediction, result.error
"""


def test_no_telemetry_is_sent(tiny_folder, clips, tmp_path):
    """ONNX Runtime keeps what it would send at home, and sends nothing where it finds CI."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "CI" and not name.startswith(("ORT_", "XDG_"))
    }
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    program = [sys.executable, "-c", PREDICT, str(tiny_folder), str(clips[0])]
    subprocess.run(program, check=True, env=environment)
    assert [str(path) for path in tmp_path.rglob("*") if "icrosoft" in str(path)] == []


def test_silence_is_an_error_and_not_a_genre(tagger, write_wav):
    with pytest.raises(decode.SilentAudioError, match=r"silent\.wav is silent"):
        tagger.predict_file(write_wav("silent.wav", np.zeros(44_100 * 4)))
    quiet = 1e-3 * np.sin(np.arange(44_100 * 4) / 20)
    assert tagger.predict_file(write_wav("quiet.wav", quiet)).probabilities.sum()


def test_what_is_silent_in_a_track_does_not_count(tagger, write_wav):
    spec = tagger.metadata.input
    rng = np.random.default_rng(0)
    size = spec.segment_frames * spec.hop_length
    sound = 0.1 * rng.normal(size=2 * size)
    alone = write_wav("alone.wav", sound, spec.sample_rate)
    track = write_wav(
        "hidden.wav",
        np.concatenate([sound[:size], np.zeros(2 * size), sound[size:]]),
        spec.sample_rate,
    )
    wanted, _ = load_log_mel(alone, spec)
    found, lost = load_log_mel(track, spec)
    assert lost == 0
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert (
        tagger.predict_file(track).probabilities == tagger.predict_file(alone).probabilities
    ).all()


def test_a_model_may_analyse_pieces_of_a_track(tiny_spec, write_wav):
    rng = np.random.default_rng(0)
    seconds = np.arange(12 * 22_050) / 22_050
    rising = 0.3 * np.sin(2 * np.pi * (300 * seconds + 100 * seconds**2))
    path = write_wav("a.wav", rising + 0.001 * rng.normal(size=len(rising)), 22_050)
    middle, _ = load_log_mel(path, tiny_spec)
    pieces, _ = load_log_mel(path, replace(tiny_spec, excerpt_pieces=4))
    assert pieces.shape == middle.shape
    loudest = [rows.argmax(axis=1) for rows in (pieces, middle)]
    assert loudest[0][0] < loudest[1][0] < loudest[1][-1] < loudest[0][-1]


def test_audio_of_a_second_is_enough(tagger, write_wav):
    sine = 0.3 * np.sin(np.arange(44_100 * 4) / 20)
    for seconds in (1.0, 1.5, 3.0):
        path = write_wav(f"{seconds}.wav", sine[: int(44_100 * seconds)])
        assert tagger.predict_file(path).probabilities.sum() == pytest.approx(1)
    with pytest.raises(decode.AudioTooShortError):
        tagger.predict_file(write_wav("short.wav", sine[:22_050]))


def test_wrong_input_is_refused(tagger):
    with pytest.raises(ValueError, match="22050 Hz"):
        tagger.predict_samples(np.zeros(100_000), 44_100)
    with pytest.raises(ValueError, match=r"\(10, 128\), not \(frames, 64\)"):
        tagger.predict_log_mel(np.zeros((10, 128)))
    with pytest.raises(ValueError, match="frames, 64"):
        tagger.predict_log_mel(np.zeros((0, 64)))


def test_nonsense_is_refused_with_what_to_do(tagger, tiny_folder):
    with pytest.raises(ValueError, match="finite"):
        tagger.predict_log_mel(np.full((50, 64), np.nan))
    for path in ("song.mp3", b"song.mp3"):
        with pytest.raises(TypeError, match="predict_file takes one"):
            next(tagger.predict_files(path))
    with pytest.raises(ValueError, match="threads must be 1 or more"):
        GenreTagger.load(tiny_folder, threads=-1)


def test_one_tagger_in_several_threads(tagger, clips):
    expected = tagger.predict_file(clips[0]).probabilities
    with ThreadPoolExecutor(4) as pool:
        for p in pool.map(lambda _: tagger.predict_file(clips[0]).probabilities, range(12)):
            np.testing.assert_array_equal(p, expected)


def test_importing_the_package_is_light():
    code = (
        "import sys, agf_core, agf_core.bundle.format, "
        "agf_core.features.spectrogram, agf_core.data.tracks;"
        "print([m for m in ('torch', 'librosa', 'onnxruntime', 'av', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_tagging_needs_nothing_of_the_training_extra():
    code = (
        "import sys;"
        "missing = ['torch', 'librosa', 'scipy', 'sklearn', 'safetensors', 'onnx'];"
        "sys.modules.update(dict.fromkeys(missing));"
        "import agf_core.inference.tagger; agf_core.inference.tagger.GenreTagger"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
