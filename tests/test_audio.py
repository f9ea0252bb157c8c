"""Files of all kinds, whole, damaged, lying and hostile, become samples or a clear error."""

import contextlib
import io
import os
import resource
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from agf_core import audio, container, mixer
from agf_core.audio import (
    AudioError,
    AudioTooShortError,
    NoAudioStreamError,
    UnreadableAudioError,
    read,
    read_excerpt,
)

DATA = Path(__file__).parent / "data"
CLIPS = sorted(path for path in DATA.iterdir() if path.suffix != ".md")
RATE = 44_100
LAYOUTS = ["mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1"]


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


@pytest.fixture(scope="module")
def sound():
    return noise_and_chirp()


@pytest.fixture(scope="module")
def mono(sound):
    return sound.mean(axis=0)


@pytest.fixture(scope="module")
def flac(sound, tmp_path_factory):
    path = tmp_path_factory.mktemp("flac") / "sound.flac"
    return encode(path, sound, RATE, "flac", "flac")


@pytest.fixture(scope="module")
def mp3(sound, tmp_path_factory):
    path = tmp_path_factory.mktemp("mp3") / "sound.mp3"
    return encode(path, sound, RATE, "libmp3lame", "mp3", bit_rate=128_000)


# name: codec, container, rate; whether lossless; samples by which time may be off, where the
# container counts it in milliseconds
FORMATS = {
    "mp3": ("libmp3lame", "mp3", RATE, False, 0),
    "m4a": ("aac", "ipod", RATE, False, 0),
    "aac": ("aac", "adts", RATE, False, 0),
    "ogg": ("vorbis", "ogg", RATE, False, 0),
    "opus": ("libopus", "ogg", 48_000, False, 1),
    "wma": ("wmav2", "asf", RATE, False, 60),
    "webm": ("libopus", "webm", 48_000, False, 60),
    "mp2": ("mp2", "mp2", RATE, False, 0),
    "mka": ("flac", "matroska", RATE, True, 60),
    "flac": ("flac", "flac", RATE, True, 0),
    "alac.m4a": ("alac", "ipod", RATE, True, 0),
    "oga": ("flac", "ogg", RATE, True, 0),
    "u8.wav": ("pcm_u8", "wav", RATE, True, 0),
    "s16.wav": ("pcm_s16le", "wav", RATE, True, 0),
    "s24.wav": ("pcm_s24le", "wav", RATE, True, 0),
    "s32.wav": ("pcm_s32le", "wav", RATE, True, 0),
    "f32.wav": ("pcm_f32le", "wav", RATE, True, 0),
    "f64.wav": ("pcm_f64le", "wav", RATE, True, 0),
    "aiff": ("pcm_s16be", "aiff", RATE, True, 0),
    "wv": ("wavpack", "wv", RATE, True, 0),
    "tta": ("tta", "tta", RATE, True, 0),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_decoded_and_sought_rightly(name, sound, mono, tmp_path):
    codec, container, rate, lossless, off_by = FORMATS[name]
    samples = sound if rate == RATE else noise_and_chirp(rate=rate)
    options = {"vorbis": {"strict": "-2"}, "aac": {"aac_pns": "0"}}.get(codec, {})
    bit_rate = None if lossless else 160_000
    path = encode(tmp_path / name, samples, rate, codec, container, bit_rate=bit_rate, **options)

    whole = read(path)
    assert whole.sample_rate == RATE
    assert whole.samples.dtype == np.float32
    assert whole.seconds == pytest.approx(20, abs=0.1)
    assert whole.lost == 0
    if lossless:
        assert np.abs(whole.samples[: len(mono)] - mono).max() < 2**-6.9  # u8 is the coarsest
    elif rate == RATE:
        _, likeness = place(mono, whole.samples[RATE : 3 * RATE])
        assert likeness > 0.95

    for start in (0.3, 2.0, 9.37, 15.5):
        part = read(path, start=start, seconds=2)
        assert part.lost == 0
        assert part.start == start
        assert len(part.samples) == 2 * RATE
        at, likeness = place(whole.samples, part.samples)
        assert abs(at - round((start - whole.start) * RATE)) <= off_by
        assert likeness > 0.998


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.name)
def test_real_music_in_each_format(path):
    whole = read(path)
    assert 2.9 < whole.seconds < 5.1
    assert whole.lost == 0
    assert 0.02 < np.sqrt(np.mean(whole.samples**2)) < 0.6
    assert np.abs(whole.samples).max() < 1.5
    part = read(path, start=1.25, seconds=1.5)
    at, likeness = place(whole.samples, part.samples)
    assert abs(at / RATE - (1.25 - whole.start)) < 0.002
    assert likeness > 0.99  # some codecs fill in noise anew each time
    assert apart(read_excerpt(path, 30).samples, whole.samples) == 0


