"""What an export says of itself: one JSON object for its metadata, a README for people, and our own preprocessing as a file."""

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sortal
from sortal import decision, whole
from sortal import preprocess as preprocessing
from sortal.bundle import Bundle
from sortal.errors import UnreadableImage

HERE = Path(__file__).parent / "examples"
PREPROCESS, DECISION, EXAMPLE = "preprocess.py", "decision.py", "example.py"
KEPT = ("calibration", "novelty")
"""Of `bundle.json`, where they are there, word for word."""


def about(bundle: Bundle, *, licence: str, kind: str, precision: str) -> dict[str, Any]:
    """All that is needed to use the model rightly: classes, preprocessing, calibration, decision layer, licence, origin."""
    provenance = bundle.about.get("provenance", {})
    return {
        "producer": f"sortal {sortal.__version__}",
        "kind": kind,
        "precision": precision,
        "task": bundle.task,
        "classes": list(bundle.classes),
        "preprocess": bundle.preprocess.to_dict(),
        "temperature": bundle.temperature,
        "thresholds": list(bundle.thresholds),
        "decision": bundle.decision.to_json(),
        **{key: bundle.about[key] for key in KEPT if key in bundle.about},
        "licence": licence,
        "network": bundle.about.get("recipe", {}).get("model", ""),
        "trained": provenance.get("created", ""),
        "images_sha256": provenance.get("images_sha256", ""),
        "source_sha256": bundle.about["members"]["model.onnx"]["sha256"],
    }


def licence_of(own: str, started_from: str) -> str:
    """The licence as far as it is known: the user's own words, and what the weights came from."""
    parts = [own or "not stated (the model belongs to whoever trained it)", started_from]
    return "; ".join(part for part in parts if part)


def write_modules(folder: Path) -> None:
    """Put the very preprocessing and decisions of `sortal predict` into the export, as two files that need NumPy and Pillow."""
    for name, text in modules().items():
        (folder / name).write_text(text, encoding="utf-8")


def modules() -> dict[str, str]:
    """Our preprocessing and our decisions, by name of a file, leaning on nothing of ours."""
    source = inspect.getsource(preprocessing)
    for needed, text in ((FROM_ERRORS, ERROR), (FROM_WHOLE, inspect.getsource(whole))):
        assert source.count(needed) == 1, f"preprocessing says {needed.strip()!r} no more"
        source = source.replace(needed, f"\n\n{text}\n\n")
    found = {PREPROCESS: source, DECISION: inspect.getsource(decision)}
    for name, text in found.items():
        assert "from sortal" not in text, f"{name} leans on more of sortal than stands in it"
    return {name: text.replace(OPENING, f'"""{GIVEN}\n\n', 1) for name, text in found.items()}


OPENING = '"""'
GIVEN = "Copied from sortal (Apache-2.0), unchanged but for this line and what it imports of sortal: as in training, so here."
FROM_ERRORS = "from sortal.errors import UnreadableImage\n"
FROM_WHOLE = "from sortal.whole import has_all_lines, is_interlaced\n"
ERROR = f'''class UnreadableImage(ValueError):
    """{UnreadableImage.__doc__}"""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint'''


