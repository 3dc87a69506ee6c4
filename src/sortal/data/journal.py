"""The journal of marks: each is a line that the disk holds before it counts, so that no kill and no full disk takes one back.

Each line is a JSON object: `on` (which version of the manifest, with its SHA-256) and `marks` (source to what is decided
about it now, or null where nothing is any more); or `saved`, the version that holds all marks above.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sortal.data.marks import Mark
from sortal.errors import DataError
from sortal.files import append, sync

HINT = "free some room, then mark it again; all that was marked before is kept"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a manifest: its file's name and content."""

    name: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "Version":
        """The version that stands at `path` now."""
        with path.open("rb") as file:
            return cls(path.name, hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True, slots=True)
class Kept:
    """What a journal holds: marks that are in no version yet, by source, what they were laid on, and whether a last line was
    half written.
    """

    marks: dict[str, Mark] = field(default_factory=dict)
    on: Version | None = None
    torn: bool = False


def read(path: Path) -> Kept:
    """What the journal holds; one that is not there holds nothing.

    A line counts when its end is on the disk: what a kill left of a last one is cut off, for whoever holds the run alone.
    Raises `DataError` for any other line that says nothing.
    """
    data = path.read_bytes() if path.exists() else b""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    if not lines[-1]:
        lines.pop()
    marks: dict[str, Mark] = {}
    on: Version | None = None
    whole = 0
    for number, line in enumerate(lines, start=1):
        entry = _parsed(line)
        if entry is None and number == len(lines):
            _cut(path, whole)
            return Kept(marks, on, torn=True)
        if entry is None:
            raise DataError(f"line {number} of {path} says nothing", hint="mend or remove that line; the others are kept")
        whole += len(line)
        if isinstance(entry, Version):
            marks, on = {}, None
            continue
        on, changed = entry
        for source, mark in changed.items():
            marks.pop(source, None)  # so that the last one marked stands last
            if mark is not None:
                marks[source] = mark
    return Kept(marks, on)


def add_marks(path: Path, on: Version, changed: Mapping[str, Mark | None]) -> None:
    """Have the disk hold what is decided about these images now; raises `MachineFailed`, after which none of it counts."""
    marks = {source: None if mark is None else _plain(mark) for source, mark in changed.items()}
    _add(path, {"on": {"version": on.name, "sha256": on.sha256}, "marks": marks})


def add_saved(path: Path, version: Version) -> None:
    """Have the disk hold that a version has all marks up to here."""
    _add(path, {"saved": {"version": version.name, "sha256": version.sha256}})


def _add(path: Path, entry: Mapping[str, Any]) -> None:
    append(path, json.dumps(entry, separators=(",", ":")).encode() + b"\n", hint=HINT)


def _cut(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)
    sync(path)


def _plain(mark: Mark) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if mark.labels is not None:
        values["labels"] = list(mark.labels)
    if mark.excluded is not None:
        values["excluded"] = mark.excluded
    if mark.group is not None:
        values["group"] = mark.group
    if mark.back:
        values["back"] = True
    if mark.seen is not None:
        values["seen"] = {"labels": list(mark.seen[0]), "exclusion": mark.seen[1]}
    return values


def _parsed(line: bytes) -> Version | tuple[Version, dict[str, Mark | None]] | None:
    """What a line says; None for one that is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
        if "saved" in entry:
            return _version(entry["saved"])
        marks = {source: None if each is None else _mark(each) for source, each in entry["marks"].items()}
        return _version(entry["on"]), marks
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _version(values: Mapping[str, Any]) -> Version:
    return Version(str(values["version"]), str(values["sha256"]))


def _mark(values: Mapping[str, Any]) -> Mark:
    labels, group, seen = values.get("labels"), values.get("group"), values.get("seen")
    return Mark(
        labels=None if labels is None else tuple(map(str, labels)),
        excluded=None if values.get("excluded") is None else bool(values["excluded"]),
        group=None if group is None else int(group),
        back=bool(values.get("back")),
        seen=None if seen is None else (tuple(map(str, seen["labels"])), seen["exclusion"]),
    )
