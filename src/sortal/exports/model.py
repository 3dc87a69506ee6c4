"""An export on the disk: a folder whose members are checked by list, size and SHA-256 before any of them is parsed."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortal import sealed
from sortal.errors import BundleError, UnknownName
from sortal.exports import KINDS, kind_of
from sortal.exports.kind import Answers
from sortal.files import write_bytes
from sortal.preprocess import Preprocess
from sortal.sealed import Seal

FORMAT = 1
ABOUT = "export.json"
README = "README.md"
SEAL = Seal("export", ABOUT, "sortal export")


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
        about = SEAL.read(path)
        try:
            if about["format"] != FORMAT:
                raise BundleError(
                    f"{path} has export format {str(about['format'])[:40]!r}", hint="use the version of sortal that wrote it"
                )
            SEAL.check(path, about["members"])
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
            raise BundleError(f"{path / ABOUT} is damaged: {error!r}", hint=SEAL.cure) from error

    def open(self, *, trusted: bool = False) -> AbstractContextManager[Answers]:
        """The model in its own runtime: from stored pixels, uint8 (N, R, R, C), to what it tells of them.

        Raises `BundleError` for what a stranger's export must not hold. Files of a kind that can hold code are opened only if
        whoever wrote them is `trusted`.
        """
        kind = kind_of(self.kind)
        if kind.holds_code and not trusted:
            raise BundleError(
                f"{self.path} is a {self.kind} export, which can hold code", hint="take another kind, or open it as trusted"
            )
        return kind.open(self.path, self.about)


def seal(folder: Path, about: Mapping[str, Any]) -> Export:
    """Write `export.json` beside members that are all there; from here on a changed byte is noticed."""
    write_bytes(folder / ABOUT, sealed.text({"format": FORMAT, **about}, sealed.listed(folder)))
    return Export.load(folder)
