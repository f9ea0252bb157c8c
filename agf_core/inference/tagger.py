"""Predict genres from a log-mel spectrogram, samples, a file, or many files.

Each method is usable by itself and calls the one before.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

# Since 1.29 ONNX Runtime sends telemetry, unless this is set when it starts.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

from agf_core import errors
from agf_core.audio import decode
from agf_core.bundle import format as bundle_format
from agf_core.bundle import onnx_safety
from agf_core.calibration import apply_temperature
from agf_core.features.preprocessing import load_log_mel
from agf_core.features.spectrogram import log_mel, windows
from agf_core.inference.embeddings import EmbeddingStore
from agf_core.inference.prediction import Features, FileResult, P, Prediction, predict
from agf_core.utils.cores import available_cores

THREADS_PER_CORE = 2  # enough to keep the cores busy while files are read
MOST_THREADS = 32  # of about 9 MB each

SMALLEST_PROBABILITY = 1e-30  # so that its logarithm is finite
EMBEDDING, STYLES = "embedding", "styles"  # outputs of the network beside its first, the logits


class GenreTagger:
    """A model ready to predict.

    Parameters
    ----------
    model : bundle.Bundle
    threads : int, optional
        Files analysed at a time by `predict_files`; by default one per processor core.
    store : EmbeddingStore, optional
        Where features of sounds that were analysed before are looked up.

    Raises
    ------
    bundle.BundleError
        When the network does not fit the model's metadata.
    """

    def __init__(
        self,
        model: bundle_format.Bundle,
        *,
        threads: int | None = None,
        store: EmbeddingStore | None = None,
    ) -> None:
        self.metadata = model.metadata
        self.store = store
        self.model_id = model.model_id
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be 1 or more, not {threads}")
        cores = available_cores()
        self.threads = min(threads or cores, THREADS_PER_CORE * cores, MOST_THREADS)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # Files run in parallel; the network of a file needs one thread.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.load_model_format", "ONNX")  # as it is checked
        try:
            onnx_safety.check(model.network)
            self._session = onnxruntime.InferenceSession(
                model.network, options, providers=["CPUExecutionProvider"]
            )
            (self._input,) = (node.name for node in self._session.get_inputs())
            # Run once, so that a network of other sizes fails here and not on the first file.
            spec = self.metadata.input
            blank = np.zeros((2, 1, spec.segment_frames, spec.n_mels), np.float32)
            outputs = self._session.run(None, {self._input: blank})
            names = [node.name for node in self._session.get_outputs()]
            self._outputs = {name: i for i, name in enumerate(names)}
            sizes = [
                len(self.metadata.network_labels),
                *([len(self.styles)] if self.styles else []),
            ]
            found = [outputs[0], *([outputs[self._outputs[STYLES]]] if self.styles else [])]
            if [output.shape for output in found] != [(2, size) for size in sizes]:
                raise ValueError(f"its output has shape {found[0].shape}")
            head = self.metadata.head
            if head and head.n_embedding != self._size_of(outputs, EMBEDDING):
                raise ValueError(f"its embedding is not of {head.n_embedding} numbers")
        except Exception as error:  # onnxruntime's errors share no base class
            reason, _, _ = str(error).partition("\n")
            raise errors.BundleError(
                f"the network of the model in {model.folder} cannot be run "
                f"({reason}); make or install the model again"
            ) from error

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        *,
        threads: int | None = None,
        store: EmbeddingStore | None = None,
    ) -> "GenreTagger":
        """Load the model of `folder`, or the shipped one; `bundle.BundleError` where it fails."""
        return cls(bundle_format.load(folder), threads=threads, store=store)

    def _size_of(self, outputs: list[np.ndarray], name: str) -> int:
        return outputs[self._outputs[name]].shape[1] if name in self._outputs else 0

    @property
    def labels(self) -> tuple[str, ...]:
        """The genres of this model."""
        return self.metadata.labels

    @property
    def base_id(self) -> str:
        """Of the model that `Features` are made by: that below a light model."""
        return self.metadata.head.base_id if self.metadata.head else self.model_id

    @property
    def styles(self) -> tuple[bundle_format.Style, ...]:
        """The styles this model knows; older models know none."""
        return self.metadata.styles

    @property
    def prior(self) -> np.ndarray | None:
        """The class prior of the training set (see `agf_core.label_shift`), or None."""
        return self.metadata.prior

    def predict_log_mel(self, spectrogram: np.ndarray) -> Prediction:
        """Predict from a log-mel spectrogram.

        Parameters
        ----------
        spectrogram : np.ndarray [shape=(frames, n_mels)]
            Decibels, made with ``metadata.input`` by `agf_core.features.spectrogram.log_mel`.

        Raises
        ------
        ValueError
            When the shape is another, or a value is not finite.
        """
        return predict(self.metadata, self.features_of_log_mel(spectrogram))

    def features_of_log_mel(self, spectrogram: np.ndarray) -> Features:
        """Return what the network makes of a log-mel spectrogram (see `predict_log_mel`)."""
        outputs = self._run(spectrogram)
        logits = outputs[0]  # (n_windows, n_labels)
        if self.metadata.averages_logits:
            logits = logits.mean(axis=0, keepdims=True)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)
        head = self.metadata.head
        temperature = head.base_temperature if head else self.metadata.temperature
        calibrated = apply_temperature(probabilities, temperature)

        def mean_of(name: str) -> np.ndarray:
            there = name in self._outputs
            return outputs[self._outputs[name]].mean(axis=0) if there else np.zeros(0)

        return Features(
            mean_of(EMBEDDING).astype(np.float16),
            np.log(np.maximum(calibrated.astype(np.float64), SMALLEST_PROBABILITY)),
            mean_of(STYLES),
        )

    def embed_log_mel(self, spectrogram: np.ndarray) -> np.ndarray:
        """Return the embedding of a log-mel spectrogram, see `embed_file`."""
        outputs = self._run(spectrogram)
        if EMBEDDING not in self._outputs:
            raise errors.BundleError(f"the model {self.model_id} is older than embeddings")
        embedding: np.ndarray = outputs[self._outputs[EMBEDDING]].mean(axis=0)
        return embedding

    def embed_file(self, path: errors.AnyPath) -> np.ndarray:
        """Return what the network's layer before the last makes of an excerpt of a file.

        Tracks that sound alike have embeddings that lie near each other.

        Returns
        -------
        np.ndarray [shape=(n_features,), dtype=float32]
            Mean over the windows of the excerpt; 256 numbers by the shipped model.

        Raises
        ------
        agf_core.errors.AudioError
            When the file cannot be decoded.
        agf_core.errors.BundleError
            When the model is older than embeddings.
        """
        return self.embed_log_mel(load_log_mel(path, self.metadata.input)[0])

    def _run(self, spectrogram: np.ndarray) -> list[np.ndarray]:
        """Return the network's outputs for every window of a spectrogram, each (n_windows, ...)."""
        spec = self.metadata.input
        if spectrogram.ndim != 2 or spectrogram.shape[1] != spec.n_mels or not len(spectrogram):
            raise ValueError(
                f"the spectrogram has shape {spectrogram.shape}, not (frames, {spec.n_mels})"
            )
        if not np.isfinite(spectrogram).all():
            raise ValueError("the spectrogram holds values that are not finite numbers")
        normalised = (spectrogram - self.metadata.mean) / self.metadata.std
        batch = np.ascontiguousarray(windows(normalised, spec)[:, None], dtype=np.float32)
        outputs: list[np.ndarray] = self._session.run(None, {self._input: batch})
        return outputs

    def predict_samples(self, samples: np.ndarray, sample_rate: int) -> Prediction:
        """Predict from mono samples.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,)]
            Full scale is 1, as `audio.read` gives them.
        sample_rate : int
            Hertz; must be the model's (``metadata.input.sample_rate``).

        Raises
        ------
        ValueError
            When the rate is another, or the samples are not mono or not finite.
        """
        spec = self.metadata.input
        if sample_rate != spec.sample_rate:
            raise ValueError(
                f"samples are at {sample_rate} Hz, the model needs {spec.sample_rate} Hz: "
                f"resample first"
            )
        return self.predict_log_mel(log_mel(samples, spec))

    def predict_file(self, path: errors.AnyPath) -> Prediction:
        """Predict from an excerpt of an audio file; `audio.AudioError` where that fails."""
        return self.predict_log_mel(load_log_mel(path, self.metadata.input)[0])

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files.

        Lazy: paths are consumed as results are, a few ahead, so that memory does not grow with
        their number. Results are in the order of paths; a file that fails has an error.
        Closing the iterator, or an interrupt, ends its threads after the files in progress.

        Yields
        ------
        FileResult

        Raises
        ------
        TypeError
            When given a single path.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise TypeError("predict_files takes several paths; predict_file takes one")
        remaining = iter(paths)
        pending: deque[Future[FileResult[P]]] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="predict")
        try:
            for path in islice(remaining, 2 * self.threads):
                pending.append(pool.submit(self.predict_one, path))
            while pending:
                result = pending.popleft().result()
                for path in islice(remaining, 1):
                    pending.append(pool.submit(self.predict_one, path))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def predict_one(self, path: P) -> FileResult[P]:
        """Predict from one of many files, with an error as part of the result.

        With a store, a sound that was analysed before is not decoded again.
        """
        lost = seconds = 0.0
        spec = self.metadata.input
        try:
            with decode.AudioFile(path) as file:
                key = decode.content_key(file) if self.store else ""
                features = self.store.features(self.base_id, key) if self.store else None
                if features is None:
                    spectrogram, lost = load_log_mel(file, spec)
                    seconds = len(spectrogram) * spec.hop_length / spec.sample_rate
                    features = self.features_of_log_mel(spectrogram)
        except decode.AudioError as error:
            return FileResult(path, error=error)
        prediction = predict(self.metadata, features)
        return FileResult(path, prediction, lost=lost, features=features, key=key, seconds=seconds)


def load(folder: str | Path | None = None, *, threads: int | None = None) -> GenreTagger:
    """Load the model of a folder, or the pretrained one (`GenreTagger.load`)."""
    return GenreTagger.load(folder, threads=threads)
