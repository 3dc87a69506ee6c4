"""The page: one HTML file that holds a whole report and opens anywhere without a network."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sortal.errors import MissingExtra
from sortal.recipe import flattened
from sortal.reporting import confusion, parts, words
from sortal.reporting.model import Report
from sortal.reporting.pictures import MOST_CARDS, MOST_INPUTS, MOST_NEAREST, Room, clusters
from sortal.reporting.telling import TELLINGS

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, slots=True)
class Desk:
    """What makes a page one that a person marks images on.

    Attributes:
        token: the secret that the server wants to see.
        classes: the labels that a person may choose from.
        states: source to labels and told (what was changed, as words) of the images that are shown or were changed.
        unsaved: how many images are marked and not saved.
        command: what to type to train on what is saved, '' where nothing is.
    """

    token: str
    classes: Sequence[str]
    states: Mapping[str, Mapping[str, Any]]
    unsaved: int = 0
    command: str = ""


@dataclass(slots=True)
class _Marks:
    """What a person can mark on a page, in order: each mark is of some images, for which labels may be proposed."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, sources: Sequence[str], labels: Mapping[str, Sequence[str]], groups: Sequence[Sequence[str]] = ()) -> int:
        """The number of a new mark; `groups` are of the images those that show the same, each a group of its own."""
        proposed = {source: list(names) for source, names in labels.items()}
        self.rows.append({"sources": list(sources), "labels": proposed, "groups": [list(group) for group in groups]})
        return len(self.rows) - 1


def render(
    report: Report,
    *,
    thumbnails: Mapping[str, bytes] | None = None,
    small: Mapping[str, bytes] | None = None,
    inputs: Sequence[tuple[str, bytes]] = (),
    desk: Desk | None = None,
) -> str:
    """The whole page as text.

    `thumbnails` are JPEG or PNG files by source, for `pictures.wanted_thumbnails`, `small` smaller ones for
    `pictures.wanted_small`; a card without one says so. `inputs` are training inputs as the network saw them, (caption, JPEG
    or PNG file). Pictures beyond `pictures.MOST_BYTES` together are left out. With a `desk`, images can be marked. All names
    are treated as hostile: nothing in them becomes markup or script. Raises `MissingExtra` without jinja2, `DataError` for
    other bytes.
    """
    # Pictures first get their share in the order in which they are shown; those behind cells come last.
    room, marks = Room(), _Marks()
    small = small or {}
    large, states = thumbnails or {}, desk.states if desk else {}
    cards = [_card(mistake, report, large, small, room, marks, states) for mistake in report.mistakes[:MOST_CARDS]]
    findings = [_finding(row, small, room, marks) for row in parts.by_gravity(report.findings)]
    shown = [picture for caption, data in inputs[:MOST_INPUTS] if (picture := room.picture(data, caption))]
    telling = TELLINGS[report.task]
    script = _asset("page.js") + (_asset("desk.js") if desk else "")
    values: dict[str, Any] = {**confusion.parts(report), **parts.robustness(report)}
    return (
        environment()
        .get_template("page.html")
        .render(
            report=report,
            css=css(),
            script=_safe(script),
            allowed=_allowed(script, served=desk is not None),
            known=_known(report, small, room, marks, desk),
            desk=desk,
            parts=parts.present(report, inputs=bool(shown)),
            charts=parts.charts(report) if report.curves else [],
            coverage=parts.coverage(report) if report.coverage else None,
            growth=parts.growth(report) if report.learning_curve else None,
            slices=parts.slices(report),
            calibration=_calibration(report),
            telling=telling,
            cards=cards,
            explained=any(card["map"] or card["nearest"] for card in cards),
            by_folds=any(card["fold"] is not None for card in cards),
            findings=findings,
            most_listed=parts.MOST_LISTED,
            inputs=shown,
            metrics=[row for row in telling.metrics if any(scores[row[0]] is not None for scores in report.metrics.values())],
            settings=list(flat(report.recipe)),
            **values,
        )
    )