def test_the_clips_cover_the_formats_that_libraries_hold():
    kinds = {path.suffix.removeprefix(".") for path in CLIPS}
    assert kinds >= {"mp3", "flac", "m4a", "ogg", "oga", "opus", "wma", "wav", "aiff", "wv"}
    assert kinds >= {"tta", "mpc", "ape"}
    credits = (DATA / "CREDITS.md").read_text()
    assert all(f"| {path.name} |" in credits for path in CLIPS)


def test_musepack_and_ape_match_at_any_place(tmp_path):
    for name in ("pablo.mpc", "dizzycrow.ape"):
        whole = read(DATA / name)
        for start in (0.6, 1.0, 1.7):
            part = read(DATA / name, start=start, seconds=1)
            first = round(start * RATE)
            expected = whole.samples[first : first + RATE]
            assert np.abs(expected - part.samples)[100:-100].max() < 2e-3  # edges: resampling


def test_dsd(tmp_path):
    path = write_dsf(tmp_path / "a.dsf", tone(440, 2.5, 2_822_400))
    result = read(path)
    assert result.seconds == pytest.approx(2.5, abs=0.01)
    assert pitch(result.samples, RATE) == pytest.approx(440, abs=1)
    part = read(path, start=1, seconds=1)
    at, likeness = place(result.samples, part.samples)
    assert at % 100.2272 == pytest.approx(RATE % 100.2272, abs=2)  # samples in a period
    assert likeness > 0.99


@pytest.mark.parametrize(
    "rate", [8000, 11_025, 16_000, 22_050, 32_000, RATE, 48_000, 88_200, 96_000, 176_400, 192_000]
)
def test_a_tone_keeps_its_pitch_level_and_place_at_every_rate(rate, tmp_path):
    path = tmp_path / "tone.wav"
    encode(path, tone(1000, 2, rate)[np.newaxis], rate, "pcm_f32le", "wav", "mono")
    result = read(path)
    assert len(result.samples) == pytest.approx(2 * RATE, abs=2)
    middle = slice(1000, 2 * RATE - 1000)
    assert np.abs(result.samples[middle] - tone(1000, 2, RATE)[middle]).max() < 2e-3
    assert pitch(result.samples, RATE) == pytest.approx(1000, abs=1)


def test_what_cannot_be_heard_at_the_new_rate_is_gone_not_folded(tmp_path):
    path = tmp_path / "high.wav"
    encode(path, tone(30_000, 2, 96_000)[np.newaxis], 96_000, "pcm_f32le", "wav", "mono")
    assert np.abs(read(path).samples[500:-500]).max() < 1e-3


def test_another_rate_can_be_asked_for(flac, mono):
    result = read(flac, start=2, seconds=3, sample_rate=16_000)
    assert result.sample_rate == 16_000
    assert len(result.samples) == 48_000


