"""Downloading an official file: to a temporary name, resumed by a later call, kept only if its checksum is right."""

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sortal.data.official import OfficialFile, md5_of
from sortal.errors import DataError, MachineFailed
from sortal.events import Observer, Progress, ignore
from sortal.files import full_disk_explained, sync

ATTEMPTS = 3  # for each address; each goes on where the last one stopped
SECONDS_OF_SILENCE = 30
BLOCK = 1 << 18
UNFINISHED = ".part"


def fetch(files: Sequence[OfficialFile], folder: Path, *, observe: Observer = ignore) -> Path:
    """Have all files in the folder, downloading those that are not; returns the folder.

    Files that are there already are used if they are the published ones. Raises `DataError` where one is not, and where
    nothing could be had; `MachineFailed` where a connection broke off: what came stays, and the next call goes on from it.
    """
    for file in files:
        _fetch_one(file, folder, observe)
    return folder


def _fetch_one(file: OfficialFile, folder: Path, observe: Observer) -> None:
    place = folder / file.name
    if place.exists():
        if md5_of(place) != file.md5:
            raise DataError(
                f"{place} is not the published file: its MD5 is {md5_of(place)}, not {file.md5}",
                hint="remove it, and it will be downloaded again",
            )
        return
    part = place.with_name(place.name + UNFINISHED)
    problems = []
    for url in file.urls:
        for _ in range(ATTEMPTS):
            begun = _size(part)
            try:
                _download(url, part, file.name, observe)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, MachineFailed):
                    raise
                problems.append(f"{url}: {_reason(error)}")
                if _size(part) > begun:
                    continue  # it came a little way: another attempt may bring the rest
                break
            if (found := md5_of(part)) == file.md5:
                sync(part)
                part.replace(place)
                sync(folder)
                return
            part.unlink()
            problems.append(f"{url}: MD5 {found} instead of the published {file.md5}")
            if not begun:
                break  # what was whole and fresh is wrong; only a resumed one deserves another attempt
    raise _failure(file, place, part, list(dict.fromkeys(problems)))


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
        part.parent.mkdir(parents=True, exist_ok=True)
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


def _failure(file: OfficialFile, place: Path, part: Path, problems: Sequence[str]) -> DataError | MachineFailed:
    message = "\n  ".join([f"{file.name} could not be downloaded:", *problems])
    by_hand = f"put {file.name} (MD5 {file.md5}) into {place.parent}, or name the folder where it is with --from"
    if part.exists():
        return MachineFailed(message, hint=f"run it again to go on from {_size(part):,} bytes; or {by_hand}")
    return DataError(message, hint=f"without a network, {by_hand}")
