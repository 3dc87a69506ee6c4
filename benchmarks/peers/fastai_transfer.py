"""Transfer learning as fastai's documentation writes it: `vision_learner(...).fine_tune(4)`, with the weights of all others.

The architecture goes in by timm's name, which is fastai's own way to timm; the weights come from a local file through timm's
`pretrained_cfg_overlay`. Everything else is fastai's default. `Resize(224)` alone is what its quick start writes and the
quicker of its two usual forms; `--presize` takes the other: presized to 460, then `aug_transforms(size=224)`.
"""

import argparse
import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from fastai.vision.all import Callback, ImageDataLoaders, Resize, accuracy, aug_transforms, set_seed, vision_learner

from benchmarks.peers import lite0


class Tell(Callback):  # type: ignore[misc]
    """Print each epoch's scores as a JSON line."""

    order = 90  # after the recorder, which computes them

    def before_epoch(self) -> None:
        self.began = time.perf_counter()

    def after_epoch(self) -> None:
        train_loss, _, score = self.learn.final_record
        stage = "frozen" if self.learn.opt.frozen_idx else "thawed"
        line = {
            "epoch": self.epoch + 1, "stage": stage, "seconds": time.perf_counter() - self.began, "loss": train_loss,
            "accuracy": score, "versions": {name: version(name) for name in ("fastai", "torch", "timm")},
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def loaders(data: Path, presize: bool) -> Any:
    """fastai's loaders for `train` and `val` under `data`."""
    if presize:
        return ImageDataLoaders.from_folder(
            data, train="train", valid="val", item_tfms=Resize(460), batch_tfms=aug_transforms(size=224)
        )
    return ImageDataLoaders.from_folder(data, train="train", valid="val", item_tfms=Resize(224))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/, one folder a class in each")
    parser.add_argument("--epochs", type=int, default=4, help="after the frozen one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--presize", action="store_true", help="Resize(460), aug_transforms(size=224)")
    options = parser.parse_args()
    set_seed(options.seed)

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "lite0.pth"
        torch.save(lite0.state_dict(), weights)
        learner = vision_learner(
            loaders(options.data, presize=options.presize), lite0.NAME, metrics=accuracy, cbs=Tell(), path=Path(folder),
            pretrained_cfg_overlay={"file": str(weights)},
        )  # fmt: skip
        with learner.no_bar(), learner.no_logging():
            learner.fine_tune(options.epochs)


if __name__ == "__main__":
    main()
