"""Charts for the page: small drawings in SVG, made by hand so that a report costs milliseconds and needs nothing else.

Colours and type come from the page's style sheet; every chart carries a title and a description for those who cannot
see it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from sortal.reporting.words import plain

WIDTH, HEIGHT = 360, 236
LEFT, RIGHT, TOP, BOTTOM = 54, 20, 14, 42
TINY = 1e-30
COLOURS = 8
"""Lines that have colours of their own; from the ninth on they come again, dashed, and from the seventeenth dotted."""
MOST_POINTS = 400
"""A line of more points is thinned to about so many: there are no more pixels than that."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: a name for the legend, and points in order of x; points that are not finite are left out."""

    name: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values and the ticks on it."""

    low: float
    high: float
    ticks: Sequence[float]
    percent: bool = False

    def text(self, value: float) -> str:
        """A value as it is written beside a tick; all ticks of an axis are written alike."""
        if self.percent:
            step = 100 * self._step
            return f"{100 * value:.{0 if abs(step - round(step)) < 1e-9 else 1}f}%"
        if value and self._step < 1e-3:
            mantissa, _, power = f"{value:.1e}".partition("e")
            return f"{mantissa.removesuffix('.0')}e{int(power)}".replace("-", "\u2212")  # a real minus sign
        return f"{value:.4g}"

    @property
    def _step(self) -> float:
        return self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0


def axis(values: Sequence[float], *, whole: bool = False, percent: bool = False, from_zero: bool = False) -> Axis:
    """An axis with about five ticks at round numbers that covers the values.

    >>> list(axis([0.0, 0.93]).ticks)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low = min(0.0, low) if from_zero else low
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, TINY):  # one value: it gets some room around it
        room = 0.5 if whole or size < TINY else size / 10
        low, high = low - room, high + room
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    factors = (1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)
    step = next(factor * power for factor in factors if factor * power >= rough * 0.999)
    if whole:
        step = max(1.0, round(step))
        first, last = math.ceil(low / step), math.floor(high / step)
        return Axis(low, high, [number * step for number in range(first, last + 1)])
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if percent:
        last = min(last, round(1 / step))  # no room above 100%
        high = min(1.0, last * step)
    ticks = [float(f"{number * step:.12g}") for number in range(first, last + 1)]
    return Axis(ticks[0], ticks[-1] if not percent else max(high, ticks[-1]), ticks, percent)


def line_chart(
    title: str, lines: Sequence[Line], *, percent: bool = False, from_zero: bool = False, marked: float | None = None
) -> Markup:
    """A chart of lines over epochs, as an SVG element; `marked` is an epoch that gets a rule."""
    lines = [Line(line.name, _finite(line.points)) for line in lines]
    xs = [x for line in lines for x, _ in line.points]
    ys = [float(y) for line in lines for _, y in line.points if y is not None]
    across, up = axis(xs, whole=True), axis(ys, percent=percent, from_zero=from_zero)
    parts = [_frame(across, up, "epoch")]
    if marked is not None and across.low <= marked <= across.high:
        x = _x(across, marked)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for number, line in enumerate(lines):
        look = colour(number)
        spots = [(_x(across, x), _y(up, float(y))) for x, y in line.points if y is not None]
        if len(spots) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            parts.append(f'<polyline class="line {look}" points="{path}"/>')
        if spots:
            x, y = spots[-1]
            parts.append(f'<circle class="dot {look}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    told = "; ".join(
        f"{line.name}: from {up.text(float(line.points[0][1] or 0))} to {up.text(float(line.points[-1][1] or 0))}"
        for line in lines
        if line.points
    )
    return _svg(title, told, parts)


