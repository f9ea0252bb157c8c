"""FMA in miniature: archives in its exact layout, real ids of FMA-medium, generated sound."""

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from training.datasets.fma import WITHOUT_AUDIO, read_splits

RATE = 16_000  # hertz
LOOP = 1  # seconds that a clip repeats
FRAME = 576 / RATE  # seconds of an mp3 frame at this rate
CLIP = 30  # seconds
SHORT = "98567"  # a clip of FMA-medium that has half a second
OUTSIDE = ("20", "26", "30")  # tracks of large that are not in medium

COLUMNS = {
    "album": "comments date_created date_released engineer favorites id information listens "
    "producer tags title tracks type",
    "artist": "active_year_begin active_year_end associated_labels bio comments date_created "
    "favorites id latitude location longitude members name related_projects tags website "
    "wikipedia_page",
    "set": "split subset",
    "track": "bit_rate comments composer date_created date_recorded duration favorites genre_top "
    "genres genres_all information interest language_code license listens lyricist number "
    "publisher tags title",
}
GENRES = """\
genre_id,#tracks,parent,title,top_level
2,5271,0,International,2
10,13845,0,Pop,10
12,32923,0,Rock,12
15,34413,0,Electronic,15
17,12706,0,Folk,17
21,8389,0,Hip-Hop,21
25,9261,12,Punk,12
38,38154,0,Experimental,38
45,2469,12,Loud-Rock,12
53,2071,45,Noise-Rock,12
76,7144,10,Experimental Pop,10
100,740,21,Alternative Hip-Hop,21
103,4162,17,Singer-Songwriter,17
181,2140,15,Techno,15
1235,14938,0,Instrumental,1235
"""
# Of every track of a genre all genres; one of several genres in turn.
ALL_GENRES = {
    "Electronic": ["[15]", "[181, 15]"],
    "Experimental": ["[38]"],
    "Folk": ["[17]", "[103, 17]"],
    "Hip-Hop": ["[21]", "[100, 21]"],
    "Pop": ["[10]", "[76, 10]"],
    "Rock": ["[12]", "[25, 12]", "[53, 45, 12]"],
}
BIOGRAPHY = 'She said: "it is\nall, or most, of it, noise".\r\n'


@dataclass(frozen=True)
class Miniature:
    """Where the archives are, and which tracks of medium they hold, in order."""

    metadata: Path
    medium: Path
    track_ids: list[str]


