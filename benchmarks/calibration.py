"""What validation chose for calibration: log loss and calibration error on test images before and after, of real networks.

    python -m benchmarks.calibration [NAME...]

Each network is trained by `sortal train` on images that are here (Fashion-MNIST of Debian's package, the ants and bees of the
tutorials under $SORTAL_BENCH_DATA), some of them long enough to become too sure. The calibration is chosen on validation images
or out of fold; the test split is judged once (where the choice was made out of fold, the given validation split). Prints a line
a network, and the two promises: log loss never worse, calibration error halved wherever it was 0.04 or more.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sortal.bundle import Bundle
from sortal.data.pixels import StoredPixels
from sortal.data.store import Cache
from sortal.engines.onnx import predictor
from sortal.evaluation import metrics
from sortal.evaluation.calibrators import of_bundle, uncalibrated
from sortal.manifest import Manifest
from sortal.run import Run
from sortal.workflows import train

DATA = Path(os.environ.get("SORTAL_BENCH_DATA", "/work/shared/data"))
LARGE = 0.04

Network = tuple[str, str, list[str]]
"""Data, preset or '' for a plan, settings."""
NETWORKS: dict[str, Network] = {
    "ants and bees, head": ("hymenoptera.zip", "", []),
    "ants and bees, scratch": (
        "hymenoptera.zip",
        "",
        [
            "model=resnet_cifar",
            "strategy=scratch",
            "image_size=32",
            "epochs=30",
            "split.folds=0",
            "split.test=0.3",
            "augment.views=1",
        ],
    ),
    "Fashion-MNIST, LeNet": ("fashion", "", ["model=lenet5", "strategy=scratch", "image_size=28", "epochs=6", "split.val=0.1"]),
    "Fashion-MNIST, overfitted": (
        "fashion-small",
        "",
        [
            "model=lenet5",
            "strategy=scratch",
            "image_size=32",
            "epochs=60",
            "split.val=0.3",
            "best.monitor=last",
            "stop.patience=0",
        ],
    ),
}


def main(names: list[str]) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, network) in enumerate(NETWORKS.items()):
            if names and name not in names:
                continue
            rows.append({"network": name, **judged(network, Path(folder) / str(number))})
            print(told(rows[-1]), flush=True)
    worse = [row["network"] for row in rows if row["log_loss"] > row["log_loss_before"]]
    large = [row for row in rows if row["error_before"] >= LARGE]
    unhalved = [row["network"] for row in large if row["error"] > row["error_before"] / 2]
    print(f"log loss worse: {worse or 'never'}; {len(large)} errors of {LARGE} or more, not halved: {unhalved or 'none'}")
    print(json.dumps(rows))


def judged(network: Network, out: Path) -> dict[str, Any]:
    """Train one network and judge its test images, before and after its calibration."""
    data, recipe, settings = network
    found = train(data_of(data, out), recipe=recipe or None, settings=settings, out=out / "run")
    return before_and_after(found.run)


def before_and_after(run: Run) -> dict[str, Any]:
    """Log loss and calibration error of a run's test images (those of validation where the choice was made out of fold)."""
    bundle, used = Bundle.load(run.bundle), Manifest.load(run.manifest).used
    split_N = np.array(used.column("split"))
    rows = np.flatnonzero(split_N == ("test" if (split_N == "test").any() else "val"))
    with StoredPixels(used, bundle.preprocess, Cache.default()) as pixels:
        logits_NK = predictor(bundle).outputs_of_rows(pixels, rows, bundle.preprocess)["logits"]
    labels_N = used.labels_N[rows]
    calibrator = of_bundle(bundle)
    plain_NK, told_NK = uncalibrated("softmax")(logits_NK), calibrator(logits_NK)
    return {
        "images": len(rows),
        "method": calibrator.method,
        "temperature": calibrator.temperature,
        "candidates": bundle.about["calibration"]["candidates"],
        "accuracy": metrics.accuracy(told_NK, labels_N),
        "log_loss_before": metrics.log_loss(plain_NK, labels_N),
        "log_loss": metrics.log_loss(told_NK, labels_N),
        "error_before": metrics.calibration_error(plain_NK, labels_N),
        "error": metrics.calibration_error(told_NK, labels_N),
    }


def told(row: dict[str, Any]) -> str:
    """A line."""
    return (
        f"{row['network']:28} {row['images']:6,} images  accuracy {row['accuracy']:.4f}  {row['method']:11} "
        f"log loss {row['log_loss_before']:.4f} -> {row['log_loss']:.4f}  "
        f"calibration error {row['error_before']:.4f} -> {row['error']:.4f}"
    )


def data_of(name: str, folder: Path) -> Path:
    """Where the images are; a standard set is made readable, and a small part of it if that is what is asked for."""
    if not name.startswith("fashion"):
        return DATA / name
    import pyarrow.parquet as pq

    from sortal.data import standard

    whole = standard.make("fashion-mnist", to=folder / "fashion.parquet").path
    if name == "fashion":
        return whole
    table = pq.read_table(whole)
    splits = np.array(table["split"].to_pylist())
    kept = np.concatenate([np.flatnonzero(splits == "train")[:3000], np.flatnonzero(splits == "test")])
    pq.write_table(table.take(kept), folder / "small.parquet")
    return folder / "small.parquet"


if __name__ == "__main__":
    main(sys.argv[1:])