def example(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def prepared(about: Mapping[str, Any], *, rows: str = "N") -> list[str]:
    """What goes into and comes out of a model that takes images as `preprocess.py` makes them."""
    values = about["preprocess"]
    side, channels = values["size"], values["channels"]
    colours = RGB if channels == 3 else "luminance"
    return [
        f"Images are bytes (uint8) of shape ({rows}, {side}, {side}, {channels}): upright, {colours}, {OPAQUE}. "
        f"{cropped(about)}; `preprocess.py` does that. Normalisation and calibration are inside: {given(about, rows)}."
    ]


RGB, OPAQUE = "red, green, blue", "transparency drawn on white"


def cropped(about: Mapping[str, Any]) -> str:
    """What is done between decoding and the model."""
    values = about["preprocess"]
    side, resize = values["size"], values["resize"]
    centre = f", and its centre of {side} x {side} is taken" if side < resize else ""
    return (
        f"The largest centred square is resampled to {resize} x {resize} ({values['interpolation']}, as Pillow does it){centre}"
    )


def of_any_size(about: Mapping[str, Any]) -> str:
    """What goes into and comes out of a graph that crops and resizes, as the rest of a sentence about its `image`."""
    luminance = ", luminance" if about["preprocess"]["channels"] == 1 else ""
    return (
        f"is bytes (uint8) of shape (H, W, 3), with any H and W: upright, {RGB}, {OPAQUE}. Cropping, resampling{luminance}, "
        f"normalisation and calibration are inside: {given(about, '1')}."
    )


def given(about: Mapping[str, Any], rows: str) -> str:
    """What comes out of the model."""
    probabilities = f"what comes out are probabilities, float32 of shape ({rows}, {len(about['classes'])})"
    if not about.get("novelty"):
        return probabilities
    return f"{probabilities}, and `novelty`, float32 of shape ({rows},): the distance to familiar images"


@dataclass(frozen=True, slots=True)
class Usage:
    """How a kind of export is used, for its README; without more, a file that takes prepared images."""

    examples: tuple[str, ...]
    """Files of `examples/`, each of them complete, in the order in which the README shows them. Programs in Python go into the
    export: the first one as `example.py`, others by their own names."""
    before: str = ""
    """What to know before; words in braces are keys of `export.json`."""
    interface: Callable[[Mapping[str, Any]], Sequence[str]] = prepared
    """What goes in and what comes out, as paragraphs."""
    decided_by: str = "`decision.py` reads it"
    proved: str = "It was run in its own runtime"
    ours: str = "`preprocess.py`, `decision.py` and the programs above"
    """What in the export is no model."""


def write_examples(folder: Path, usage: Usage) -> None:
    """Put the programs of a kind into the export; the README shows them whole."""
    programs = [name for name in usage.examples if name.endswith(".py")]
    for name, of in zip([EXAMPLE, *programs[1:]], programs, strict=False):
        (folder / name).write_text(example(of), encoding="utf-8")


def readme(about: Mapping[str, Any], parity: Mapping[str, Any], usage: Usage, *, files: Sequence[str] = ()) -> str:
    """The page for people: what it is, how to use it, what was measured; `files` are lines about the form for files."""
    before = [_wrapped(usage.before.format(**about))] if usage.before else []
    return PAGE.format(
        network=about["network"] or "A classifier",
        **{key: about[key] for key in ("kind", "precision", "producer", "source_sha256", "licence")},
        interface="\n\n".join([*map(_wrapped, usage.interface(about)), *_said(about, usage)]),
        use="\n\n".join([*before, *map(_block, usage.examples)]),
        proof="\n".join([*_proof(parity, usage), *(["", *files] if files else [])]),
        ours=_wrapped(f"{usage.ours} come from sortal and are under Apache-2.0."),
    )


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)


def _block(name: str) -> str:
    suffix = Path(name).suffix[1:]
    language = "python" if suffix == "py" else suffix
    return f"```{language}\n{example(name).rstrip()}\n```"


PAGE = """# {network}, as {kind} in {precision}

Made by {producer} from a bundle whose graph has SHA-256 `{source_sha256}`.
`export.json` says all of this for programs, and lists every file here with its size and SHA-256.

## What goes in and what comes out

{interface}

## Use it

{use}

## What was proved

{proof}

## Licence

{licence}.

{ours}
"""
MOST_CLASSES, WIDTH = 20, 120


def _said(about: Mapping[str, Any], usage: Usage) -> list[str]:
    classes = about["classes"]
    more = f" and {len(classes) - MOST_CLASSES:,} more" if len(classes) > MOST_CLASSES else ""
    if about["task"] == "multi-label":
        said = "An image may have several labels or none: one is said where its probability reaches its place in `thresholds`."
    else:
        said = f"The likeliest class is said, unless `decision` says otherwise or nothing; {usage.decided_by}."
    return [f"Classes, in this order: {', '.join(f'`{name}`' for name in classes[:MOST_CLASSES])}{more}.", said]


def _proof(parity: Mapping[str, Any], usage: Usage) -> list[str]:
    split = {"val": "validation", "train": "training"}.get(parity["split"], "given")
    points, exact = parity["max_loss"], parity["tolerance"]
    allowed = f"allowed are {exact:g} and none" if exact is not None else f"accuracy may fall by {points:g} points"
    speeds = [f"{parity[key]:,}" for key in ("images_per_second", "images_per_second_source")]
    lines = [
        f"{usage.proved} beside the bundle on {parity['images']:,} {split} images:",
        "",
        "| | this export | the bundle |",
        "|---|---|---|",
        f"| accuracy | {_share(parity['accuracy'])} | {_share(parity['accuracy_source'])} |",
        f"| images a second where it was exported, best of turns | {speeds[0]} | {speeds[1]} |",
        f"| bytes | {parity['bytes']:,} | {parity['bytes_source']:,} |",
        f"| images of which nothing is said | {parity['silent']:,} | {parity['silent_source']:,} |",
        "",
        f"Largest difference of a probability {parity['max_difference']:.2g}, labels that differ after the decision "
        f"{parity['flips']:,}; {allowed}.",
    ]
    if parity["novelty_difference"] is not None:
        lines.append(f"Largest difference of a distance to familiar images {parity['novelty_difference']:.2g}.")
    if parity["accuracy_change"]:
        low, high = parity["accuracy_change"]["interval"]
        lines.append(f"Change of accuracy, paired, 95% interval: {100 * low:+.2f} to {100 * high:+.2f} points.")
    return lines


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}"
