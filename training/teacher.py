"""What a teacher hears: musicnn, which has learnt 50 tags from the Million Song Dataset.

    python -m training.teacher --table development.csv --audio corpora --work work

puts what it hears of every clip beside the other features, to be learnt from as task t; predicting
needs none of it. musicnn 0.1.0 (Pons and Serra, 2019; ISC licence) runs on TensorFlow 2.15, which
gets along with neither PyTorch's nor beets' other needs: give it an environment of its own, with

    pip install 'numpy<2' tensorflow==2.15.0 librosa av mutagen tqdm scipy
    pip install --no-deps musicnn==0.1.0

and start this command from a clone with that environment's Python.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from agf_core import audio
from agf_core.cache import FeatureCache
from agf_core.corpus import Track

KIND = "musicnn-msd"
N_FEATURES = 250  # 200 of the layer before the last, and the 50 tags' logits
FARTHEST = 4.0  # standard deviations that a target lies from the mean at most

SAMPLE_RATE, N_FFT, HOP_LENGTH, N_MELS = 16_000, 512, 256, 96  # musicnn's own
FRAMES = 187  # of what it hears at a time: 3 s


def heard(tracks: Sequence[Track], cache: FeatureCache) -> list[np.ndarray]:
    """Return what the teacher has heard of each track, (250,), averaged over the clip.

    Raises
    ------
    ValueError
        When it has not heard one.
    """

    def missing(track: Track) -> np.ndarray:
        raise ValueError(
            f"the teacher has not heard {track.path}; run python -m training.teacher first"
        )

    return [cache.get(KIND, t.track_id, partial(missing, t), _fits) for t in tracks]


def teacher_targets(features: Sequence[np.ndarray], train: np.ndarray) -> np.ndarray:
    """Return features as targets: of mean 0 and deviation 1 over the training tracks.

    Returns
    -------
    np.ndarray [shape=(n_tracks, 250), dtype=float32]
    """
    rows = np.stack(features)
    mean, std = rows[train].mean(axis=0), rows[train].std(axis=0)
    scaled: np.ndarray = (rows - mean) / np.maximum(std, 1e-3)
    return scaled.clip(-FARTHEST, FARTHEST).astype(np.float32)


def _fits(stored: np.ndarray) -> bool:
    return stored.shape == (N_FEATURES,) and bool(np.isfinite(stored).all())


def musicnn() -> Callable[[np.ndarray], np.ndarray]:
    """Load the teacher: a function from mono samples at 16 kHz, 3 s or more, to its features."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import librosa
    import musicnn as package
    import tensorflow as tf
    from musicnn import models

    v1: Any = tf.compat.v1
    v1.disable_eager_execution()
    patches = v1.placeholder(tf.float32, [None, FRAMES, N_MELS])
    training = v1.placeholder(tf.bool)
    with tf.name_scope("model"):
        logits, *_, before = models.define_model(patches, training, "MSD_musicnn", 50)
    session = v1.Session()
    folder = os.path.join(os.path.dirname(package.__file__), "MSD_musicnn", "")
    v1.train.Saver().restore(session, folder)

    def listen(samples: np.ndarray) -> np.ndarray:
        mel = librosa.feature.melspectrogram(
            y=samples, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
        )
        loud = np.log10(10_000 * mel.T.astype(np.float16).astype(np.float32) + 1)  # as musicnn
        starts = range(0, len(loud) - FRAMES + 1, FRAMES)
        batch = np.stack([loud[start : start + FRAMES] for start in starts])
        given = {patches: batch, training: False}
        said = np.concatenate(session.run([before, logits], given), axis=1)
        mean: np.ndarray = said.mean(axis=0, dtype=np.float32)
        return mean

    return listen


def main() -> None:
    """Run the command."""
    from training.corpora import read_table

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, required=True, help="CSV of the clips")
    parser.add_argument("--audio", type=Path, required=True, help="folder of owner/repository")
    parser.add_argument("--work", type=Path, required=True, help="features and checkpoints")
    arguments = parser.parse_args()
    cache = FeatureCache(arguments.work / "features")
    listen = musicnn()
    for track in tqdm(read_table(arguments.table, arguments.audio), unit="clip"):

        def compute(track: Track = track) -> np.ndarray:
            return listen(audio.read(track.path, sample_rate=SAMPLE_RATE).samples)

        try:
            cache.get(KIND, track.track_id, compute, _fits)
        except audio.AudioError as error:
            tqdm.write(f"left out: {error}")


if __name__ == "__main__":
    main()
