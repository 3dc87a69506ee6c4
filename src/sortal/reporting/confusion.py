"""Confusion for the page: the matrix with its colours, the pairs that are confused most, and what is said of each cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

from sortal.reporting.model import Report

MOST_CLASSES_IN_MATRIX = 200
"""With more classes the matrix would be millions of cells; the page then lists the pairs that are confused most."""
MOST_PAIRS = 10

# Share of a true class's images in a cell at which its colour deepens. Mistakes are few, so the steps start low.
HEAT = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the confusion matrix: a count, its share of the true class's images, and its colour's class."""

    count: int
    heat: str
    told: str


def matrix(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> list[tuple[str, int, list[Cell | None]]]:
    """Rows of name, images and cells (None where the count is 0); empty where there are too many classes to show."""
    if len(classes) > MOST_CLASSES_IN_MATRIX:
        return []
    rows = []
    for true, row in enumerate(counts):
        images = sum(row)
        cells: list[Cell | None] = []
        for guess, count in enumerate(row):
            if not count:
                cells.append(None)
                continue
            level = sum(count / images >= step for step in HEAT)
            told = taken_for(count, images, classes[true], classes[guess])
            cells.append(Cell(count, f"{'r' if guess == true else 'w'}{level}", told if len(counts) <= 40 else ""))
        rows.append((classes[true], images, cells))
    return rows


def taken_for(count: int, images: int, true: str, said: str) -> str:
    """What a cell of the matrix says.

    >>> taken_for(3, 20, "cat", "dog"), taken_for(17, 20, "cat", "cat")
    ('3 of 20 cat taken for dog', '17 of 20 cat recognised')
    """
    return f"{count:,} of {images:,} {true} {'recognised' if said == true else f'taken for {said}'}"


def told(report: Report, cell: Sequence[int]) -> tuple[str, int]:
    """What is said of a cell of the headline's split, as `Report.examples` names it, and its count."""
    row, column = cell
    counts, name = report.confusion[report.headline.split][row], report.classes[row]
    if report.task == "multi_class":
        return taken_for(counts[column], sum(counts), name, report.classes[column]), counts[column]
    (_, wrong), (missed, found) = counts
    spoken = {
        1: f"{wrong:,} without {name} were given it",
        2: f"{missed:,} of {missed + found:,} with {name} were missed",
        3: f"{found:,} of {missed + found:,} with {name} were found",
    }
    return spoken[column], {1: wrong, 2: missed, 3: found}[column]


def pairs(report: Report) -> list[dict[str, Any]]:
    """The pairs of classes that are confused most, by count: label, predicted, cell, count, share of the label's images."""
    found = [
        (count, count / sum(row), true, guess)
        for true, row in enumerate(report.confusion[report.headline.split])
        for guess, count in enumerate(row)
        if count and guess != true
    ]
    return [
        {"label": report.classes[true], "predicted": report.classes[guess], "count": count, "share": share}
        | {"cell": f"{true}-{guess}"}
        for count, share, true, guess in nlargest(MOST_PAIRS, found)
    ]


def label_counts(report: Report) -> list[dict[str, Any]]:
    """For each label: how many images have it and were found or missed, and how many have it not and were given it or not."""
    counts_K22 = report.confusion[report.headline.split]
    return [
        {"label": name, "found": found, "missed": missed, "wrong": wrong, "rest": rest}
        for name, ((rest, wrong), (missed, found)) in zip(report.classes, counts_K22, strict=True)
    ]


def parts(report: Report) -> Mapping[str, Any]:
    """What the part of the page about confusion is made of."""
    if report.task == "multi_label":
        return {"label_counts": label_counts(report)}
    return {"matrix": matrix(report.confusion[report.headline.split], report.classes), "pairs": pairs(report)}
