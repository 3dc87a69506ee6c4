"""The plots of docs/diagnosis.md: small trainings with faults in them, their curves, and what the diagnosis says of them.

    python -m benchmarks.make_reflection [PHOTOS]

writes docs/diagnosis/*.svg and docs/diagnosis/numbers.json. Without PHOTOS, the ants and bees of the tutorials, the plot about
fine-tuning is left as it is. Takes some minutes on two cores.
"""

import io
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from sortal import engines
from sortal import recipe as recipes
from sortal.bundle import Bundle
from sortal.data.embedded import sample_path
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.store import Cache
from sortal.engines.onnx import predictor
from sortal.evaluation.diagnosis import changed
from sortal.manifest import Manifest
from sortal.recipe import Recipe
from sortal.workflows import train

HERE = Path(__file__).parent.parent / "docs" / "diagnosis"
SMALL = Recipe(
    model="lenet5", weights="none", strategy="scratch", image_size=28, resize=28, channels=1, epochs=30, batch_size=32,
    learning_rate=2e-3, precision="float32", layout="nchw",
)  # fmt: skip
AUGMENTED = {"augment.crop": "padded", "augment.rotate": 20.0, "augment.zoom": 0.2, "augment.erase": 0.5}
DRAWS = 12


def main(photos: str | None) -> None:
    """Make all plots and their numbers."""
    HERE.mkdir(exist_ok=True)
    path = HERE / "numbers.json"
    numbers = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = clothes(place / "clothes", each=40)
        numbers["fitting"] = fitting(data, place)
        numbers["augmentation"] = augmentation(data, place)
        if photos is not None:
            numbers["thawing"] = thawing(photos, place)
    path.write_text(json.dumps(numbers, indent=1) + "\n")
    draw(numbers)


def clothes(folder: Path, *, each: int) -> Path:
    """So many training and validation images of each class of the embedded sample, as PNG files."""
    rows = pq.read_table(sample_path()).to_pylist()
    image, label, split = (next(name for name in rows[0] if part in name) for part in ("image", "label", "split"))
    taken: dict[tuple[str, str], int] = {}
    for row in rows:
        name = row[label][0] if isinstance(row[label], list) else row[label]
        where = next((side for side in ("train", "val") if taken.get((side, name), 0) < each), None)
        if row[split] != "train" or where is None:
            continue
        number = taken[where, name] = taken.get((where, name), 0) + 1
        target = folder / where / name.replace("/", " or ") / f"{number:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        data = row[image]["bytes"] if isinstance(row[image], dict) else row[image]
        Image.open(io.BytesIO(data)).save(target)
    return folder


def told(run: Path) -> dict[str, Any]:
    """What is plotted of a run."""
    report = json.loads((run / "report.json").read_text())
    return {
        "loss": [row["loss"] for row in report["curves"]],
        "validation": [row["scores"]["log_loss"] for row in report["curves"]],
        "accuracy": report["metrics"]["val"]["accuracy"],
        "images": report["metrics"]["val"]["images"],
        "diagnosis": [{key: row[key] for key in ("kind", "evidence", "cure", "change")} for row in report["diagnosis"]],
    }


def fitting(data: Path, place: Path) -> dict[str, Any]:
    """Question 3: a training that learns by heart, one that hardly learns, each also with the change that is told."""
    faults: Mapping[str, Mapping[str, Any]] = {
        "overfitting": {"epochs": 60, "optimizer.weight_decay": 0.0},
        "underfitting": {"learning_rate": 5e-6, "epochs": 30},
    }
    found = {}
    for name, change in faults.items():
        recipe = changed(SMALL, change)
        found[name] = told(train(data, recipe=recipe, out=place / name).run.path)
        (cure,) = (row["change"] for row in found[name]["diagnosis"] if row["kind"] == name)
        found[f"{name}, cured"] = told(train(data, recipe=changed(recipe, cure), out=place / f"{name}-cured").run.path)
    return found


