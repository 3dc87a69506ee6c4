"""A folder of photographs through ultralytics' training: all of yolo11n-cls from its yaml, at 224 pixels, in batches of 32.

As https://docs.ultralytics.com/tasks/classify/ writes it, where it trains for 100 epochs; everything else is its default, but
no plots are drawn. The network starts without weights, which cannot be had without a network: an epoch takes as long as with
them, and the accuracy says nothing.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/, one folder a class in each")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        # Read when the package is imported: where it keeps its settings, and that there is no network.
        os.environ["YOLO_CONFIG_DIR"], os.environ["YOLO_OFFLINE"] = name, "true"
        train(options.data.resolve(), Path(name), options.epochs, options.seed)


def train(data: Path, work: Path, epochs: int, seed: int) -> None:
    """Train, and print each epoch's time, with the evaluation inside it, and its accuracy as a JSON line."""
    import torch
    import ultralytics

    # It writes lists of files beside the folders that it reads: beside links to them, then, and not into the user's folder.
    pictures = work / "photographs"
    pictures.mkdir()
    for split in ("train", "val"):
        (pictures / split).symlink_to(data / split)
    began: list[float] = []

    def begin(trainer: Any) -> None:
        began.append(time.perf_counter())

    def tell(trainer: Any) -> None:
        if not began:
            return  # once more for the best weights, after the last epoch
        line = {
            "epoch": trainer.epoch + 1, "seconds": time.perf_counter() - began.pop(),
            "accuracy": float(trainer.metrics["metrics/accuracy_top1"]),
            "versions": {"ultralytics": ultralytics.__version__, "torch": torch.__version__},
        }  # fmt: skip
        print(json.dumps(line), flush=True)

    model = ultralytics.YOLO("yolo11n-cls.yaml", task="classify")
    model.add_callback("on_train_epoch_start", begin)
    model.add_callback("on_fit_epoch_end", tell)
    model.train(
        data=str(pictures), epochs=epochs, imgsz=224, batch=32, device="cpu", plots=False, verbose=False, seed=seed,
        project=str(work / "runs"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
