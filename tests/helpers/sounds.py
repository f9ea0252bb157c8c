"""Sounds and films to read, written in many formats, and ways to check what was read."""

import os
import struct
import wave
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest

from agf_core.audio import decode

RATE = 44_100


def encode(path, samples, rate, codec, container, layout="stereo", bit_rate=None, **options):
    """Write samples (channels, n) with PyAV."""
    channels = len(samples)
    with av.open(os.fspath(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout, options=options)
        if bit_rate:
            stream.bit_rate = bit_rate
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            context.format, layout, rate, frame_size=context.frame_size or 4096
        )
        # packed, since PyAV cannot make planar frames of eight channels
        packed = np.ascontiguousarray(samples.T, dtype=np.float32).reshape(1, -1)
        for start in range(0, packed.shape[1], rate * channels):
            part = np.ascontiguousarray(packed[:, start : start + rate * channels])
            frame = av.AudioFrame.from_ndarray(part, "flt", layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = start // channels
            for converted in resampler.resample(frame):
                output.mux(stream.encode(converted))
        for converted in resampler.resample(None):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return path


def write_wav(path, samples, rate=RATE):
    """Write samples in [-1, 1] as a 16-bit mono file."""
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())
    return path


def coloured_noise(kind, n, rng):
    """Return quiet noise: low for a `kind` of L, high for H, white otherwise."""
    noise = 0.05 * rng.normal(size=n)
    if kind == "L":
        return np.convolve(noise, np.ones(12) / 4, "same")
    return np.diff(noise, n=2, append=[0, 0]) if kind == "H" else noise


def noise_and_chirp(seconds=20, rate=RATE, channels=2):
    """Make sound in which every moment is unlike every other."""
    rng = np.random.default_rng(0)
    t = np.arange(seconds * rate) / rate
    chirp = 0.3 * np.sin(2 * np.pi * (200 * t + 60 * t**2))
    noise = rng.normal(0, 1, (channels, len(t))) * 0.08 * (1 + np.sin(2 * np.pi * 0.7 * t))
    return (chirp + noise).astype(np.float32).clip(-1, 1)


def tone(hertz, seconds, rate, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def pitch(samples, rate):
    """Hertz of the strongest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * rate / len(samples)


def apart(one, other):
    """The greatest difference; the lengths may differ by a sample."""
    assert abs(len(one) - len(other)) <= 1
    n = min(len(one), len(other))
    return np.abs(one[:n] - other[:n]).max()


def place(whole, part):
    """Where in whole the part is found (samples), and how alike they are (1 is equal)."""
    size = 1 << (len(whole) + len(part)).bit_length()
    product = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    at = int(np.fft.irfft(product)[: len(whole)].argmax())
    same = whole[at : at + len(part)]
    part = part[: len(same)]
    return at, float(same @ part / (np.linalg.norm(same) * np.linalg.norm(part) + 1e-9))


def write_dsf(path, samples, rate=2_822_400):
    """Write DSD64, mono: one bit a sample, by first-order sigma-delta."""
    bits = np.diff(np.floor(np.cumsum((samples + 1) / 2)), prepend=0).astype(np.uint8)
    data = np.packbits(bits, bitorder="little").tobytes()
    data += bytes(-len(data) % 4096)
    form = struct.pack("<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, rate, 1, len(samples), 4096, 0)
    total = 28 + len(form) + 12 + len(data)
    head = struct.pack("<4sQQQ", b"DSD ", 28, total, 0)
    path.write_bytes(head + form + struct.pack("<4sQ", b"data", 12 + len(data)) + data)
    return path


def png(width=64):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(range(192)) * (width // 64)) * width)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*one) for one in [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    )


def film(path, container="mp4", codec="mpeg4", frames=10):
    """Write a silent film."""
    with av.open(os.fspath(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for shade in range(frames):
            image = np.full((64, 64, 3), 20 * shade, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    return path


def damaged(path, to, begin, end):
    """Copy a file with noise between two parts (0 to 1) of its length."""
    data = bytearray(path.read_bytes())
    begin, end = round(begin * len(data)), round(end * len(data))
    data[begin:end] = np.random.default_rng(1).integers(0, 256, end - begin, np.uint8).tobytes()
    to.write_bytes(data)
    return to


def raises(kind, path, match):
    """Read a file in both ways, and check the message that comes instead."""
    for how in (decode.read, lambda path: decode.read_excerpt(path, 30)):
        with pytest.raises(kind, match=match) as caught:
            how(path)
        message = str(caught.value)
        assert decode.shown(path) in message
        assert message.endswith(".")
        assert len(message.splitlines()) == 1
        message.encode()
