"""A sealed folder: files that a JSON file beside them lists by name, size and SHA-256, checked before any of them is parsed."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortal.errors import BundleError

# No folder of ours comes near these; they bound what a hostile one can make us read.
LARGEST_ABOUT = 16 << 20
LARGEST_MEMBER = 16 << 30
MOST_MEMBERS = 64


@dataclass(frozen=True, slots=True)
class Seal:
    """How folders of one sort are sealed.

    Attributes:
        what: 'bundle', 'export': how errors call such a folder.
        about: the name of the JSON file that lists the members.
        maker: the command that prints where such a folder is.
    """

    what: str
    about: str
    maker: str

    @property
    def cure(self) -> str:
        """What to do about a folder that is refused."""
        return f"the {self.what} was changed after it was written; make it again with `{self.maker}`"

    def read(self, folder: Path) -> dict[str, Any]:
        """What the JSON file says; raises `BundleError` if it is not there, too large, or no object."""
        path = folder / self.about
        # A pipe in its place would be waited for, a link could lead anywhere: like members, it must be a file.
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{folder} holds no {self.what}", hint=f"name the folder that `{self.maker}` printed")
        try:
            if path.stat().st_size > LARGEST_ABOUT:
                raise BundleError(f"{path} is larger than any {self.what}'s", hint=self.cure)
            about = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"{path} is damaged: {error}", hint=self.cure) from error
        if not isinstance(about, dict):
            raise BundleError(f"{path} is damaged: not an object", hint=self.cure)
        return about

    def check(self, folder: Path, members: Any) -> None:
        """Raise `BundleError` unless the folder holds just these members, unchanged; `ValueError` if it is no list of them."""
        if not isinstance(members, dict) or not 1 <= len(members) <= MOST_MEMBERS:
            raise ValueError("members must be an object of a few files")
        plain = all(name and name not in (".", "..", self.about) and not set(name) & {"/", "\\", "\0"} for name in members)
        if not plain:  # before any of them is looked at: a name is no path
            raise BundleError(f"{folder / self.about} lists a member that is no plain name", hint=self.cure)
        extra = set(os.listdir(folder)) - set(members) - {self.about}
        if extra:
            raise BundleError(f"{folder} holds files that are not listed: {', '.join(sorted(extra))}", hint=self.cure)
        for name in sorted(members):
            self._check_member(folder / name, int(members[name]["bytes"]), str(members[name]["sha256"]))

    def _check_member(self, path: Path, size: int, digest: str) -> None:
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path} is missing", hint=self.cure)
        found = path.stat().st_size
        if found != size or not 0 <= size <= LARGEST_MEMBER:
            raise BundleError(f"{path} has {found:,} bytes, not the {size:,} it was written with", hint=self.cure)
        if sha256(path) != digest:
            raise BundleError(f"{path} has changed since it was written (its SHA-256 differs)", hint=self.cure)


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Every file of a folder as the JSON file will list it."""
    return {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in sorted(folder.iterdir())}


def text(about: Mapping[str, Any], members: Mapping[str, Any]) -> bytes:
    """The JSON file."""
    return json.dumps({**about, "members": members}, indent=2, ensure_ascii=False).encode() + b"\n"


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