def colour(number: int) -> str:
    """The style sheet's classes of the line of that number, counted from 0.

    >>> colour(0), colour(8), colour(16)
    ('s1', 's1 dashed', 's1 dotted')
    """
    return f"s{number % COLOURS + 1}" + ("", " dashed", " dotted")[min(2, number // COLOURS)]


def reliability_chart(title: str, bins: Sequence[Mapping[str, Any]], *, across: str = "how sure it was") -> Markup:
    """Accuracy against confidence, a dot and a 95% whisker for each bin; calibrated probabilities lie on the
    diagonal.
    """
    scale = Axis(0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], percent=True)
    parts = [_frame(scale, scale, across)]
    parts.append(
        f'<line class="ideal" x1="{_x(scale, 0):.1f}" y1="{_y(scale, 0):.1f}" x2="{_x(scale, 1):.1f}" y2="{_y(scale, 1):.1f}"/>'
    )
    most = max((row["images"] for row in bins), default=1)
    for row in bins:
        x = _x(scale, row["confidence"])
        low, high = (_y(scale, limit) for limit in row["interval"])
        parts.append(f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>')
        radius = 2.5 + 4.5 * math.sqrt(row["images"] / most)
        parts.append(f'<circle class="dot s1" cx="{x:.1f}" cy="{_y(scale, row["accuracy"]):.1f}" r="{radius:.1f}"/>')
    told = "; ".join(f"{row['confidence']:.0%} sure: {row['accuracy']:.0%} right of {row['images']}" for row in bins)
    return _svg(title, told, parts)


def share_chart(title: str, rows: Sequence[Mapping[str, Any]], *, x: str, across: str, percent: bool = False) -> Markup:
    """Accuracy of each row over its value of `x`, joined by a line, with a 95% whisker where the row has an interval."""
    found = sorted((row for row in rows if row["accuracy"] is not None), key=lambda row: row[x])
    limits = [limit for row in found for limit in row.get("accuracy_interval") or () if limit is not None]
    wide = axis([float(row[x]) for row in found], whole=not percent, percent=percent)
    up = axis([*(row["accuracy"] for row in found), *limits], percent=True)
    parts = [_frame(wide, up, across)]
    spots = [(_x(wide, row[x]), _y(up, row["accuracy"])) for row in found]
    for row, (left, _) in zip(found, spots, strict=True):
        low, high = row.get("accuracy_interval") or (None, None)
        if low is not None and high is not None:
            ends = f'y1="{_y(up, low):.1f}" y2="{_y(up, high):.1f}"'
            parts.append(f'<line class="whisker" x1="{left:.1f}" x2="{left:.1f}" {ends}/>')
    if len(spots) > 1:
        parts.append(f'<polyline class="line s1" points="{" ".join(f"{left:.1f},{top:.1f}" for left, top in spots)}"/>')
    parts += [f'<circle class="dot s1" cx="{left:.1f}" cy="{top:.1f}" r="3.5"/>' for left, top in spots]
    told = "; ".join(f"{wide.text(row[x])}: {row['accuracy']:.1%}" for row in found)
    return _svg(title, told, parts)


def _finite(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    kept: list[tuple[float, float | None]] = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    stride = max(1, math.ceil(len(kept) / MOST_POINTS))
    return kept if stride == 1 else [*kept[:-1:stride], kept[-1]]


def _x(across: Axis, value: float) -> float:
    return LEFT + (value - across.low) / (across.high - across.low) * (WIDTH - LEFT - RIGHT)


def _y(up: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - (value - up.low) / (up.high - up.low) * (HEIGHT - TOP - BOTTOM)


def _frame(across: Axis, up: Axis, x_label: str) -> str:
    parts = []
    for tick in up.ticks:
        y = _y(up, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_text(up.text(tick))}</text>')
    for tick in across.ticks:
        x = _x(across, tick)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_text(across.text(tick))}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="label" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{_text(x_label)}</text>')
    return "".join(parts)


def _text(text: str) -> Markup:
    return escape(plain(text))


def _svg(title: str, told: str, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_text(title)}. {_text(told)}">'
        f"<title>{_text(title)}</title>{''.join(parts)}</svg>"
    )
