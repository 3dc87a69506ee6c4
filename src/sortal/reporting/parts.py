"""The parts of a report's page: which there are for what is known, and what each is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sortal.evaluation.robustness import told
from sortal.reporting import words
from sortal.reporting.confusion import HEAT
from sortal.reporting.model import Report

MOST_LISTED = 100
"""Images of a finding that the page names; report.json has them all."""
GRAVITY = ("severe", "warning", "note")
TITLES = {
    "label": "Labels that may be wrong",
    "drift": "Splits that differ",
    "quality": "Poor pictures",
    "unreadable": "Files that cannot be read",
    "placeholder": "Placeholders",
    "copies-with-other-label": "Copies with another label",
}
"""Headings of kinds whose own word says too little."""
LOSSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Shares of accuracy lost at which a colour deepens, as many as `HEAT` has steps."""
assert len(LOSSES) == len(HEAT)


@dataclass(frozen=True, slots=True)
class Part:
    """A part: its address in the page, which is also its template's name, and its title in the contents."""

    id: str
    title: str


@dataclass(frozen=True, slots=True)
class Spoilt:
    """Accuracy after images were spoilt in one way, and its colour's class."""

    row: Mapping[str, Any]
    heat: str


def present(report: Report, *, inputs: bool) -> list[Part]:
    """The parts in the order of their use; what is not known has none."""
    known: list[tuple[str, str, Any]] = [
        ("diagnosis", "What to do", report.diagnosis),
        ("scores", "Scores", True),
        ("confusion", "Confusion", True),
        ("mistakes", "Mistakes", report.mistakes_total),
        ("classes", "Classes", True),
        ("slices", "Parts", report.slices),
        ("coverage", "Abstaining", report.coverage),
        ("calibration", "Calibration", report.calibration),
        ("growth", "More images", report.learning_curve),
        ("robustness", "Robustness", report.robustness),
        ("findings", "Findings", report.findings),
        ("curves", "Curves", report.curves),
        ("inputs", "Inputs", inputs),
        ("recipe", "Recipe", report.decisions or report.recipe),
        ("data", "Data", report.data),
        ("again", "Again", True),
    ]
    return [Part(name, title) for name, title, there in known if there]


def slices(report: Report) -> dict[str, list[dict[str, Any]]]:
    """What the images were divided by to its rows; a row whose whole interval lies on one side of all images' accuracy `stands`
    out.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in report.slices:
        found.setdefault(str(row["by"]), []).append({**row, "stands": _stands(row, report.headline.accuracy)})
    return found


def _stands(row: Mapping[str, Any], accuracy: float) -> str:
    low, high = row.get("accuracy_interval") or (None, None)
    if low is None or high is None:
        return ""
    return "worse" if high < accuracy else "better" if low > accuracy else ""


def robustness(report: Report) -> dict[str, Any]:
    """Rows of the table in the report's order, what breaks it first at the top; strengths; accuracy of untouched images; what
    breaks it first, in words.
    """
    rows = [row for row in report.robustness if row.get("accuracy") is not None]
    untouched = next((row for row in rows if not row["strength"]), None)
    best = untouched["accuracy"] if untouched else max((row["accuracy"] for row in rows), default=0.0)
    strengths = sorted({row["strength"] for row in rows if row["strength"]})
    kinds: dict[str, dict[Any, Spoilt]] = {}
    for row in rows:
        if row["strength"]:
            level = sum(best - row["accuracy"] >= step for step in LOSSES)
            kinds.setdefault(row["corruption"], {})[row["strength"]] = Spoilt(row, f"w{level}" if level else "")
    table = [(kind, [cells.get(strength) for strength in strengths]) for kind, cells in kinds.items()]
    breaking = words.plain(words.sentence(told(rows)))
    return {"spoilt": table, "strengths": strengths, "untouched": untouched, "breaking": breaking}


def by_gravity(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Findings, severe ones first."""
    return sorted(findings, key=lambda row: GRAVITY.index(row["severity"]) if row["severity"] in GRAVITY else len(GRAVITY))


def charts(report: Report) -> list[tuple[str, list[str], Any]]:
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
    found = [("Loss", [item.name for item in losses], line_chart("Loss", losses, marked=marked))]
    for name in scored:
        if name != "log_loss":
            title = f"{name.replace('_', ' ').capitalize()} on validation images"
            found.append((title, [], line_chart(title, [validation(name)], percent=True, marked=marked)))
    rates = line_chart("Learning rate", [line("learning rate", [row["rate"] for row in rows])], from_zero=True)
    return [*found, ("Learning rate", [], rates)]


def coverage(report: Report) -> Any:
    """Accuracy by the share of images that are answered."""
    from sortal.reporting.charts import share_chart

    return share_chart("Accuracy by the share answered", report.coverage, x="coverage", across="share answered", percent=True)


def growth(report: Report) -> Any:
    """Accuracy by the number of training images."""
    from sortal.reporting.charts import share_chart

    return share_chart("Accuracy by training images", report.learning_curve, x="images", across="training images")


def spoken(name: str) -> str:
    """A name of ours as a person reads it.

    >>> spoken("copies-across-splits"), spoken("jpeg_quality")
    ('Copies across splits', 'JPEG quality')
    """
    said = str(name).replace("_", " ").replace("-", " ")
    return words.sentence(" ".join("JPEG" if word == "jpeg" else word for word in said.split(" ")))


def titled(kind: str) -> str:
    """The heading of a finding or a diagnosis.

    >>> titled("label"), titled("few-images")
    ('Labels that may be wrong', 'Few images')
    """
    return TITLES.get(kind, spoken(kind))


def coded(text: str) -> Any:
    """What stands between backticks as code, the rest as text.

    >>> str(coded("run `sortal check` & see"))
    'run <code>sortal check</code> &amp; see'
    """
    from markupsafe import Markup, escape

    pieces = words.plain(str(text)).split("`")
    if len(pieces) % 2 == 0:  # a backtick without its twin is only a backtick
        return escape(words.plain(str(text)))
    return Markup("").join(Markup("<code>{}</code>").format(piece) if odd % 2 else piece for odd, piece in enumerate(pieces))
