"""The page: one HTML file that holds a whole report, opens anywhere without a network, and runs no script."""

import base64
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sortal.errors import DataError, MissingExtra
from sortal.reporting import words
from sortal.reporting.model import Report
from sortal.reporting.telling import TELLINGS

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_CARDS = 48
"""Mistakes shown as cards."""
MOST_INPUTS = 24
"""Training inputs shown."""
MOST_CLASSES_IN_MATRIX = 200
"""With more classes the matrix would be millions of cells; the page then lists the pairs that are confused most."""
MOST_PAIRS = 10
MOST_BYTES = 8 << 20
"""Of pictures in one page; what is beyond is left out and counted."""

# Share of a true class's images in a cell at which its colour deepens. Mistakes are few, so the steps start low.
HEAT = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image for the page: its address (all of it, as a data URI), what it shows, and whether its pixels should stay
    square.
    """

    address: str
    caption: str
    tiny: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the confusion matrix: a count, its share of the true class's images, and its colour's class."""

    count: int
    heat: str
    told: str


def wanted_thumbnails(report: Report) -> list[str]:
    """The sources that `render` shows as cards: make thumbnails of these, 160 to 320 pixels wide."""
    return [mistake["source"] for mistake in report.mistakes[:MOST_CARDS]]


def render(report: Report, *, thumbnails: Mapping[str, bytes] | None = None, inputs: Sequence[tuple[str, bytes]] = ()) -> str:
    """The whole page as text.

    `thumbnails` are JPEG or PNG files by source, for `wanted_thumbnails`; a card without one says so. `inputs` are
    training inputs as the network saw them, (caption, JPEG or PNG file). Pictures beyond 8 MB together are left out.
    All names are treated as hostile: nothing in them becomes markup. Raises `MissingExtra` without jinja2, `DataError`
    for other bytes.
    """
    # Pictures first get their share in the order in which they are shown.
    room = Room(MOST_BYTES)
    cards = [
        {**mistake, "picture": room.picture((thumbnails or {}).get(mistake["source"]), mistake["source"])}
        for mistake in report.mistakes[:MOST_CARDS]
    ]
    shown = [picture for caption, data in inputs[:MOST_INPUTS] if (picture := room.picture(data, caption))]
    telling = TELLINGS[report.task]
    confusion: dict[str, Callable[[Report], Mapping[str, Any]]] = {
        "confusion_classes.html": lambda report: {
            "matrix": matrix(report.confusion[report.headline.split], report.classes),
            "pairs": _pairs(report),
        },
        "confusion_labels.html": lambda report: {"label_counts": _label_counts(report)},
    }
    return (
        environment()
        .get_template("page.html")
        .render(
            report=report,
            css=css(),
            charts=_charts(report) if report.curves else [],
            calibration=_calibration(report),
            telling=telling,
            **confusion[telling.confusion](report),
            cards=cards,
            inputs=shown,
            metrics=[row for row in telling.metrics if any(scores[row[0]] is not None for scores in report.metrics.values())],
            settings=list(flat(report.recipe)),
        )
    )


class Room:
    """Hands out data URIs until the room for pictures is used up."""

    def __init__(self, most: int) -> None:
        self.left = most

    def picture(self, data: bytes | None, caption: str) -> Picture | None:
        if data is None or len(data) * 4 // 3 > self.left:
            return None
        self.left -= len(data) * 4 // 3
        if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
            kind, tiny = "png", struct.unpack(">I", data[16:20])[0] <= 64
        elif data.startswith(b"\xff\xd8\xff"):
            kind, tiny = "jpeg", False
        else:
            raise DataError(f"the picture for {caption!r} is neither JPEG nor PNG", hint="encode it as one of them")
        return Picture(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", caption, tiny)


def environment() -> "Environment":
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtra("Jinja2 (needed for report pages)", "report") from error
    environment = Environment(
        loader=FunctionLoader(lambda name: _asset(name)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    from sortal.reporting.charts import colour

    environment.filters |= {
        "percent": words.percent, "points": words.points, "split_name": words.split_name, "duration": words.duration,
        "colour": colour,
    }  # fmt: skip
    return environment


def _asset(name: str) -> str:
    return files("sortal.reporting").joinpath(name).read_text(encoding="utf-8")


def css() -> Any:
    from markupsafe import Markup

    return Markup(_asset("page.css"))


def _charts(report: Report) -> list[tuple[str, list[str], Any]]:
    """Caption, legend and drawing of each chart of the training."""
    from sortal.reporting.charts import Line, line_chart

    rows = report.curves
    marked = float(report.epoch) if report.epoch else None
    scored = sorted({name for row in rows for name in row["scores"]})

    def line(name: str, values: Sequence[float | None]) -> Line:
        return Line(name, [(float(row["epoch"]), value) for row, value in zip(rows, values, strict=True)])

    def validation(name: str) -> Line:
        return line("validation", [row["scores"].get(name) for row in rows])

    losses = [line("training", [row["loss"] for row in rows])]
    losses += [validation("log_loss")] if "log_loss" in scored else []
    charts = [("Loss", [item.name for item in losses], line_chart("Loss", losses, marked=marked))]
    for name in scored:
        if name != "log_loss":
            title = f"{name.replace('_', ' ').capitalize()} on validation images"
            charts.append((title, [], line_chart(title, [validation(name)], percent=True, marked=marked)))
    rates = line_chart("Learning rate", [line("learning rate", [row["rate"] for row in rows])], from_zero=True)
    return [*charts, ("Learning rate", [], rates)]


def _calibration(report: Report) -> Any:
    from sortal.reporting.charts import reliability_chart

    said = TELLINGS[report.task].reliability
    return reliability_chart(said.title, report.reliability[report.headline.split], across=said.across_short)


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
            told = f"{count} of {images} {classes[true]} taken for {classes[guess]}"
            cells.append(Cell(count, f"{'r' if guess == true else 'w'}{level}", told if len(counts) <= 40 else ""))
        rows.append((classes[true], images, cells))
    return rows


def _pairs(report: Report) -> list[dict[str, Any]]:
    """The pairs of classes that are confused most, by count: label, predicted, count, share of the label's images."""
    found = [
        (count, count / sum(row), true, guess)
        for true, row in enumerate(report.confusion[report.headline.split])
        for guess, count in enumerate(row)
        if count and guess != true
    ]
    return [
        {"label": report.classes[true], "predicted": report.classes[guess], "count": count, "share": share}
        for count, share, true, guess in nlargest(MOST_PAIRS, found)
    ]


def _label_counts(report: Report) -> list[dict[str, Any]]:
    """For each label: how many images have it and were found or missed, and how many have it not and were given it or not."""
    counts_K22 = report.confusion[report.headline.split]
    return [
        {"label": name, "found": found, "missed": missed, "wrong": wrong, "rest": rest}
        for name, ((rest, wrong), (missed, found)) in zip(report.classes, counts_K22, strict=True)
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A recipe's keys as they are set on the command line, 'augment.flip', with their values in TOML's manner."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value).lower() if isinstance(value, bool) else str(value)
