"""The page of a study: what was chosen and how it did, the table of all rows, their curves, and what each step brought."""

from collections.abc import Mapping, Sequence
from typing import Any

from sortal.reporting.charts import Line, line_chart
from sortal.reporting.confusion import matrix
from sortal.reporting.page import css, environment, flat
from sortal.reporting.pictures import Room

TITLES = {"loss": "Training loss", "accuracy": "Validation accuracy", "log_loss": "Validation log loss"}
SHARES = ("accuracy", "macro_f1")
"""Scores that are drawn as percentages."""


def render(
    study: Mapping[str, Any], *, thumbnails: Mapping[str, bytes] | None = None, mixed: Sequence[tuple[str, bytes]] = ()
) -> str:
    """The whole page as text, from the content of `study.json`.

    `thumbnails` are JPEG or PNG files by source, for the mistakes that are shown; `mixed` are training inputs, (caption,
    JPEG or PNG file). All names are treated as hostile. Raises `MissingExtra` without jinja2.
    """
    room = Room()
    hardest = [
        {**hard, "mistakes": [{**each, "picture": _shown(room, thumbnails, each["source"])} for each in hard["mistakes"]]}
        for hard in (study["errors"] or {}).get("hardest", [])
    ]
    rows = study["rows"]
    steps = [row for row in rows if row["to_previous"]]
    return environment().get_template("study.html").render(
        study=study,
        css=css(),
        rows=rows,
        chosen=next((row for row in rows if row["chosen"]), None),
        images=max((row["test"]["images"] for row in rows), default=0),
        charts=_charts(study["curves"]),
        steps=steps,
        largest=max((abs(row["to_previous"]["mean"]) for row in steps), default=0.0) or 1.0,
        hardest=hardest,
        matrix=matrix(study["errors"]["confusion"], study["errors"]["classes"]) if study["errors"] else [],
        settings=list(flat(study["recipe"])),
        mixed=[picture for caption, data in mixed if (picture := room.picture(data, caption))],
    )  # fmt: skip


def _shown(room: Room, thumbnails: Mapping[str, bytes] | None, source: str) -> Any:
    return room.picture((thumbnails or {}).get(source), source)


def _charts(curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> list[tuple[str, list[str], Any]]:
    """Caption, legend and drawing of a chart for each score, the validation accuracy first, with a line for each row."""
    keys = sorted({key for row in curves.values() for key in row}, key=lambda key: (key != "accuracy", key))
    charts = []
    for key in keys:
        # A row without this curve keeps its place, so that a row has one colour in all charts.
        lines = [Line(name, row.get(key, ())) for name, row in curves.items()]
        if any(line.points for line in lines):
            title = TITLES.get(key, f"Validation {key.replace('_', ' ')}")
            charts.append((title, list(curves), line_chart(title, lines, percent=key in SHARES)))
    return charts