def make(
    folder: Path,
    genres: tuple[str, ...] = ("Electronic", "Folk", "Hip-Hop", "Rock"),
    per_genre: dict[str, int] | None = None,
    *,
    odd: bool = True,
) -> Miniature:
    """Make ``fma_metadata.zip`` and ``fma_medium.zip``.

    An artist has two tracks, on one album. The first half of each part's tracks are in small.

    Parameters
    ----------
    genres : tuple of str
        Of those in `ALL_GENRES`.
    per_genre : dict of str to int
        Tracks of each genre in each part of the official split.
    odd : bool
        Also one of the clips without audio, and a short one.
    """
    counts = per_genre or {"train": 4, "valid": 2, "test": 2}
    published = read_splits()
    chosen: dict[str, tuple[str, str, str]] = {}  # track id -> artist, subset, all genres
    for genre in genres:
        for part, count in counts.items():
            fitting = [
                track_id
                for track_id, row in published.items()
                if (row["genre_top"], row["official"]) == (genre, part)
                and track_id not in (*WITHOUT_AUDIO, SHORT)
            ]
            # Half from the end, where the split by date has its held-out part.
            fitting = fitting[: count - count // 2] + fitting[-(count // 2) :]
            for i, track_id in enumerate(fitting):
                labels = ALL_GENRES[genre]
                chosen[track_id] = (
                    fitting[i - i % 2],
                    "small" if i < count / 2 else "medium",
                    labels[i % len(labels)],
                )
    if odd:
        chosen[WITHOUT_AUDIO[0]] = (WITHOUT_AUDIO[0], "medium", "[15]")
        chosen[SHORT] = (SHORT, "medium", "[21]")
    track_ids = sorted(chosen, key=int)
    rows = [_row(track_id, *chosen[track_id], published[track_id]) for track_id in track_ids]
    rows += [
        _row(
            track_id, track_id, "large", "[76, 103, 10, 17]", {"genre_top": "", "official": "train"}
        )
        for track_id in OUTSIDE
    ]
    metadata, medium = folder / "fma_metadata.zip", folder / "fma_medium.zip"
    with zipfile.ZipFile(metadata, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fma_metadata/README.txt", "Metadata in miniature.\n")
        archive.writestr("fma_metadata/genres.csv", GENRES)
        archive.writestr("fma_metadata/tracks.csv", tracks_csv(rows))
    with zipfile.ZipFile(medium, "w") as archive:
        archive.writestr("fma_medium/README.txt", "Clips in miniature.\n")
        for track_id in track_ids:
            number = int(track_id)
            seconds = {WITHOUT_AUDIO[0]: 0.0, SHORT: 0.5}.get(track_id, CLIP)
            clip = mp3(number, published[track_id]["genre_top"], int(chosen[track_id][0]), seconds)
            archive.writestr(f"fma_medium/{number // 1000:03d}/{number:06d}.mp3", clip)
    return Miniature(metadata, medium, track_ids)


def tracks_csv(rows: list[dict[tuple[str, str], str]]) -> str:
    """Write tracks.csv: two header rows of names, one with the index's name, all columns."""
    columns = [(group, name) for group, names in COLUMNS.items() for name in names.split()]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", *(group for group, _ in columns)])
    writer.writerow(["", *(name for _, name in columns)])
    writer.writerow(["track_id", *("" for _ in columns)])
    for row in sorted(rows, key=lambda row: int(row["track", "id"])):
        writer.writerow([row["track", "id"], *(row.get(column, "") for column in columns)])
    return text.getvalue()


def _row(
    track_id: str, artist: str, subset: str, all_genres: str, published: dict[str, str]
) -> dict[tuple[str, str], str]:
    parts = {"train": "training", "valid": "validation", "test": "test"}
    return {
        ("track", "id"): track_id,
        ("album", "id"): f"{int(artist) + 1_000_000}",
        ("album", "title"): "Untitled, again",
        ("artist", "id"): f"{int(artist) + 2_000_000}",
        ("artist", "name"): f"Artist {artist}",
        ("artist", "bio"): BIOGRAPHY * 10,
        ("set", "split"): parts[published["official"]],
        ("set", "subset"): subset,
        ("track", "genre_top"): published["genre_top"],
        ("track", "genres"): f"[{all_genres.strip('[]').split(',')[0]}]",
        ("track", "genres_all"): all_genres,
        ("track", "title"): f"Title {track_id}",
    }


def mp3(seed: int, genre: str, artist: int, seconds: float) -> bytes:
    """Make a clip whose noise depends on its genre, and whose tone on its artist."""
    rng = np.random.default_rng(seed)
    n = LOOP * RATE
    centre = 400.0 * 1.6 ** sorted(ALL_GENRES).index(genre)  # hertz
    frequencies = np.fft.rfftfreq(n, 1 / RATE)
    spectrum = np.fft.rfft(rng.normal(size=n)) * np.exp(-((frequencies / centre - 1) ** 2) * 20)
    noise = np.fft.irfft(spectrum)
    tone = np.sin(2 * np.pi * (200 + artist % 97 * 10) * np.arange(n) / RATE)
    samples = (0.1 * noise / noise.std() + 0.03 * tone).astype(np.float32)
    with av.open(io.BytesIO(), "w", format="mp3") as container:
        # Without a reservoir of bits every frame stands by itself, so that they can be repeated.
        options = {"compression_level": "9", "reservoir": "0"}
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono", options=options)
        stream.bit_rate = 24_000
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = RATE
        packets = [bytes(packet) for packet in [*stream.encode(frame), *stream.encode(None)]]
    return b"".join((packets * -(-CLIP // LOOP))[: round(seconds / FRAME)])
