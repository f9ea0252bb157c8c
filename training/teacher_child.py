"""The teachers' side of `training.teacher`, for an environment that has TensorFlow.

Started as a file, not as a module: it needs nothing of this project. Its first argument names the
teacher, and for YAMNet the second is its file. From standard input it takes sounds, each the number
of its samples (int64) and the samples (float32, mono, 16 kHz); to standard output it gives, for
each, the number of its stretches of 3 s (int64), and what the teacher hears in every one of them
(float32). A sound shorter than a stretch is repeated.
"""

import os
import sys
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # without AVX-512, too: twice as fast

import numpy as np

FRAMES = 187  # of 256 samples: what musicnn hears at once
STRETCH = FRAMES * 256  # samples
YAMNET_SAMPLES = 15_600  # what YAMNet hears at once
YAMNET_LOGITS = 118  # the tensor before its classes' probabilities
VOICE_AND_MUSIC = [0, *range(24, 33), *range(132, 277)]  # of AudioSet's 521 classes

Listener = Callable[[np.ndarray], np.ndarray]


def musicnn() -> Listener:
    """Return what gives musicnn's layer before the last (200) and the logits of its tags (50)."""
    import librosa
    import musicnn
    import tensorflow as tf
    from musicnn import configuration, models

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    patches = v1.placeholder(tf.float32, [None, FRAMES, configuration.N_MELS])
    training = v1.placeholder(tf.bool)
    with tf.name_scope("model"):
        tags = len(configuration.MSD_LABELS)
        logits, *_, before = models.define_model(patches, training, "MSD_musicnn", tags)
    session = v1.Session()
    folder = os.path.join(os.path.dirname(musicnn.__file__), "MSD_musicnn", "")
    v1.train.Saver().restore(session, folder)

    def listen(samples: np.ndarray) -> np.ndarray:
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
        return np.concatenate(heard, axis=1)

    return listen


def yamnet(path: str) -> Listener:
    """Return what gives YAMNet's logits of voices and music, averaged over three seconds."""
    import tensorflow as tf

    model = tf.lite.Interpreter(path, num_threads=1, experimental_preserve_all_tensors=True)
    model.allocate_tensors()
    sound = model.get_input_details()[0]["index"]
    details = {tensor["index"]: tensor for tensor in model.get_tensor_details()}
    step, zero = details[YAMNET_LOGITS]["quantization"]
    begins = np.linspace(0, STRETCH - YAMNET_SAMPLES, 3).round().astype(int)

    def once(samples: np.ndarray) -> np.ndarray:
        model.set_tensor(sound, samples)
        model.invoke()
        logits = model.get_tensor(YAMNET_LOGITS)[0, VOICE_AND_MUSIC].astype(np.float32)
        return (logits - zero) * step

    def listen(samples: np.ndarray) -> np.ndarray:
        rows = [
            np.mean([once(samples[i + b : i + b + YAMNET_SAMPLES]) for b in begins], axis=0)
            for i in range(0, len(samples) - STRETCH + 1, STRETCH)
        ]
        return np.stack(rows)

    return listen


def main() -> None:
    """Answer until there is no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever TensorFlow prints is no answer
    name, *rest = sys.argv[1:]
    listen = yamnet(*rest) if name == "yamnet" else musicnn()
    while head := sys.stdin.buffer.read(8):
        size = int(np.frombuffer(head, np.int64)[0])
        samples = np.frombuffer(sys.stdin.buffer.read(4 * size), np.float32)
        if size < STRETCH:
            samples = np.tile(samples, -(-STRETCH // size))
        heard = listen(samples).astype(np.float32)
        answers.write(np.int64(len(heard)).tobytes())
        answers.write(heard.tobytes())
        answers.flush()


main()
