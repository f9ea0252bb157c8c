"""Fetch FMA: archives with resume and checksum, unpacked.

    python -m training.datasets.fma_download medium --to fma

leaves ``fma/fma_metadata`` and ``fma/fma_medium`` beside their archives. Stopped at any point and
started again it goes on where it was; what is there already is checked and kept. The archives may
be deleted once everything is unpacked, but a later run would fetch them again. Addresses and
checksums are those that the authors published, https://github.com/mdeff/fma.
"""

import argparse
import shutil
import sys
import zipfile
import zlib
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from agf_core.errors import AgfError, shown
from agf_core.utils import atomic
from training.cli import one_line_errors

BASE_URL = "https://os.unil.cloud.switch.ch/fma/"
SHA1 = {
    "metadata": "f0df49ffe5f2a6008d7dc83c6915b31835dfe733",  # 0.3 GiB
    "small": "ade154f733639d52e35e32f5593efe5be76c6d70",  # 7 GiB
    "medium": "c67b69ea232021025fca9231fc1c7c1a063ab50b",  # 22 GiB
    "large": "497109f4dd721066b5ce5e5f250ec604dc78939e",  # 93 GiB
    "full": "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab",  # 879 GiB
}
TIMEOUT_SECONDS = 60  # without a byte
CHUNK_BYTES = 1 << 16  # written at a time


class DownloadError(AgfError):
    """Something could not be fetched or unpacked; the message is a line with a remedy."""


def fetch(name: str, folder: Path, sha1: str, base: str = BASE_URL) -> Path:
    """Fetch an archive, or go on fetching it.

    What has come is kept as ``NAME.partial`` until it is whole and its checksum right. An archive
    that is there and has another checksum is taken for the beginning of the right one; if that
    turns out wrong, it is fetched anew.

    Parameters
    ----------
    name : str
        Of the file, below `base` and in `folder`.
    sha1 : str
        In hexadecimal.

    Raises
    ------
    DownloadError
        When it cannot be fetched, or comes with another checksum.
    """
    archive, partial = folder / name, folder / f"{name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if archive.exists():
            if _sha1(archive) == sha1:
                return archive
            archive.replace(partial)
        resumed = partial.exists()
        _receive(f"{base.rstrip('/')}/{name}", partial)
        if _sha1(partial) == sha1:
            return partial.replace(archive)
        partial.unlink()
    except requests.RequestException as error:
        reason = error if isinstance(error, requests.HTTPError) else type(error).__name__
        raise DownloadError(
            f"{name} could not be fetched from {base} ({reason}); what has come is kept:"
            " run the command again to go on, or give another address with --base"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{name} could not be stored ({error}); what has come is kept:"
            " mend that, or give another folder with --to"
        ) from error
    if resumed:
        return fetch(name, folder, sha1, base)
    raise DownloadError(
        f"{name} as it came from {base} is truncated or another file (its SHA-1 is not {sha1})"
        " and was deleted; try again later, or another address with --base"
    )


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive, or go on unpacking it.

    Files appear whole or not at all; those that are there with the right size are kept.

    Returns
    -------
    Path
        The folder in `folder` that has the name of the archive: everything is inside it.

    Raises
    ------
    DownloadError
        When the archive is damaged, does not fit on the disk, or holds a path outside its folder.
    """
    target = folder / archive.stem
    inside = target.resolve()
    try:
        with zipfile.ZipFile(archive) as packed:
            members = {folder / m.filename: m for m in packed.infolist() if not m.is_dir()}
            for path in members:
                if inside not in path.resolve().parents:
                    raise DownloadError(
                        f"{shown(archive)} would write outside of {shown(target)}"
                        f" ({members[path].filename!r}): nothing was unpacked; delete it"
                    )
            missing = {
                path: member
                for path, member in members.items()
                if not path.is_file() or path.stat().st_size != member.file_size
            }
            _check_space(folder, sum(member.file_size for member in missing.values()))
            for path, member in tqdm(missing.items(), desc=archive.name, unit="file"):
                with packed.open(member) as source, atomic.written(path, durable=False) as file:
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(
            f"{shown(archive)} is truncated or damaged ({error}); delete it and fetch it anew"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{shown(archive)} could not be unpacked ({error}); what is there is kept:"
            " mend that, and run the command again"
        ) from error
    return target


def _receive(url: str, partial: Path) -> None:
    """Append to a file what it lacks of an address; broken connections are taken up again.

    Raises
    ------
    requests.RequestException
        When an attempt brings nothing.
    """
    while True:
        size = partial.stat().st_size if partial.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if size:
            headers["Range"] = f"bytes={size}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                if answer.headers.get("Content-Range") == f"bytes */{size}":
                    return  # it was whole
                partial.unlink()
                continue
            answer.raise_for_status()
            start = size if answer.status_code == requests.codes.partial_content else 0
            left = int(answer.headers.get("Content-Length", 0))
            _check_space(partial.parent, left - (size - start))
            try:
                with (
                    partial.open("ab" if start else "wb") as file,
                    tqdm(
                        desc=partial.stem,
                        initial=start,
                        total=start + left or None,
                        unit="B",
                        unit_scale=True,
                    ) as progress,
                ):
                    for chunk in answer.iter_content(CHUNK_BYTES):
                        progress.update(file.write(chunk))
                return
            except requests.RequestException:
                if partial.stat().st_size <= size:
                    raise


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{shown(folder)} has {free / 2**30:.1f} GiB free, but {needed / 2**30:.1f} are needed;"
            " make room, or give another folder with --to"
        )


def _sha1(path: Path) -> str:
    tqdm.write(f"checking {path.name}", file=sys.stderr)  # a minute for 22 GiB
    return str(pooch.file_hash(str(path), alg="sha1"))


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Fetch and unpack FMA.")
    parser.add_argument("what", choices=SHA1, help="a subset, and the metadata with it")
    parser.add_argument("--to", type=Path, required=True, help="folder to fill")
    parser.add_argument("--base", default=BASE_URL, help="address to fetch from (%(default)s)")
    arguments = parser.parse_args()
    for what in dict.fromkeys(("metadata", arguments.what)):
        archive = fetch(f"fma_{what}.zip", arguments.to, SHA1[what], arguments.base)
        print(f"{shown(unpack(archive, arguments.to))} is complete")


if __name__ == "__main__":
    main()