def augmentation(data: Path, place: Path) -> dict[str, Any]:
    """Question 1: the same model judged by validation images as they are, and by augmented ones."""
    run = train(data, recipe=changed(SMALL, {**AUGMENTED, "epochs": 40}), out=place / "augmented").run
    recipe, bundle, used = recipes.read(run.recipe), Bundle.load(run.bundle), Manifest.load(run.manifest).used
    rows = np.flatnonzero(np.array(used.column("split")) == "val")
    graph, engine = predictor(bundle), engines.load("torch")
    with StoredPixels(used, bundle.preprocess, Cache.default()) as pixels:
        pixels.fill()
        samples = Samples(used.classes, used.labels_N, used.keys_N, {"train": rows}, pixels)
        plain = graph.of_rows(pixels, rows, bundle.preprocess).argmax(axis=1) == used.labels_N[rows]
        varied = []
        for draw_number in range(DRAWS):
            views = engine.training_views(changed(recipe, {"seed": draw_number}), bundle.preprocess, samples, rows)
            varied.append(float((graph(views).argmax(axis=1) == used.labels_N[rows]).mean()))
    return {"plain": float(plain.mean()), "augmented": varied, "images": len(rows)}


def thawing(photos: str, place: Path) -> dict[str, Any]:
    """Question 2: a pretrained network whose layers, once thawed, learn at the classifier's rate, and slower."""
    base = Recipe(
        strategy="staged", epochs=8, batch_size=32, learning_rate=3e-3, image_size=144, resize=160, precision="auto",
        schedule={"name": "constant", "head_only": 0.5}, augment={"crop": "resized", "scale": [0.5, 1.0], "flip": 0.5},
    )  # fmt: skip
    rates = {"the classifier's rate": 1.0, "a hundredth of it": 0.01}
    found = {}
    for number, (name, rate) in enumerate(rates.items()):
        run = train(photos, recipe=changed(base, {"schedule.thawed_rate": rate}), out=place / f"thawed{number}").run
        found[name] = told(run.path)
    return found


def draw(numbers: Mapping[str, Any]) -> None:
    """All plots, from the numbers alone."""
    curves(HERE / "fitting.svg", numbers["fitting"])
    spread(HERE / "augmentation.svg", numbers["augmentation"])
    if "thawing" in numbers:
        curves(HERE / "thawing.svg", numbers["thawing"], thawed=4.5)


def curves(path: Path, rows: Mapping[str, Mapping[str, Any]], thawed: float | None = None) -> None:
    """Loss on training and on validation images by epoch, a panel a training."""
    figure, panels = _figure(len(rows), 2.5 if len(rows) > 2 else 3.4)
    for panel, (name, row) in zip(panels, rows.items(), strict=True):
        epochs = np.arange(1, len(row["loss"]) + 1)
        panel.plot(epochs, row["loss"], color="#2563a8", label="training")
        panel.plot(epochs, row["validation"], color="#c2571a", label="validation")
        if thawed is not None:
            panel.axvline(thawed, color="#888", linewidth=0.8, linestyle=":")
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("epoch")
        panel.set_ylim(0, min(3.0, 1.1 * max(*row["loss"], *row["validation"])) if thawed is None else None)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("loss")
    panels[0].legend(frameon=False, fontsize=8)
    _save(figure, path)


def spread(path: Path, row: Mapping[str, Any]) -> None:
    """Accuracy of one model on augmented validation images, draw by draw, and on the images as they are."""
    figure, (panel,) = _figure(1, 5.0)
    places = np.arange(1, len(row["augmented"]) + 1)
    panel.bar(places, row["augmented"], color="#9db8d6", label="validation images augmented, draw by draw")
    panel.axhline(row["plain"], color="#2563a8", label="validation images as they are")
    panel.set_ylim(max(0, min(row["augmented"]) - 0.1), min(1, row["plain"] + 0.08))
    panel.set_xticks(places)
    panel.set_xlabel("draw")
    panel.set_ylabel("accuracy")
    panel.legend(frameon=False, fontsize=8, loc="upper left")
    panel.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _figure(count: int, width: float) -> tuple[Any, Sequence[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, 2.6), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _save(figure: Any, path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sortal"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
