"""A data set as a CSV that refers to its images: path, label, split. A million photographs stay where they are."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sortal.errors import DataError, RunExists
from sortal.files import replacing

HEADER = ("path", "label", "split")

Row = tuple[str, str, str]
"""Path of the image, label, split."""


class _Line:
    """A file for `csv.writer` that hands each line back."""

    def write(self, line: str) -> str:
        return line


def write(to: Path, rows: Iterable[Row]) -> Path:
    """Write the rows as they come, whole or not at all; raises `RunExists` where `to` exists."""
    if to.exists():
        raise RunExists(f"{to} already exists", hint="choose another name, or remove it first")
    with replacing(to) as part, part.open("w", newline="", encoding="utf-8") as file:
        file.writelines(_lines(rows))
    return to


def holds(path: Path, rows: Iterable[Row]) -> bool:
    """Whether a file is what `write` would make of these rows, compared line by line."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return all(file.read(len(line)) == line for line in _lines(rows)) and not file.read(1)
    except (OSError, UnicodeDecodeError):
        return False


def prefix(root: Path, to: Path) -> str:
    """What comes before a path below `root` in a table called `to`: nothing of the way that they share, else all of it."""
    root, folder = root.expanduser().absolute(), to.expanduser().absolute().parent
    way = os.path.relpath(root, folder) if root.is_relative_to(folder) else str(root)
    try:
        way.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the name of {way!r} is not UTF-8, which a CSV must be", hint="rename the folder") from error
    return "" if way == "." else way.replace(os.sep, "/") + "/"


def _lines(rows: Iterable[Row]) -> Iterator[str]:
    writer: Any = csv.writer(_Line(), lineterminator="\n")
    yield writer.writerow(HEADER)
    for row in rows:
        if "|" in row[1] or not row[1].strip():
            raise DataError(
                f"{row[0]}: {row[1]!r} cannot be a label", hint="labels are not empty, and '|' would part two of them"
            )
        yield writer.writerow(row)