def _card(
    mistake: Mapping[str, Any],
    report: Report,
    thumbnails: Mapping[str, bytes],
    small: Mapping[str, bytes],
    room: Room,
    marks: _Marks,
    states: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    source = mistake["source"]
    known = report.maps.get(source, {})
    return {
        **mistake,
        "picture": room.picture(thumbnails.get(source), source),
        "map": room.map(known.get("map"), source),
        "nearest": [
            {**near, "picture": room.picture(small.get(near["source"]), near["source"])}
            for near in known.get("nearest", [])[:MOST_NEAREST]
        ],
        "fold": known.get("fold"),
        "mark": marks.add([source], {source: _proposed(mistake, states.get(source, {}).get("labels", ()))}),
    }


def _proposed(mistake: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """What the model would have the labels be: what it said; of several, those it is labelled with but for what was wrong."""
    if "surest" not in mistake:
        return [mistake["predicted"]]
    return sorted(set(labels).difference(mistake["missed"]).union(mistake["wrong"]))


def _finding(row: Mapping[str, Any], small: Mapping[str, bytes], room: Room, marks: _Marks) -> dict[str, Any]:
    proposed = dict(zip(row["images"], row.get("proposed") or (), strict=False))

    def shown(source: str) -> dict[str, Any] | None:
        picture = room.picture(small.get(source), source)
        label = proposed.get(source)
        mark = marks.add([source], {} if label is None else {source: [label]})
        return {"picture": picture, "proposed": label, "mark": mark} if picture else None

    found = [[each for source in cluster if (each := shown(source))] for cluster in clusters(row)]
    mark = marks.add(row["images"], {}, row.get("groups") or ())
    return {**row, "clusters": [cluster for cluster in found if cluster], "mark": mark}


def _known(report: Report, small: Mapping[str, bytes], room: Room, marks: _Marks, desk: Desk | None) -> Any:
    """What the script knows: the pictures behind each cell, and what can be marked."""
    pictures: list[list[Any]] = []
    place: dict[str, int] = {}
    for source in (image["source"] for row in report.examples for image in row["images"]):
        if source not in place and (picture := room.picture(small.get(source), source)):
            place[source] = len(pictures)
            pictures.append([picture.address, picture.tiny])
    cells = {}
    for row in report.examples:
        said, count = confusion.told(report, row["cell"])
        images = [[place.get(image["source"], -1), image["source"], image["probability"]] for image in row["images"]]
        true, guess = row["cell"]
        proposed = report.classes[guess] if report.task == "multi_class" and true != guess else None
        cells["-".join(map(str, row["cell"]))] = {"told": said, "count": count, "images": images, "proposed": proposed}
    known: dict[str, Any] = {"cells": cells, "pictures": pictures}
    if desk:
        known["desk"] = {"token": desk.token, "classes": list(desk.classes), "states": desk.states, "unsaved": desk.unsaved}
        known["desk"] |= {"command": desk.command, "marks": marks.rows}
    return _json(known)


def _json(values: Any) -> Any:
    """JSON in ASCII that cannot end the element that it stands in, whatever names are in it."""
    from markupsafe import Markup

    text = json.dumps(values, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _allowed(script: str, *, served: bool) -> str:
    """What the page's policy allows besides pictures and style: this very script, and where it is served its own server."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"; script-src 'sha256-{digest}'" + ("; connect-src 'self'" if served else "")


def environment() -> "Environment":
    """Where templates come from; whatever they write is escaped, and marks that steer the direction of text are spelt out."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtra("Jinja2 (needed for report pages)", "report") from error
    environment = Environment(
        loader=FunctionLoader(lambda name: _asset(name)),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    from sortal.reporting.charts import colour

    environment.filters |= {
        "percent": words.percent, "points": words.points, "split_name": words.split_name, "duration": words.duration,
        "figure": words.figure, "colour": colour, "spoken": parts.spoken, "coded": parts.coded, "titled": parts.titled,
        "toml": toml, "flattened": flattened, "several": _several, "mark": _mark,
    }  # fmt: skip
    return environment


def _finalized(value: Any) -> Any:
    return words.plain(value) if type(value) is str else value


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _mark(number: int) -> Any:
    from markupsafe import Markup

    return Markup(f'data-mark="{number:d}" tabindex="0"')


def _asset(name: str) -> str:
    return files("sortal.reporting").joinpath(*name.split("/")).read_text(encoding="utf-8")


def css() -> Any:
    """The style sheet."""
    return _safe(_asset("page.css"))


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _calibration(report: Report) -> Any:
    from sortal.reporting.charts import reliability_chart

    said = TELLINGS[report.task].reliability
    return reliability_chart(said.title, report.reliability[report.headline.split], across=said.across_short)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A recipe's keys as they are set on the command line, 'augment.flip', with their values in TOML's manner."""
    return ((key, toml(value)) for key, value in flattened(values, prefix))


def toml(value: Any) -> str:
    """A value as it is written behind `--set key=`.

    >>> toml(True), toml(0.5), toml("bf16")
    ('true', '0.5', 'bf16')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)
