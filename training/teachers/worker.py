"""The teachers' side of `extract_teachers`, for an environment that has what they need.

Started as a file, not as a module: it needs nothing of this project. Its first argument names the
teacher, and for EfficientAT the second is the folder of its clone and the third names the classes
to keep, such as ``0,27,137``. From standard input it takes sounds, each the number of its samples
(int64) and the samples (float32, mono, 16 kHz); to standard output it gives, for each, the number
of its stretches of 3 s (int64), and the teacher's layer before the last and class logits for every
one of them (float32). A sound shorter than a stretch is repeated.
"""

import os
import sys
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # without AVX-512, too: twice as fast
# There is a process of this for every core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np

STRETCH_FRAMES = 187  # of 256 samples: what musicnn analyses at once
STRETCH_SAMPLES = STRETCH_FRAMES * 256  # samples

Analyse = Callable[[np.ndarray], np.ndarray]


def musicnn() -> Analyse:
    """Return what gives musicnn's layer before the last (200) and the logits of its tags (50)."""
    import librosa
    import musicnn
    import tensorflow as tf
    from musicnn import configuration, models

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    patches = v1.placeholder(tf.float32, [None, STRETCH_FRAMES, configuration.N_MELS])
    training = v1.placeholder(tf.bool)
    with tf.name_scope("model"):
        tags = len(configuration.MSD_LABELS)
        logits, *_, before = models.define_model(patches, training, "MSD_musicnn", tags)
    session = v1.Session()
    folder = os.path.join(os.path.dirname(musicnn.__file__), "MSD_musicnn", "")
    v1.train.Saver().restore(session, folder)

    def analyse(samples: np.ndarray) -> np.ndarray:
        mel = librosa.feature.melspectrogram(
            y=samples,
            sr=configuration.SR,
            n_fft=configuration.FFT_SIZE,
            hop_length=configuration.FFT_HOP,
            n_mels=configuration.N_MELS,
        ).T
        loud = np.log10(10_000 * mel.astype(np.float16).astype(np.float32) + 1)  # as musicnn does
        stretches = [
            loud[i : i + STRETCH_FRAMES]
            for i in range(0, len(loud) - STRETCH_FRAMES + 1, STRETCH_FRAMES)
        ]
        outputs = session.run([before, logits], {patches: np.stack(stretches), training: False})
        return np.concatenate(outputs, axis=1)

    return analyse


def efficientat(folder: str, indices: str) -> Analyse:
    """Return what gives mn04_as's layer before the last (512) and the logits of some classes."""
    import soxr  # comes with librosa
    import torch

    os.chdir(folder)  # where it looks for its weights and labels
    sys.path.insert(0, os.getcwd())
    from models.mn.model import get_model
    from models.preprocess import AugmentMelSTFT

    torch.set_num_threads(1)
    model = get_model(width_mult=0.4, pretrained_name="mn04_as").eval()
    mel = AugmentMelSTFT(freqm=0, timem=0).eval()  # its own defaults otherwise: 32 kHz
    last = model.classifier[-1]

    @torch.inference_mode()
    def analyse(samples: np.ndarray) -> np.ndarray:
        n = len(samples) // STRETCH_SAMPLES
        twice = soxr.resample(samples, 16_000, 32_000)  # nothing above 8 kHz is left
        found: list[torch.Tensor] = []
        hook = last.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        logits, _ = model(
            mel(torch.from_numpy(twice[: 2 * STRETCH_SAMPLES * n]).view(n, -1))[:, None]
        )
        hook.remove()
        chosen = logits.reshape(n, -1)[:, [int(i) for i in indices.split(",")]]
        return torch.cat([found[0], chosen], dim=1).numpy()

    return analyse


def main() -> None:
    """Answer until there is no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever TensorFlow prints is no answer
    name, *rest = sys.argv[1:]
    analyse = efficientat(*rest) if name == "efficientat" else musicnn()
    while head := sys.stdin.buffer.read(8):
        size = int(np.frombuffer(head, np.int64)[0])
        samples = np.frombuffer(sys.stdin.buffer.read(4 * size), np.float32)
        if size < STRETCH_SAMPLES:
            samples = np.tile(samples, -(-STRETCH_SAMPLES // size))
        outputs = analyse(samples).astype(np.float32)
        answers.write(np.int64(len(outputs)).tobytes())
        answers.write(outputs.tobytes())
        answers.flush()


main()
