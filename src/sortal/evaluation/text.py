"""The classification report for a terminal: rows of plain data, precision to support, that whoever prints them may
format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line; a score is None where there is none, and `note` then says why."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClassificationReport:
    """A line a class, then the totals: 'accuracy' (in the F1 column, as is the custom), 'macro average', 'weighted
    average'; of several labels an image 'exactly right', 'micro average', 'macro average'.
    """

    classes: tuple[Row, ...]
    totals: tuple[Row, ...]


def classification_report(per_class: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> ClassificationReport:
    """From one split's per-class rows and metrics object.

    Averages go over the classes that have images here; a precision that is not defined (never predicted) counts as 0 in
    them.
    """
    rows = tuple(
        Row(row["class"], row["precision"], row["recall"], row["f1"], row["support"], row["reason"] or "") for row in per_class
    )
    scored = [row for row in rows if row.support]
    images = int(metrics["images"])
    left_out = len(rows) - len(scored)
    note = f"over the {len(scored)} classes with images, {left_out} without left out" if left_out else ""

    def mean(values: Sequence[float | None], weights: Sequence[int]) -> float:
        return sum((value or 0.0) * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)

    def average(name: str, weights: Sequence[int], f1: float, note: str = "") -> Row:
        precision = mean([row.precision for row in scored], weights)
        recall = mean([row.recall for row in scored], weights)
        return Row(name, precision, recall, f1, images, note)

    macro = average("macro average", [1] * len(scored), metrics["macro_f1"], note) if scored else None
    if "subset_accuracy" in metrics:
        low, high = metrics["intervals"]["subset_accuracy"]
        exactly = Row("exactly right", None, None, metrics["subset_accuracy"], images, f"95% interval {low:.3f} to {high:.3f}")
        micro = Row("micro average", None, None, metrics["micro_f1"], images)
        return ClassificationReport(rows, tuple(row for row in (exactly, micro, macro) if row is not None))
    assert macro is not None  # a split that is scored has an image, and so a class
    low, high = metrics["accuracy_interval"]
    return ClassificationReport(
        classes=rows,
        totals=(
            Row("accuracy", None, None, metrics["accuracy"], images, f"95% interval {low:.3f} to {high:.3f}"),
            macro,
            average("weighted average", [row.support for row in scored], metrics["weighted_f1"]),
        ),
    )
