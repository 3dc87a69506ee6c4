"""What an export says of itself: one JSON object for its metadata, a README for people, and our own preprocessing as a file."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sortal
from sortal import decision
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
    needed = "from sortal.errors import UnreadableImage\n"
    assert source.count("sortal.errors") == source.count(needed) == 1, "preprocessing leans on more of sortal than one error"
    deciding = inspect.getsource(decision)
    assert "from sortal" not in deciding, "decisions lean on the rest of sortal"
    return {
        PREPROCESS: source.replace(needed, f"\n\n{ERROR}\n\n").replace(OPENING, f'"""{GIVEN}\n\n', 1),
        DECISION: deciding.replace(OPENING, f'"""{GIVEN}\n\n', 1),
    }


OPENING = '"""'
GIVEN = "Copied from sortal (Apache-2.0), unchanged but for this line and an error: as in training, so here."
ERROR = f'''class UnreadableImage(ValueError):
    """{UnreadableImage.__doc__}"""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint'''


def write_example(folder: Path, name: str) -> None:
    """Put the example of a kind into the export, where it is a program; the README shows it whole."""
    if name.endswith(".py"):
        (folder / EXAMPLE).write_text(example(name), encoding="utf-8")


def example(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def readme(about: Mapping[str, Any], parity: Mapping[str, Any], *, example: str, notes: Mapping[str, Any]) -> str:
    """The page for people: what it is, how to use it, what was measured."""
    return PAGE.format(
        network=about["network"] or "A classifier",
        **{key: about[key] for key in ("kind", "precision", "producer", "source_sha256", "licence")},
        taken="\n".join(_input_and_output(about)),
        before="\n".join(notes.get("before", [])),
        language="console" if example.startswith("$") else "python",
        example=example.rstrip("\n"),
        proof="\n".join(_proof(parity, notes)),
    )


PAGE = """# {network}, as {kind} in {precision}

Made by {producer} from a bundle whose graph has SHA-256 `{source_sha256}`.
`export.json` says all of this for programs, and lists every file here with its size and SHA-256.

## What goes in and what comes out

{taken}

## Use it

{before}
```{language}
{example}
```

## What was proved

{proof}

## Licence

{licence}.

`preprocess.py`, `decision.py` and the example, where they are here, come from sortal and are under Apache-2.0.
"""
MOST_CLASSES = 20


def _input_and_output(about: Mapping[str, Any]) -> list[str]:
    values, classes = about["preprocess"], about["classes"]
    side, resize, channels = values["size"], values["resize"], values["channels"]
    colours = "red, green, blue" if channels == 3 else "luminance"
    more = f" and {len(classes) - MOST_CLASSES:,} more" if len(classes) > MOST_CLASSES else ""
    lines = [
        f"Images are bytes (uint8) of shape (N, {side}, {side}, {channels}): upright, {colours}, transparency drawn on white.",
        f"The largest centred square is resampled to {resize} x {resize} ({values['interpolation']}, as Pillow does it),",
        f"and its centre of {side} x {side} is taken; `preprocess.py` does that. Normalisation and calibration are inside",
        f"the model: what comes out are probabilities, float32 of shape (N, {len(classes)}).",
        "",
        f"Classes, in this order: {', '.join(f'`{name}`' for name in classes[:MOST_CLASSES])}{more}.",
        "",
    ]
    if about["task"] == "multi-label":
        said = "An image may have several labels or none: one is said where its probability reaches its place in `thresholds`."
    else:
        said = "The likeliest class is said, unless `decision` says otherwise or nothing; `decision.py` reads it."
    return [*lines, said]


def _proof(parity: Mapping[str, Any], notes: Mapping[str, Any]) -> list[str]:
    split = {"val": "validation", "train": "training"}.get(parity["split"], "given")
    points, exact = parity["max_loss"], parity["tolerance"]
    allowed = f"allowed are {exact:g}" if exact is not None else f"allowed are {points:g} points of accuracy"
    speeds = [f"{parity[key]:,}" for key in ("images_per_second", "images_per_second_source")]
    lines = [
        f"Run in its own runtime beside the bundle on {parity['images']:,} {split} images:",
        "",
        "| | this export | the bundle |",
        "|---|---|---|",
        f"| accuracy | {_share(parity['accuracy'])} | {_share(parity['accuracy_source'])} |",
        f"| images a second where it was exported, best of turns | {speeds[0]} | {speeds[1]} |",
        f"| bytes | {parity['bytes']:,} | {parity['bytes_source']:,} |",
        f"| images of which nothing is said | {parity['silent']:,} | {parity['silent_source']:,} |",
        "",
        f"Largest difference of a probability {parity['max_difference']:.2g}, labels that differ after the decision "
        f"{parity['flips']:,} ({allowed}).",
    ]
    if parity["novelty_difference"] is not None:
        lines.append(f"Largest difference of a distance to familiar images {parity['novelty_difference']:.2g}.")
    if parity["accuracy_change"]:
        low, high = parity["accuracy_change"]["interval"]
        lines.append(f"Change of accuracy, paired, 95% interval: {100 * low:+.2f} to {100 * high:+.2f} points.")
    return [*lines, *(["", *notes["proof"]] if notes.get("proof") else [])]


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}"
