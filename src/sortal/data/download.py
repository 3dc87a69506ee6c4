"""Downloading an official file: to a temporary name, resumed by a later call, kept only if its checksum is right."""

import contextlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from sortal.data.official import OfficialFile, md5_of
from sortal.errors import DataError, MachineFailed
from sortal.events import Observer, Progress, ignore
from sortal.files import full_disk_explained, stands_at, sync

ATTEMPTS = 3  # for each address; each goes on where the last one stopped
SECONDS_OF_SILENCE = 30
BLOCK = 1 << 18
UNFINISHED = ".part"


def fetch(files: Sequence[OfficialFile], folder: Path, *, observe: Observer = ignore) -> Path:
    """Have all files in the folder, downloading those that are not; returns the folder.

    Files that are there already are used if they are the published ones. Raises `DataError` where one is not, and where
    nothing could be had; `MachineFailed` where a connection broke off: what came stays, and the next call goes on from it.
    """
    for number, file in enumerate(files):
        _fetch_one(file, folder, observe, files[number:])
    return folder


def _fetch_one(file: OfficialFile, folder: Path, observe: Observer, lacking: Sequence[OfficialFile]) -> None:
    place = folder / file.name
    if place.exists():
        _check(place, file)
        return
    part = place.with_name(place.name + UNFINISHED)
    with _alone(part):
        if place.exists():  # another process has fetched it meanwhile
            _check(place, file)
            return
        problems = []
        for url in file.urls:
            if (problem := _from_address(url, part, file, observe)) is None:
                sync(part)
                part.replace(place)
                sync(folder)
                return
            problems.append(f"{url}: {problem}")
        raise _failure(file, part, problems, lacking)


def _from_address(url: str, part: Path, file: OfficialFile, observe: Observer) -> str | None:
    """Have the whole file in `part`; returns why not, and leaves what may be its beginning."""
    problem = None
    for _ in range(ATTEMPTS):
        begun = _size(part)
        try:
            _download(url, part, file.name, observe)
        except MachineFailed:
            raise
        except (OSError, http.client.HTTPException) as error:
            problem = _reason(error)
            if _size(part) > begun:
                continue  # it came a little way: another attempt may bring the rest
            return problem
        if (found := md5_of(part)) == file.md5:
            return None
        problem = f"MD5 {found} instead of the published {file.md5}"
        os.truncate(part, 0)
        if not begun:
            return problem  # only one that went on from an old beginning deserves another attempt
    return problem


def _check(place: Path, file: OfficialFile) -> None:
    if (found := md5_of(place)) != file.md5:
        raise DataError(
            f"{place} is not the published file: its MD5 is {found}, not {file.md5}",
            hint="remove it, and it will be downloaded again",
        )


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Hold the temporary file, after waiting for any other process that does; leave neither it nor folders of ours empty."""
    import fcntl

    folder = part.parent
    ours = [place for place in (folder, *folder.parents) if not place.exists()]
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = part.open("ab")
        except FileNotFoundError:
            continue  # who held it found nothing and took the folder away
        fcntl.flock(held, fcntl.LOCK_EX)
        if stands_at(part, held):
            break
        held.close()  # who held it has finished: look again
    with held:
        try:
            yield
        finally:
            if part.exists() and not _size(part):
                part.unlink()
            with contextlib.suppress(OSError):
                for place in ours:
                    place.rmdir()  # which works on an empty one only


def _download(url: str, part: Path, name: str, observe: Observer) -> None:
    """Append to `part` what it lacks; start afresh where the server cannot go on from there."""
    have = _size(part)
    # What is compressed stays so: the checksum is that of the file as it is published.
    headers = {"User-Agent": "sortal", "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS_OF_SILENCE)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            error.close()
            return  # nothing lies beyond what we have; the checksum says whether that is all
        raise
    with answer, full_disk_explained(part):
        if have and not (answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        with part.open("ab" if have else "wb") as file:
            _copy(answer, file, have, total, f"downloading {name}", observe)


def _copy(answer: IO[bytes], file: IO[bytes], have: int, total: int | None, what: str, observe: Observer) -> None:
    while block := answer.read(BLOCK):
        file.write(block)
        have += len(block)
        observe(Progress(what, _kilobytes(have), None if total is None else _kilobytes(total), "kB"))
    if total is not None and have < total:
        raise ConnectionError(f"the connection ended after {have:,} of {total:,} bytes")


def _kilobytes(count: int) -> int:
    return -(-count // 1000)


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(getattr(error.reason, "strerror", None) or error.reason)
    return str(error) or type(error).__name__


def _failure(
    file: OfficialFile, part: Path, problems: Sequence[str], lacking: Sequence[OfficialFile]
) -> DataError | MachineFailed:
    message = "\n  ".join([f"{file.name} could not be downloaded:", *problems])
    files = ", ".join(f"{one.name} (MD5 {one.md5})" for one in lacking)
    by_hand = f"put {files} into {part.parent}, or name the folder of the official files with --from"
    if _size(part):
        return MachineFailed(message, hint=f"run it again to go on from {_size(part):,} bytes; or {by_hand}")
    return DataError(message, hint=f"without a network, {by_hand}")
