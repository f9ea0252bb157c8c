"""The teacher's side of `training.teacher`, for an environment that has musicnn and TensorFlow.

Started as a file, not as a module: it needs nothing of this project. From standard input it takes
sounds, each the number of its samples (int64) and the samples (float32, mono, 16 kHz); to standard
output it gives, for each, the number of its stretches of 3 s (int64) and 250 numbers (float32) for
every one of them: those of musicnn's layer before the last and the logits of its tags. A sound
shorter than a stretch is repeated.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import librosa
import musicnn
import numpy as np
import tensorflow as tf
from musicnn import configuration, models

MODEL = "MSD_musicnn"
FRAMES = 187  # of a stretch


def main() -> None:
    """Answer until there is no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever TensorFlow prints is no answer
    v1 = tf.compat.v1
    v1.disable_eager_execution()
    patches = v1.placeholder(tf.float32, [None, FRAMES, configuration.N_MELS])
    training = v1.placeholder(tf.bool)
    with tf.name_scope("model"):
        tags = len(configuration.MSD_LABELS)
        logits, *_, before = models.define_model(patches, training, MODEL, tags)
    session = v1.Session()
    folder = os.path.join(os.path.dirname(musicnn.__file__), MODEL, "")
    v1.train.Saver().restore(session, folder)
    while head := sys.stdin.buffer.read(8):
        size = int(np.frombuffer(head, np.int64)[0])
        samples = np.frombuffer(sys.stdin.buffer.read(4 * size), np.float32)
        shortest = FRAMES * configuration.FFT_HOP
        if size < shortest:
            samples = np.tile(samples, -(-shortest // size))
        mel = librosa.feature.melspectrogram(
            y=samples,
            sr=configuration.SR,
            n_fft=configuration.FFT_SIZE,
            hop_length=configuration.FFT_HOP,
            n_mels=configuration.N_MELS,
        ).T
        loud = np.log10(10_000 * mel.astype(np.float16).astype(np.float32) + 1)  # as musicnn does
        stretches = [loud[i : i + FRAMES] for i in range(0, len(loud) - FRAMES + 1, FRAMES)]
        heard = session.run([before, logits], {patches: np.stack(stretches), training: False})
        answers.write(np.int64(len(stretches)).tobytes())
        answers.write(np.concatenate(heard, axis=1).astype(np.float32).tobytes())
        answers.flush()


main()
