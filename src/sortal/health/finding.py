"""A finding: one thing that is wrong, or may be, with a data set; in numbers and plain words, with its cure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal[
    "unreadable", "placeholder", "copies", "copies-across-splits", "copies-with-other-label", "label", "imbalance",
    "classes-alike", "shortcut", "drift", "quality", "few-images",
]  # fmt: skip
Severity = Literal["note", "warning", "severe"]

NAMED = 5  # examples in a sentence; `images` holds all of them


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding about a data set.

    Attributes:
        kind: what was found, one of the contract's words.
        severity: 'note' (good to know), 'warning' (look at it), 'severe' (a score would not mean what it says).
        images: sources of the images concerned; none where it concerns a class as a whole.
        detail: numbers and names, as a sentence.
        cure: what to do about it.
        proposed: of wrong labels, the label that each of `images` would have; else empty.
        groups: of copies, which of `images` show the same picture; else empty.
    """

    kind: Kind
    severity: Severity
    images: tuple[str, ...]
    detail: str
    cure: str
    proposed: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The contract's keys; `proposed` and `groups` where they say something."""
        values = {**asdict(self), "images": list(self.images), "proposed": list(self.proposed)}
        values["groups"] = [list(group) for group in self.groups]
        return {key: value for key, value in values.items() if value or key not in ("proposed", "groups")}


def some(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    rest = len(names) - NAMED
    return "; ".join(names[:NAMED]) + (f"; and {rest:,} more" if rest > 0 else "")


def counted(count: int, noun: str) -> str:
    """'1 image', '2 images', '3 classes'.

    >>> counted(1, "image"), counted(2_000, "class")
    ('1 image', '2,000 classes')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"
