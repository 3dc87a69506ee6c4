"""An export on the disk: a folder whose members are checked by list, size and SHA-256 before any of them is parsed."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortal.errors import BundleError, UnknownName
from sortal.exports import KINDS, kind_of
from sortal.exports.kind import Answers
from sortal.files import write_bytes
from sortal.preprocess import Preprocess

FORMAT = 1
ABOUT = "export.json"
README = "README.md"
# No export of ours comes near these; they bound what a hostile one can make us read.
LARGEST_ABOUT = 16 << 20
LARGEST_MEMBER = 16 << 30
MOST_MEMBERS = 64
REFUSED = "the export was changed after it was written; make it again with `sortal export`"


@dataclass(frozen=True, slots=True)
class Export:
    """An export that has been checked.

    Attributes:
        path: its folder.
        kind: one of `KINDS`.
        precision: 'float32', 'float16', 'bfloat16' or 'int8'.
        classes: names in index order.
        preprocess: how an image becomes the pixels that it takes.
        about: all of `export.json`: what the model says of itself, and the table that proved it.
    """

    path: Path
    kind: str
    precision: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    about: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> "Export":
        """Check an export; raises `BundleError` if a member is missing, extra or changed. Nothing of it is parsed or run."""
        about = _read_about(path / ABOUT)
        try:
            if about["format"] != FORMAT:
                raise BundleError(
                    f"{path} has export format {str(about['format'])[:40]!r}", hint="use the version of sortal that wrote it"
                )
            _check_members(path, about["members"])
            kind, precision, model = about["kind"], about["precision"], about["model"]
            if kind not in KINDS or precision not in kind_of(kind).precisions:
                raise ValueError(f"there is no {str(kind)[:40]!r} in {str(precision)[:40]!r}")
            strings = isinstance(model, list) and all(name in about["members"] for name in model)
            if not strings or not model:
                raise ValueError("its model is not among its members")
            classes = about["classes"]
            strings = isinstance(classes, list) and bool(classes) and all(isinstance(name, str) for name in classes)
            if not strings or len(set(classes)) != len(classes):
                raise ValueError("classes must be a list of different names")
            return cls(path, kind, precision, tuple(classes), Preprocess.from_dict(about["preprocess"]), about)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, UnknownName) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"{path / ABOUT} is damaged: {error!r}", hint=REFUSED) from error

    def open(self) -> AbstractContextManager[Answers]:
        """The model in its own runtime: stored pixels, uint8 (N, R, R, C), to probabilities, float32 (N, K)."""
        return kind_of(self.kind).open(self.path, self.about)


def seal(folder: Path, about: Mapping[str, Any]) -> Export:
    """Write `export.json` beside members that are all there; from here on a changed byte is noticed."""
    listed = {}
    for place in sorted(folder.iterdir()):
        with place.open("rb") as file:
            listed[place.name] = {
                "bytes": place.stat().st_size,
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }
    text = json.dumps({"format": FORMAT, **about, "members": listed}, indent=2, ensure_ascii=False)
    write_bytes(folder / ABOUT, text.encode() + b"\n")
    return Export.load(folder)


def _read_about(path: Path) -> dict[str, Any]:
    # A pipe in its place would be waited for, a link could lead anywhere: like members, it must be a file.
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path.parent} holds no export", hint="name the folder that `sortal export` printed")
    try:
        if path.stat().st_size > LARGEST_ABOUT:
            raise BundleError(f"{path} is larger than any export's", hint=REFUSED)
        about = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path} is damaged: {error}", hint=REFUSED) from error
    if not isinstance(about, dict):
        raise BundleError(f"{path} is damaged: not an object", hint=REFUSED)
    return about


def _check_members(path: Path, members: Any) -> None:
    if not isinstance(members, dict) or not 1 <= len(members) <= MOST_MEMBERS:
        raise ValueError("members must be an object of a few files")
    plain = all(name and name not in (".", "..", ABOUT) and not set(name) & {"/", "\\", "\0"} for name in members)
    if not plain:  # before any of them is looked at: a name is no path
        raise BundleError(f"{path / ABOUT} lists a member that is no plain name", hint=REFUSED)
    extra = set(os.listdir(path)) - set(members) - {ABOUT}
    if extra:
        raise BundleError(f"{path} holds files that are not listed: {', '.join(sorted(extra))}", hint=REFUSED)
    for name in sorted(members):
        _check_member(path / name, int(members[name]["bytes"]), str(members[name]["sha256"]))


def _check_member(path: Path, size: int, digest: str) -> None:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path} is missing", hint=REFUSED)
    found = path.stat().st_size
    if found != size or not 0 <= size <= LARGEST_MEMBER:
        raise BundleError(f"{path} has {found:,} bytes, not the {size:,} it was written with", hint=REFUSED)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise BundleError(f"{path} has changed since it was written (its SHA-256 differs)", hint=REFUSED)
