"""Figures for papers: confusion matrix, curves, reliability diagram and F1 by class, each as PNG (300 dpi) and SVG.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart. Text in the SVG stays text, so that a
figure can be set in the fonts of the paper it goes into. Nothing of matplotlib's global state is touched.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sortal.errors import MissingExtra
from sortal.files import replacing
from sortal.reporting import words
from sortal.reporting.model import Report
from sortal.reporting.telling import TELLINGS

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
COLUMN = 3.5
"""Inches: the width of one column of a paper."""
PAGE = 7.2
DPI = 300
MOST_NUMBERED = 25
"""Classes up to which each cell of the confusion matrix has its number written in it."""
MOST_NAMED = 120
"""Classes up to which axes carry names; beyond, indices."""
LONGEST_NAME = 24
DATELESS = {"svg": {"Date": None}, "png": {"Software": None}}


def write_figures(report: Report, folder: Path) -> list[Path]:
    """Write the figures of the headline's split (the curves are of the training) and return their paths, PNG before
    SVG. Several labels an image have no confusion matrix.

    A figure that would be empty, the curves of a report without a history, is not written. Raises `MissingExtra`
    without matplotlib. Takes about half a second a figure.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib (needed for figures)", "report") from error
    known: dict[str, Callable[[Report, Any], None]] = {"confusion": _confusion, "reliability": _reliability, "f1": _f1}
    drawings = {name: known[name] for name in TELLINGS[report.task].figures}
    if all(row["f1"] is None for row in report.per_class[report.headline.split]):
        del drawings["f1"]
    if report.curves:
        drawings["curves"] = _curves
    written = []
    for name, draw in drawings.items():
        figure = Figure(layout="constrained")
        with warnings.catch_warnings():
            # A script that matplotlib's font lacks is drawn as boxes in the PNG; the SVG keeps the text itself.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            draw(report, figure)
            written += [_save(figure, folder / f"{name}.{kind}") for kind in ("png", "svg")]
    return written


def _save(figure: Any, path: Path) -> Path:
    import matplotlib

    kind = path.suffix[1:]
    # No date, no version and a fixed salt: equal reports make equal files.
    with replacing(path) as part, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sortal"}):
        figure.savefig(part, format=kind, dpi=DPI, bbox_inches="tight", metadata=DATELESS[kind])
    return path


def _confusion(report: Report, figure: Any) -> None:
    from matplotlib.colors import PowerNorm

    split = report.headline.split
    counts_KK = np.array(report.confusion[split])
    k = len(counts_KK)
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    side = min(PAGE, max(COLUMN, 1.6 + 0.34 * k))
    figure.set_size_inches(side, side)
    axes = figure.add_subplot()
    # The square root lifts mistakes, which are small shares, out of the white.
    image = axes.imshow(shares_KK, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    size = 8 if k <= 12 else max(3.0, 8 * 14 / k)
    if k <= MOST_NUMBERED:
        for true, guess in zip(*np.nonzero(counts_KK), strict=True):
            colour = "white" if shares_KK[true, guess] > 0.35 else "black"
            count = f"{counts_KK[true, guess]:,}"
            axes.text(guess, true, count, ha="center", va="center", color=colour, fontsize=size)
    if k <= MOST_NAMED:
        names = [_short(name) for name in report.classes]
        axes.set_xticks(range(k), names, rotation=90 if k > 3 else 0, fontsize=size, parse_math=False)
        axes.set_yticks(range(k), names, fontsize=size, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class", fontsize=9)
    axes.set_ylabel("true class", fontsize=9)
    bar = figure.colorbar(image, ax=axes, shrink=0.75, aspect=30)
    bar.set_label("share of the true class", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)


def _curves(report: Report, figure: Any) -> None:
    epochs = [row["epoch"] for row in report.curves]
    scored = sorted({name for row in report.curves for name in row["scores"]} - {"log_loss"})
    figure.set_size_inches(COLUMN * (1 + len(scored)), 2.6)
    panels = figure.subplots(1, 1 + len(scored), squeeze=False)[0]

    def values(name: str) -> list[float]:
        return [_number(row["scores"].get(name)) for row in report.curves]

    # A single epoch would be an invisible line.
    style = {"linewidth": 1.6, "marker": "o" if len(epochs) == 1 else None, "markersize": 4}
    panels[0].plot(epochs, [_number(row["loss"]) for row in report.curves], color=BLUE, label="training", **style)
    if any("log_loss" in row["scores"] for row in report.curves):
        panels[0].plot(epochs, values("log_loss"), color=ORANGE, linestyle="--", label="validation", **style)
        panels[0].legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("loss", fontsize=9)
    for axes, name in zip(panels[1:], scored, strict=True):
        axes.plot(epochs, values(name), color=ORANGE, linestyle="--", **style)
        axes.set_ylabel(f"{name.replace('_', ' ')} (validation)", fontsize=9)
    for axes in panels:
        _plain_axes(axes)
        axes.set_xlabel("epoch", fontsize=9)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if report.epoch:
            axes.axvline(report.epoch, color=GREY, linewidth=0.8, linestyle=":")


def _reliability(report: Report, figure: Any) -> None:
    split = report.headline.split
    bins = report.reliability[split]
    figure.set_size_inches(COLUMN, COLUMN)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, zorder=1)
    confidence = np.array([row["confidence"] for row in bins])
    accuracy = np.array([row["accuracy"] for row in bins])
    limits = np.array([row["interval"] for row in bins]).T
    whiskers = np.maximum(0.0, [accuracy - limits[0], limits[1] - accuracy])
    style = {"color": BLUE, "ecolor": BLUE, "elinewidth": 1, "capsize": 2, "markersize": 4, "zorder": 2}
    axes.errorbar(confidence, accuracy, yerr=whiskers, fmt="o", **style)
    metrics = report.metrics[split]
    told = f"calibration error {metrics['calibration_error']:.3f}\n{metrics['images']:,} {words.split_name(split)} images"
    axes.text(0.97, 0.04, told, transform=axes.transAxes, ha="right", fontsize=8, parse_math=False)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    axes.set_xlabel(TELLINGS[report.task].reliability.across, fontsize=9)
    axes.set_ylabel(TELLINGS[report.task].reliability.up, fontsize=9)
    _plain_axes(axes)


def _f1(report: Report, figure: Any) -> None:
    split = report.headline.split
    rows = sorted((row for row in report.per_class[split] if row["f1"] is not None), key=lambda row: float(row["f1"]))
    height = 1.0 + (0.22 if len(rows) <= 40 else 0.11) * len(rows)
    figure.set_size_inches(COLUMN if len(rows) <= 40 else PAGE, min(60.0, max(1.8, height)))
    axes = figure.add_subplot()
    f1 = np.array([row["f1"] for row in rows])
    limits = np.array([row["f1_interval"] for row in rows]).T
    whiskers = np.maximum(0.0, [f1 - limits[0], limits[1] - f1])
    axes.errorbar(f1, range(len(rows)), xerr=whiskers, fmt="o", color=BLUE, elinewidth=1, capsize=2, markersize=4)
    _plain_axes(axes)
    axes.axvline(report.metrics[split]["macro_f1"], color=ORANGE, linewidth=1, linestyle="--")
    names = [_short(row["class"]) for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8 if len(rows) <= 40 else 5, parse_math=False)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(right=1.005)
    axes.set_xlabel("F1 with 95% interval; dashed: mean", fontsize=9)


def _plain_axes(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, width=0.8)
    axes.grid(axis="both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
