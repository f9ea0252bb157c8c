"""Mix decoded frames of any format down to mono samples at one rate."""

import av
import numpy as np

SAMPLES_AT_ONCE = 1 << 16  # samples mixed down at a time
CANCELLED_POWER_SHARE = 0.1  # of unrelated channels: below, they cancel out
COMPARED_EVERY = 32  # samples: one of these tells whether channels cancel out, which saves time
LOUDEST_SAMPLE = 4.0  # times full scale; damaged mp3 frames may decode to thousands

# Sample formats: their numpy type and their full scale. Names of planar ones end in p.
SAMPLE_FORMATS: dict[str, tuple[np.dtype, float]] = {
    "u8": (np.dtype("u1"), 2.0**7),
    "s16": (np.dtype("i2"), 2.0**15),
    "s32": (np.dtype("i4"), 2.0**31),
    "s64": (np.dtype("i8"), 2.0**63),
    "flt": (np.dtype("f4"), 1.0),
    "dbl": (np.dtype("f8"), 1.0),
}


class Downmixer:
    """Convert frames of any format to mono samples at one rate, a batch at a time.

    Mono is the plain average of the channels, as in librosa: libswresample's own matrices weight
    channels by their position and drop the bass channel, so that the level of a recording would
    depend on its layout. Where channels cancel each other out (left = -right), it is the loudest;
    where two do so beside others, one of them is inverted.
    """

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate  # hertz
        self.kind = ("", 0, 0)  # sample format, channels and hertz of the input
        self.batch = av.AudioFifo()  # of frames of that kind
        self.done: list[np.ndarray] = []  # mono, at the output rate
        self.resampler: av.AudioResampler | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing has been added."""
        return not self.kind[0]

    def add(self, frame: av.AudioFrame, first: int = 0, last: int | None = None) -> None:
        """Add a frame, or its samples from index `first` up to `last`."""
        kind = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if kind != self.kind:  # only at the start, and where streams are chained
            self._mix()
            self._drain()
            self.kind, self.batch = kind, av.AudioFifo()
        frame.pts = None  # or the batch would compare time stamps
        if not first and last in (None, frame.samples):
            self.batch.write(frame)
            if self.batch.samples >= SAMPLES_AT_ONCE:
                self._mix()
        else:  # only where the stretch begins and ends
            self._mix()
            self.batch.write(frame)
            self._mix(slice(first, last))

    def finish(self, n: int | None) -> np.ndarray:
        """Return all samples, but at most n."""
        self._mix()
        self._drain()
        return np.concatenate(self.done)[:n] if self.done else np.zeros(0, np.float32)

    def _mix(self, part: slice = slice(None)) -> None:
        """Average the channels of the batch, or of a part of it, and convert its rate."""
        frame = self.batch.read()
        if frame is None:
            return
        name, channels, rate = self.kind
        dtype, full_scale = SAMPLE_FORMATS[name.removesuffix("p")]
        if frame.format.is_planar and channels >= 8:  # PyAV counts one plane more, and may refuse
            (frame,) = av.AudioResampler(name.removesuffix("p")).resample(frame)
        step = 1 if frame.format.is_planar else channels
        values = [np.frombuffer(p, dtype, frame.samples * step) for p in frame.planes]  # type: ignore
        planes = (values[c] if step == 1 else values[0][c::step] for c in range(channels))
        channels_of_part = [plane[part].astype(np.float32, copy=False) for plane in planes]
        if dtype.kind == "u":
            channels_of_part = [samples - full_scale for samples in channels_of_part]
        mono = _sum(channels_of_part)
        mono *= 1 / (channels * full_scale)
        if not (mono.max() <= LOUDEST_SAMPLE and mono.min() >= -LOUDEST_SAMPLE):
            mono.clip(-LOUDEST_SAMPLE, LOUDEST_SAMPLE, out=mono)
            mono[np.isnan(mono)] = 0
        if rate == self.sample_rate:
            self.done.append(mono)
            return
        if self.resampler is None:
            self.resampler = av.AudioResampler(format="fltp", layout="mono", rate=self.sample_rate)
        frame = av.AudioFrame.from_ndarray(mono[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = rate
        self.done += [out.to_ndarray()[0] for out in self.resampler.resample(frame)]

    def _drain(self) -> None:
        """Collect the samples that the resampler still holds."""
        if self.resampler is not None:
            self.done += [out.to_ndarray()[0] for out in self.resampler.resample(None)]
            self.resampler = None


def _sum(planes: list[np.ndarray]) -> np.ndarray:
    """Return the sum of channels; where it cancels out, the loudest one as if it were all of them.

    A constant offset is no sound. Of two channels that cancel out beside others, one is inverted.

    Parameters
    ----------
    planes : list of np.ndarray [shape=(n,), dtype=float32]
        Samples of each channel, which stay as they are.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
    """
    if len(planes) == 1:
        return planes[0].copy()
    some = np.array([plane[::COMPARED_EVERY] for plane in planes])
    some -= some.mean(axis=1, keepdims=True)
    products = some @ some.T
    powers = products.diagonal()
    if products.sum() < CANCELLED_POWER_SHARE * powers.sum():
        loudest: np.ndarray = planes[powers.argmax()] * np.float32(len(planes))
        return loudest
    total: np.ndarray = planes[0] + planes[1]
    if len(planes) == 2:
        return total
    both = np.add.outer(powers, powers)
    cancelled = both + 2 * products < CANCELLED_POWER_SHARE * both
    inverted: list[bool] = []
    for channel in range(len(planes)):
        others = cancelled[channel, :channel].nonzero()[0]
        inverted.append(len(others) > 0 and not inverted[others[0]])
    if inverted[1]:
        total -= 2 * planes[1]
    for plane, is_inverted in zip(planes[2:], inverted[2:], strict=True):
        (np.subtract if is_inverted else np.add)(total, plane, out=total)
    return total
