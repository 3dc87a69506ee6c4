"""What validation chose for calibration: log loss and calibration error on test images before and after, of real networks.

Each is trained by `sortal train` on Fashion-MNIST (Debian's package) and on photographs, if some are named; some of them long
enough to become too sure. The calibration is chosen on validation images or out of fold; the test split is judged once (where
the choice was made out of fold, the given validation split). Two promises: log loss is never worse, and the calibration error
is halved wherever it was 0.04 or more.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Claim, Result, say
from sortal.bundle import Bundle
from sortal.data.pixels import StoredPixels
from sortal.data.store import Cache
from sortal.engines.onnx import predictor
from sortal.evaluation import metrics
from sortal.evaluation.calibrators import of_bundle, uncalibrated
from sortal.manifest import Manifest
from sortal.run import Run
from sortal.workflows import train

LARGE = 0.04
PHOTOGRAPHS, FASHION, FEW_FASHION = "photographs", "fashion", "fashion-small"
NETWORKS: Mapping[str, tuple[str, Sequence[str]]] = {
    "photographs, head": (PHOTOGRAPHS, []),
    "photographs, scratch": (
        PHOTOGRAPHS,
        ["model=resnet_cifar", "strategy=scratch", "image_size=32", "epochs=30", "split.folds=0", "split.test=0.3",
         "augment.views=1"],
    ),
    "Fashion-MNIST, LeNet": (FASHION, ["model=lenet5", "strategy=scratch", "image_size=28", "epochs=6", "split.val=0.1"]),
    "Fashion-MNIST, overfitted": (
        FEW_FASHION,
        ["model=lenet5", "strategy=scratch", "image_size=32", "epochs=60", "split.val=0.3", "best.monitor=last",
         "stop.patience=0"],
    ),
}  # fmt: skip
"""The data and the settings of each."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--photographs", type=Path, help="folder, or zip of one, with train/ and val/; without it they are left out"
    )
    parser.add_argument("--only", nargs="+", choices=NETWORKS, metavar="NAME", help="these networks alone")


def run(options: argparse.Namespace) -> list[Result]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        for number, (name, (data, settings)) in enumerate(NETWORKS.items()):
            if (options.only and name not in options.only) or (data == PHOTOGRAPHS and options.photographs is None):
                continue
            place = Path(folder) / str(number)
            place.mkdir()
            found = train(data_of(data, options.photographs, place), settings=list(settings), out=place / "run")
            rows.append({"network": name, **before_and_after(found.run)})
            say(told(rows[-1]))
    return [judged(rows)]


def judged(rows: Sequence[Mapping[str, Any]]) -> Result:
    """All networks as one result: the largest share of its log loss that one kept, which is above 1 where it became worse."""
    worse = [row["network"] for row in rows if row["log_loss"] > row["log_loss_before"]]
    large = [row for row in rows if row["error_before"] >= LARGE]
    unhalved = [row["network"] for row in large if row["error"] > row["error_before"] / 2]
    return Result(
        name="calibration", unit="of the log loss before", ours=max(row["log_loss"] / row["log_loss_before"] for row in rows),
        numbers={"networks": list(rows)},
        claims=[
            Claim(f"log loss is never worse (it is of: {', '.join(worse) or 'none'})", not worse),
            Claim(f"{len(large)} errors of {LARGE} or more are halved (not of: {', '.join(unhalved) or 'none'})", not unhalved),
        ],
        notes=["judged once on images that neither trained nor chose anything"],
    )  # fmt: skip


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


def data_of(name: str, photographs: Path | None, folder: Path) -> Path:
    """Where the images are; a standard set is made readable, and a small part of it if that is what is asked for."""
    if name == PHOTOGRAPHS:
        assert photographs is not None
        return photographs
    import pyarrow.parquet as pq

    from sortal.data import standard

    whole = standard.make("fashion-mnist", to=folder / "fashion.parquet").path
    if name == FASHION:
        return whole
    table = pq.read_table(whole)
    splits = np.array(table["split"].to_pylist())
    kept = np.concatenate([np.flatnonzero(splits == "train")[:3000], np.flatnonzero(splits == "test")])
    pq.write_table(table.take(kept), folder / "small.parquet")
    return folder / "small.parquet"