@pytest.mark.parametrize("codec", ["pcm_s24le", "flac", "alac"])
@pytest.mark.parametrize("channels", range(1, 9))
def test_mono_is_the_average_of_all_channels(channels, codec, tmp_path):
    layout = LAYOUTS[channels - 1]
    if codec == "alac":  # has layouts of its own
        own = {"2.1": "3.0", "quad": "4.0", "6.1": "6.1(back)", "7.1": "7.1(wide)"}
        layout = own.get(layout, layout)
    samples = np.stack([tone(300 + 100 * c, 1.5, RATE, 0.6) for c in range(channels)])
    container = {"pcm_s24le": "wav", "flac": "flac", "alac": "ipod"}[codec]
    path = encode(tmp_path / "a", samples, RATE, codec, container, layout)
    assert apart(read(path).samples, samples.mean(axis=0)) < 1e-4


# Excerpts and durations


def test_an_excerpt_is_the_middle(flac, mono):
    result = read_excerpt(flac, 5)
    assert result.start == 7.5
    assert result.duration == 20
    assert apart(result.samples, mono[round(7.5 * RATE) : round(12.5 * RATE)]) < 1e-4


def test_an_excerpt_of_a_short_file_is_all_of_it(flac):
    result = read_excerpt(flac, 30)
    assert (result.start, result.lost) == (0, 0)
    assert len(result.samples) == 20 * RATE


def test_pieces_are_spread_over_the_file(flac, mono):
    result = read_excerpt(flac, 6, pieces=3)
    assert (result.duration, result.lost) == (20, 0)
    assert result.start == pytest.approx(20 / 6 - 1)
    firsts = [round((20 * (k + 0.5) / 3 - 1) * RATE) for k in range(3)]
    expected = np.concatenate([mono[first : first + 2 * RATE] for first in firsts])
    assert apart(result.samples, expected) < 1e-4
    # As much as there is: nothing between the pieces.
    assert apart(read_excerpt(flac, 20, pieces=4).samples, mono) < 1e-4
    assert apart(read_excerpt(flac, 30, pieces=4).samples, mono) < 1e-4


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.name)
def test_pieces_in_each_format(path):
    whole = read(path)
    result = read_excerpt(path, 1.2, pieces=3)
    assert result.seconds == pytest.approx(1.2, abs=0.01)
    if path.suffix == ".mpc":  # its middle, since libav does not get where it is told
        assert result.start == pytest.approx((whole.duration - 1.2) / 2)
        return
    if path.suffix == ".oga":  # FLAC in Ogg, in which libav arrives up to a page away
        return
    for k, part in enumerate(np.split(result.samples[: 3 * round(0.4 * RATE)], 3)):
        first = round((whole.duration * (k + 0.5) / 3 - 0.2 - whole.start) * RATE)
        there = [whole.samples[first + off :][: len(part)] for off in range(-20, 21)]
        likeness = [same @ part / np.linalg.norm(same) / np.linalg.norm(part) for same in there]
        assert max(likeness) > 0.98


