"""Files of all kinds become the right samples, from any place."""

import os
import resource
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from sounds import (
    RATE,
    apart,
    damaged,
    encode,
    noise_and_chirp,
    pitch,
    place,
    png,
    raises,
    tone,
    write_dsf,
)

from agf_core.audio import container
from agf_core.audio.decode import UnreadableAudioError, read, read_excerpt

DATA = Path(__file__).parents[1] / "data"
CLIPS = sorted(path for path in DATA.iterdir() if path.suffix != ".md")
LAYOUTS = ["mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1"]

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
def test_a_format_is_decoded_and_sought_exactly(name, sound, mono, tmp_path):
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


def test_frequencies_above_the_new_rate_are_removed_not_aliased(tmp_path):
    path = tmp_path / "high.wav"
    encode(path, tone(30_000, 2, 96_000)[np.newaxis], 96_000, "pcm_f32le", "wav", "mono")
    assert np.abs(read(path).samples[500:-500]).max() < 1e-3


def test_the_sample_rate_can_be_chosen(flac, mono):
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
    if path.suffix == ".mpc":  # its middle, since libav seeks to a wrong position
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


def test_damage_in_a_piece_is_reported(flac, tmp_path):
    path = damaged(flac, tmp_path / "a.flac", 0.5, 0.52)
    assert read_excerpt(path, 4, pieces=4).lost == 0  # it lies between them
    result = read_excerpt(path, 15, pieces=3)
    assert 0.3 < result.lost < 1.5
    assert result.seconds == pytest.approx(15 - result.lost, abs=0.05)


def test_a_frame_that_begins_where_reading_does_is_not_lost(flac, monkeypatch):
    """Sums of times are a hair off, which cost a second reading from the file's beginning."""
    opened = []
    whole = container._open_file
    monkeypatch.setattr(container, "_open_file", lambda path: opened.append(path) or whole(path))
    starts = [k * 4608 / RATE for k in range(10, 180, 3)]
    for start in starts:
        read(flac, start=start, seconds=1)
    assert len(opened) == len(starts)


def test_reading_stops_at_the_end(flac):
    result = read(flac, start=17, seconds=30)
    assert result.seconds == pytest.approx(3, abs=1e-3)
    assert result.lost == 0


def test_a_half_copied_file_gives_its_first_half(flac, mono, tmp_path):
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


def test_many_threads_at_a_time():
    paths = [path for path in CLIPS for _ in range(4)]
    alone = {path: read_excerpt(path, 2).samples for path in CLIPS}
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda path: read_excerpt(path, 2), paths)
        for path, result in zip(paths, results, strict=True):
            assert (result.samples == alone[path]).all()


def test_a_file_takes_one_codec_thread():
    with container.AudioFile(DATA / "zeropage.flac") as file:
        assert file.stream.codec_context.thread_count == 1
