"""Cold starts: `sortal --help` and `sortal predict` where torch cannot be imported, beside a torch program that predicts.

Every run is a new process; files are in the page cache, as they are on a machine in use. The peer answers for the same
photograph with the same network in the usual way: import torch, build the network, load weights, predict.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import Claim, Ran, Result, peer, ran, sortal, spread, times_faster
from benchmarks.photographs import draw

FORBIDDEN = ("torch", "torchvision", "timm", "keras", "tensorflow")
BLOCKER = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN!r}:
            raise ImportError(f"{{name}} must not be imported here")
        return None

sys.meta_path.insert(0, Refuse())
"""
HELP_SECONDS, PREDICT_SECONDS = 0.3, 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, help="a finished run of `sortal train`; without it a small one is trained first")
    parser.add_argument("--image", type=Path, help="a photograph; without it one of 12 megapixels is drawn")
    parser.add_argument("--repeats", type=int, default=10)


def run(options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="startup-") as name:
        work = Path(name)
        trained = options.run or _trained(work)
        image = options.image or _photograph(work / "photograph.jpg")
        without_torch = blocked(work / "blocker")
        refused = ran([*python(), "-c", "import torch"], environment=without_torch, codes=(1,))
        assert "must not be imported" in refused.stderr, refused.stderr
        help_runs = [ran(sortal("--help"), environment=without_torch) for _ in range(options.repeats)]
        command = sortal("predict", trained, image, "--format", "json")
        predict_runs = [ran(command, environment=without_torch) for _ in range(options.repeats)]
        bare_runs = [ran([*python(), "-c", "pass"]) for _ in range(options.repeats)]
        torch_runs = [ran(peer("torch_predict", image)) for _ in range(min(3, options.repeats))]
    return [
        _result("startup/help", help_runs, bare_runs, HELP_SECONDS, "peer: an interpreter that does nothing"),
        _result(
            "startup/predict",
            predict_runs,
            torch_runs,
            PREDICT_SECONDS,
            "peer: torch and timm, the same network, one photograph",
        ),
    ]


def python() -> list[str]:
    """The interpreter that runs the benchmark."""
    return [peer("")[0]]


def blocked(folder: Path) -> dict[str, str]:
    """An environment whose interpreters refuse to import any training framework."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}


def _trained(work: Path) -> Path:
    ran(
        sortal("train", draw(work / "drawn"), "--out", work / "run", "--json"),
        environment={"SORTAL_CACHE": str(work / "cache")},
    )
    return work / "run"


def _photograph(path: Path) -> Path:
    """A JPEG of 4000 x 3000 pixels: coarse blobs of colour, as detailed as a photograph once compressed."""
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    coarse.resize((4000, 3000), Image.Resampling.BICUBIC).save(path, quality=88)
    return path


def _result(name: str, ours: list[Ran], others: list[Ran], wanted: float, note: str) -> Result:
    seconds = spread([done.seconds for done in ours])
    other = spread([done.seconds for done in others])
    return Result(
        name=name, unit="seconds", ours=seconds["median"], peer=other["median"],
        ratio=times_faster(seconds["median"], other["median"]),
        numbers={"ours_seconds": seconds, "peer_seconds": other, "first_run_seconds": round(ours[0].seconds, 3)},
        runs=[ours[0].facts(), others[0].facts()],
        claims=[Claim(f"under {wanted:g} s, with torch not importable", seconds["median"] < wanted)],
        notes=[note],
    )  # fmt: skip
