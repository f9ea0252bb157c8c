"""Files that are damaged, hostile or not audio are decoded where possible, or raise an error."""

import contextlib
import io
import os
import socket
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from sounds import RATE, apart, damaged, encode, film, place, png, raises, tone

from agf_core.audio import container, decode, downmix
from agf_core.audio.decode import (
    AudioError,
    AudioTooShortError,
    NoAudioStreamError,
    UnreadableAudioError,
    read,
    read_excerpt,
)

DATA = Path(__file__).parents[1] / "data"
CLIPS = sorted(path for path in DATA.iterdir() if path.suffix != ".md")


# Damage


def test_damage_in_a_flac_is_skipped_and_reported(flac, mono, tmp_path):
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


def test_damage_in_an_mp3_is_skipped_and_reported(mp3, tmp_path):
    clean = read(mp3)
    result = read(damaged(mp3, tmp_path / "a.mp3", 0.5, 0.55))
    assert 0 < result.lost < 3
    assert 18 < result.seconds < 20
    assert np.isfinite(result.samples).all()
    assert np.abs(result.samples).max() <= downmix.LOUDEST_SAMPLE
    _, likeness = place(clean.samples, result.samples[-6 * RATE :])
    assert likeness > 0.999


def test_a_cut_off_mp3_is_shorter_than_its_header(mp3, tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 2])
    result = read(path)
    assert result.seconds == pytest.approx(10, abs=0.2)
    assert result.lost == pytest.approx(10, abs=0.2)


def ogg_page(page: bytes, later: int) -> bytes:
    """Return a page of Ogg that ends a number of samples later, by its time stamp."""
    (stamp,) = struct.unpack_from("<q", page, 6)
    page = page[:6] + struct.pack("<q", stamp + later) + page[14:22] + bytes(4) + page[26:]
    check = 0
    for byte in page:
        check ^= byte << 24
        for _ in range(8):
            check = (check << 1) ^ (0x104C11DB7 if check >> 31 else 0)
    return page[:22] + struct.pack("<I", check) + page[26:]


def test_time_stamps_that_are_a_little_late_are_no_damage_but_a_missing_page_is(tmp_path):
    clip = DATA / "savino.ogg"
    parts = clip.read_bytes().split(b"OggS")
    pages = [b"OggS" + part for part in parts[1:]]
    late, missing = tmp_path / "late.ogg", tmp_path / "missing.ogg"
    late.write_bytes(b"".join([*pages[:3], ogg_page(pages[3], 1553), *pages[4:]]))
    missing.write_bytes(b"".join([*pages[:3], *pages[4:]]))
    whole, result = read(clip), read(late)
    assert late.read_bytes() != clip.read_bytes()
    assert result.lost == 0
    assert apart(result.samples, whole.samples) == 0
    assert read(missing).lost == pytest.approx(1, abs=0.05)


def test_an_estimated_duration_counts_nothing_as_lost(sound, tmp_path):
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


def test_an_unknown_codec_is_reported(tmp_path):
    data = bytearray((DATA / "muncheybobo.wav").read_bytes())
    data[20:22] = b"\x5e\x77"
    (tmp_path / "a.wav").write_bytes(data)
    raises(UnreadableAudioError, tmp_path / "a.wav", "codec that is not supported")


def test_nan_becomes_silence(tmp_path):
    samples = tone(440, 2, RATE)
    samples[1000:2000] = np.nan
    samples[3000:4000] = np.inf
    path = encode(tmp_path / "a.wav", samples[np.newaxis], RATE, "pcm_f32le", "wav", "mono")
    result = read(path).samples
    assert np.isfinite(result).all()
    assert (result[1000:2000] == 0).all()


# Errors


def test_errors_have_a_common_base():
    for kind in (
        NoAudioStreamError,
        UnreadableAudioError,
        AudioTooShortError,
        decode.SilentAudioError,
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
def test_a_file_without_audio(content, tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    raises(UnreadableAudioError, path, "is not audio|is damaged|cannot be decoded")


def test_pictures_and_silent_films(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "png.mp3").write_bytes(png())
    film(tmp_path / "a.jpg", "mjpeg", "mjpeg", frames=1)
    film(tmp_path / "a.mp4")
    for name in ("a.png", "png.mp3", "a.jpg", "a.mp4"):
        raises(NoAudioStreamError, tmp_path / name, "has no audio stream")


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


def test_impossible_offsets_are_an_error_and_no_noise(tmp_path, capfd):
    rng = np.random.default_rng(3)
    for _ in range(150):  # among wrong heads are some with offsets before the file
        data = bytearray((DATA / "macklin.aiff").read_bytes())
        for at in rng.integers(0, 400, 20):
            data[at] = rng.integers(256)
        (tmp_path / "a.aiff").write_bytes(data)
        with contextlib.suppress(AudioError):
            read_excerpt(tmp_path / "a.aiff", 2)
    with container._File(DATA / "macklin.aiff") as file:
        assert file.seek(-5) == -1
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