def test_pieces_that_cannot_be_reached_leave_the_middle(flac, mono, tmp_path):
    path = tmp_path / "half.flac"
    path.write_bytes(flac.read_bytes()[: flac.stat().st_size * 2 // 5])
    assert apart(read_excerpt(path, 5, pieces=5).samples, read_excerpt(path, 5).samples) == 0
    for total in (0, 2**36 - 1):
        path = with_total(flac, total, tmp_path / "a.flac")
        result = read_excerpt(path, 5, pieces=5)
        first = round(result.start * RATE)
        assert 6 < result.start < 9
        assert apart(result.samples, mono[first : first + 5 * RATE]) < 1e-4


def test_damage_in_a_piece_is_known(flac, tmp_path):
    path = damaged(flac, tmp_path / "a.flac", 0.5, 0.52)
    assert read_excerpt(path, 4, pieces=4).lost == 0  # it lies between them
    result = read_excerpt(path, 15, pieces=3)
    assert 0.3 < result.lost < 1.5
    assert result.seconds == pytest.approx(15 - result.lost, abs=0.05)


def test_a_frame_that_begins_where_reading_does_is_no_miss(flac, monkeypatch):
    """Sums of times are a hair off, which cost a second reading from the file's beginning."""
    opened = []
    whole = audio.opened
    monkeypatch.setattr(audio, "opened", lambda path: opened.append(path) or whole(path))
    starts = [k * 4608 / RATE for k in range(10, 180, 3)]
    for start in starts:
        read(flac, start=start, seconds=1)
    assert len(opened) == len(starts)


def test_reading_stops_at_the_end(flac):
    result = read(flac, start=17, seconds=30)
    assert result.seconds == pytest.approx(3, abs=1e-3)
    assert result.lost == 0


def test_a_half_copied_file_gives_what_is_there(flac, mono, tmp_path):
    path = tmp_path / "half.flac"
    path.write_bytes(flac.read_bytes()[: flac.stat().st_size * 2 // 5])
    result = read_excerpt(path, 5)
    assert result.duration == 20
    assert result.lost == pytest.approx(4.5, abs=0.3)
    assert 1 < result.start < 2
    assert result.seconds == pytest.approx(5, abs=1e-3)
    first = round(result.start * RATE)
    assert apart(result.samples, mono[first : first + 5 * RATE]) < 1e-4
    assert read(path).lost == pytest.approx(12, abs=0.3)


def with_total(flac, total, path):
    """Copy a FLAC file with another number of samples in its header."""
    data = bytearray(flac.read_bytes())
    at = data.index(b"fLaC") + 4 + 4 + 13
    data[at] = data[at] & 0xF0 | total >> 32
    data[at + 1 : at + 5] = struct.pack(">I", total & 0xFFFFFFFF)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("total", [0, 2**36 - 1], ids=["missing", "absurd"])
def test_a_wrong_duration_does_not_hide_the_music(total, flac, mono, tmp_path):
    path = with_total(flac, total, tmp_path / "a.flac")
    result = read_excerpt(path, 5)
    assert result.seconds == pytest.approx(5, abs=1e-3)
    assert 6 < result.start < 9
    first = round(result.start * RATE)
    assert apart(result.samples, mono[first : first + 5 * RATE]) < 1e-4


def test_ten_hours_cost_what_four_minutes_do(tmp_path, monkeypatch):
    class Counting(container._File):
        def read(self, size=-1):
            nonlocal total
            data = super().read(size)
            total += len(data)
            return data

    total = 0
    monkeypatch.setattr(container, "_File", Counting)
    path = tmp_path / "a.wav"  # sparse: takes no room on the disk
    size = 10 * 3600 * 8000
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form
    path.write_bytes(head + b"data" + struct.pack("<I", size))
    os.truncate(path, 44 + size)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = read_excerpt(path, 30)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 100  # MiB
    assert 30 * 8000 < total < size / 50
    assert (result.duration, result.start, result.seconds) == (36_000, 17_985, 30)
    total = 0
    assert read_excerpt(path, 30, pieces=5).seconds == 30
    assert 30 * 8000 < total < size / 50


# Damage


def damaged(path, to, begin, end):
    """Copy a file with noise between two parts (0 to 1) of its length."""
    data = bytearray(path.read_bytes())
    begin, end = round(begin * len(data)), round(end * len(data))
    data[begin:end] = np.random.default_rng(1).integers(0, 256, end - begin, np.uint8).tobytes()
    to.write_bytes(data)
    return to


def test_damage_in_a_flac_is_passed_over_and_known(flac, mono, tmp_path):
    result = read(damaged(flac, tmp_path / "a.flac", 0.5, 0.52))
    assert 0.3 < result.lost < 1.5
    assert result.seconds + result.lost == pytest.approx(20, abs=0.05)
    assert apart(result.samples[-8 * RATE :], mono[-8 * RATE :]) < 1e-4


def test_single_wrong_bytes_in_a_flac_are_noticed(flac, mono, tmp_path):
    data = bytearray(flac.read_bytes())
    for at in np.linspace(0.2, 0.8, 10):
        data[round(at * len(data))] ^= 0xFF
    (tmp_path / "a.flac").write_bytes(data)
    result = read(tmp_path / "a.flac")
    assert result.lost == pytest.approx(20 - result.seconds, abs=0.05)
    assert 10 * 4096 / RATE <= result.lost + 0.2 < 4
    assert np.abs(result.samples).max() <= np.abs(mono).max() + 1e-3  # no bursts of noise


def test_damage_in_an_mp3_is_passed_over_and_known(mp3, tmp_path):
    clean = read(mp3)
    result = read(damaged(mp3, tmp_path / "a.mp3", 0.5, 0.55))
    assert 0 < result.lost < 3
    assert 18 < result.seconds < 20
    assert np.isfinite(result.samples).all()
    assert np.abs(result.samples).max() <= mixer.LOUDEST
    _, likeness = place(clean.samples, result.samples[-6 * RATE :])
    assert likeness > 0.999


def test_a_cut_off_mp3_lacks_what_its_header_promised(mp3, tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 2])
    result = read(path)
    assert result.seconds == pytest.approx(10, abs=0.2)
    assert result.lost == pytest.approx(10, abs=0.2)


def test_a_guessed_duration_is_no_promise(sound, tmp_path):
    path = encode(tmp_path / "a.aac", sound * np.linspace(0, 1, 20 * RATE), RATE, "aac", "adts")
    result = read(path)
    assert abs(result.duration - result.seconds) > 0.3  # libav guesses it from the bit rate
    assert result.lost == 0


def test_a_file_with_nothing_left_to_decode(flac, tmp_path):
    path = damaged(flac, tmp_path / "a.flac", 0.01, 1)
    with pytest.raises(UnreadableAudioError, match=r"a\.flac is damaged"):
        read_excerpt(path, 5)


def test_an_absurd_rate_is_damage(tmp_path):
    data = bytearray((DATA / "muncheybobo.wav").read_bytes())
    data[24:28] = struct.pack("<I", 7)
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(UnreadableAudioError, match="damaged"):
        read_excerpt(tmp_path / "a.wav", 2)


def test_an_unknown_codec_is_named(tmp_path):
    data = bytearray((DATA / "muncheybobo.wav").read_bytes())
    data[20:22] = b"\x5e\x77"
    (tmp_path / "a.wav").write_bytes(data)
    raises(UnreadableAudioError, tmp_path / "a.wav", "codec not known here")


def test_numbers_that_are_none_become_silence(tmp_path):
    samples = tone(440, 2, RATE)
    samples[1000:2000] = np.nan
    samples[3000:4000] = np.inf
    path = encode(tmp_path / "a.wav", samples[np.newaxis], RATE, "pcm_f32le", "wav", "mono")
    result = read(path).samples
    assert np.isfinite(result).all()
    assert (result[1000:2000] == 0).all()


# Errors


def raises(kind, path, match):
    """Read a file in both ways, and check the message that comes instead."""
    for how in (read, lambda path: read_excerpt(path, 30)):
        with pytest.raises(kind, match=match) as caught:
            how(path)
        message = str(caught.value)
        assert audio.shown(path) in message
        assert message.endswith(".")
        assert len(message.splitlines()) == 1
        message.encode()


def test_errors_have_a_common_base():
    for kind in (
        NoAudioStreamError,
        UnreadableAudioError,
        AudioTooShortError,
        audio.SilentAudioError,
    ):
        assert issubclass(kind, AudioError)


def test_no_such_file(tmp_path):
    raises(UnreadableAudioError, tmp_path / "a.mp3", "does not exist")


def test_an_impossible_name():
    raises(UnreadableAudioError, "a\0b.mp3", "cannot be opened")


def test_a_folder(tmp_path):
    raises(UnreadableAudioError, tmp_path, "is not a file")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")
    raises(UnreadableAudioError, tmp_path / "pipe.mp3", "is not a file")


def test_a_forbidden_file(monkeypatch):
    def forbidden(*_, **__):  # the tests may run as root, who may read all
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(container, "_File", forbidden)
    raises(UnreadableAudioError, DATA / "askyel.mp3", "may not be read by you")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.mp3").touch()
    raises(UnreadableAudioError, tmp_path / "a.mp3", "is empty")


@pytest.mark.parametrize(
    "content",
    [b"Dear diary, no music today.\n" * 500, np.random.default_rng(0).bytes(20_000), b"\0" * 9999],
    ids=["text", "garbage", "zeros"],
)
def test_what_is_no_audio(content, tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    raises(UnreadableAudioError, path, "is not audio|is damaged|cannot be decoded")


def test_pictures_and_silent_films(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "png.mp3").write_bytes(png())
    film(tmp_path / "a.jpg", "mjpeg", "mjpeg", frames=1)
    film(tmp_path / "a.mp4")
    for name in ("a.png", "png.mp3", "a.jpg", "a.mp4"):
        raises(NoAudioStreamError, tmp_path / name, "has no sound in it")


def test_half_a_second_is_too_short(tmp_path):
    path = encode(
        tmp_path / "a.wav", tone(440, 0.5, RATE)[np.newaxis], RATE, "pcm_s16le", "wav", "mono"
    )
    raises(AudioTooShortError, path, "only 0.50 s")


def test_one_second_is_enough(tmp_path):
    path = encode(
        tmp_path / "a.wav", tone(440, 1, 8000)[np.newaxis], 8000, "pcm_s16le", "wav", "mono"
    )
    assert read_excerpt(path, 30).seconds == pytest.approx(1, abs=1e-3)


def test_nothing_beyond_the_end(flac):
    with pytest.raises(AudioTooShortError, match="after the first 25 s"):
        read(flac, start=25)


@pytest.mark.parametrize(
    "nonsense", [{"start": -1}, {"start": float("nan")}, {"seconds": 0}, {"seconds": float("inf")}]
)
def test_nonsense_arguments(nonsense, flac):
    with pytest.raises(ValueError, match=next(iter(nonsense))):
        read(flac, **nonsense)


def test_an_interrupt_passes_through(flac, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(av, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(flac)


# Names and contents


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe.mp3",
        b"a\nb.mp3",
        b"-i.mp3",
        b"100%.mp3",
        b"%03d.jpg",
        b"http:foo.mp3",
        b"pipe:0",
        b"concat:a|b.mp3",
        b"file:x.mp3",
        b"fd:0.mp3",
        b"?*[a].mp3",
        "жарко 熱い.mp3".encode(),
    ],
)
def test_odd_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = read(DATA / "askyel.mp3").samples
    with open(name, "wb") as file:
        file.write((DATA / "askyel.mp3").read_bytes())
    assert (read(name).samples == expected).all()
    assert (read(os.fsdecode(name)).samples == expected).all()
    assert (read(tmp_path / os.fsdecode(name)).samples == expected).all()
    os.truncate(name, 0)
    raises(UnreadableAudioError, name, "is empty")


def test_content_counts_not_the_name(tmp_path):
    for clip in ("zeropage.flac", "savino.ogg", "marino.m4a", "domina.wv"):
        for name in ("a.mp3", "a.txt", "a.jpg", "a"):
            (tmp_path / name).write_bytes((DATA / clip).read_bytes())
            assert (read(tmp_path / name).samples == read(DATA / clip).samples).all()


def test_tags_need_not_be_utf8(tmp_path):
    data = (DATA / "savino.ogg").read_bytes()
    assert data.count(b"Palace") == 1
    page = bytearray(data)
    page[data.index(b"Palace") : data.index(b"Palace") + 6] = b"P\xe4l\xe4st"
    (tmp_path / "a.ogg").write_bytes(page)
    flac = bytearray((DATA / "zeropage.flac").read_bytes())
    at = flac.index(b"Ambiphonic")
    flac[at : at + 2] = b"\xff\xfe"
    (tmp_path / "a.flac").write_bytes(flac)
    assert (read(tmp_path / "a.flac").samples == read(DATA / "zeropage.flac").samples).all()


def test_a_cover_does_not_disturb(mp3, tmp_path):
    body = b"\0image/png\0\x03\0" + png(1024)
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    data = mp3.read_bytes()
    data = data[data.index(b"\xff\xfb") :]  # without its own tag
    (tmp_path / "a.mp3").write_bytes(b"ID3\x03\0\0" + size + frame + data)
    with av.open(os.fspath(tmp_path / "a.mp3")) as container:
        assert len(container.streams.video) == 1
    assert (read(tmp_path / "a.mp3").samples == read(mp3).samples).all()
    assert (read_excerpt(tmp_path / "a.mp3", 5).samples == read_excerpt(mp3, 5).samples).all()


# Manners


def test_libav_prints_nothing(flac, mp3, tmp_path, capfd):
    for number, path in enumerate([flac, mp3, *CLIPS]):
        bad = damaged(path, tmp_path / f"{number}{path.suffix}", 0.3, 0.6)
        with contextlib.suppress(AudioError):
            read(bad)
            read_excerpt(bad, 1.5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fails_from", [0, 40_000])
def test_a_failing_disk_is_an_error_and_no_noise(fails_from, flac, monkeypatch, capfd):
    class Failing(io.FileIO):
        def read(self, size=-1):
            if self.tell() >= fails_from:
                raise OSError(5, "Input/output error")
            return super().read(size)

    class File(container._File, Failing):  # in this order of calls
        pass

    monkeypatch.setattr(container, "_File", File)
    with pytest.raises(UnreadableAudioError):
        read_excerpt(flac, 5)
    assert capfd.readouterr() == ("", "")


def test_offsets_that_cannot_be_are_an_error_and_no_noise(tmp_path, capfd):
    rng = np.random.default_rng(3)
    for _ in range(150):  # among wrong heads are some with offsets before the file
        data = bytearray((DATA / "macklin.aiff").read_bytes())
        for at in rng.integers(0, 400, 20):
            data[at] = rng.integers(256)
        (tmp_path / "a.aiff").write_bytes(data)
        with contextlib.suppress(AudioError):
            read_excerpt(tmp_path / "a.aiff", 2)
    assert container._File(DATA / "macklin.aiff").seek(-5) == -1
    assert capfd.readouterr() == ("", "")


HOSTILE = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:0\n"
    "#EXTINF:5,\n{target}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT5S"><Period><AdaptationSet mimeType="audio/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=audio 9 TCP/RTP/AVP 0\na=control:{target}\n",
    "m3u": "#EXTM3U\n{target}\n",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "rtsp": "RTSPtext\n{target}\n",
    "imf": '<AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><Path>{target}</Path>'
    "</AssetMap>",
}


@pytest.mark.parametrize("protocols_alone", [False, True], ids=["all", "protocols-alone"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_opens_nothing_else(kind, protocols_alone, tmp_path, monkeypatch):
    secret = tmp_path / "secret.wav"
    secret.write_bytes((DATA / "muncheybobo.wav").read_bytes())
    if protocols_alone:  # the ban on protocols must hold without the other two defences

        class Named(container._File):
            def __init__(self, path):
                super().__init__(path)
                self.name = os.fspath(path)

        monkeypatch.setattr(container, "_File", Named)
        monkeypatch.setattr(container, "CONTAINERS", ",".join(av.formats_available))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        port = server.getsockname()[1]
        for target in (
            f"http://127.0.0.1:{port}/a.ts",
            f"tcp://127.0.0.1:{port}",
            f"rtsp://127.0.0.1:{port}/a",
            secret.as_uri(),
            str(secret),
            secret.name,
        ):
            for name in ("song.mp3", "song.m3u8"):
                (tmp_path / name).write_text(HOSTILE[kind].format(target=target))
                with pytest.raises(AudioError):
                    read(tmp_path / name)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_many_threads_at_a_time():
    paths = [path for path in CLIPS for _ in range(4)]
    alone = {path: read_excerpt(path, 2).samples for path in CLIPS}
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda path: read_excerpt(path, 2), paths)
        for path, result in zip(paths, results, strict=True):
            assert (result.samples == alone[path]).all()


def test_a_file_takes_one_codec_thread():
    with container.opened(DATA / "zeropage.flac") as (_, stream):
        assert stream.codec_context.thread_count == 1
