"""Repeated cross-validation of the planned recipe against a plain linear head: same folds, same images, paired.

One hundred and fifty photographs cannot tell 0.95 from 0.93. So the photographs of `train/` alone are divided into five folds
again and again; each is judged by a model that did not see it, by ours (`sortal train`, whose out-of-fold predictions are in
the run) and by scikit-learn's LogisticRegression with its defaults on the plain float32 features of the same frozen network,
one view, not scaled. The interval is a percentile bootstrap over images of the difference that is averaged over the repeats.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Claim, Result, peer, ran, sortal
from benchmarks.photographs import unpacked

MARGIN = 0.01
"""How much worse than a plain linear head the lower bound may be."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder, or zip of one, with train/ and val/")
    parser.add_argument("--repeats", type=int, default=5, help="divisions into folds, each with a seed of its own")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], help="change the plan, KEY=VALUE: to try, not to publish"
    )


def run(options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="crossval-") as name:
        work = Path(name)
        data = unpacked(options.data, work / "photographs")
        runs = []
        words = [word for setting in options.settings for word in ("--set", setting)]
        for seed in range(1, options.repeats + 1):
            command = sortal("train", data, "--seed", seed, *words, "--out", work / f"run-{seed}", "--json")
            runs.append(ran(command, environment={"SORTAL_CACHE": str(work / "cache")}))
        sources, labels, folds_RN, ours_RN = out_of_fold([work / f"run-{seed}" for seed in range(1, options.repeats + 1)])
        task = work / "folds.json"
        task.write_text(json.dumps({"sources": sources, "labels": labels, "folds": folds_RN.tolist()}))
        plain = ran(peer("linear_head", "--data", data, "--folds", task))
    plain_RN = np.array(plain.lines()[-1]["right"], dtype=bool)
    mean, interval = paired_difference(ours_RN, plain_RN)
    return [
        Result(
            name="crossval", unit="accuracy", ours=float(ours_RN.mean()), peer=float(plain_RN.mean()),
            accuracy={"ours": float(ours_RN.mean()), "peer": float(plain_RN.mean())},
            numbers={
                "difference": mean, "interval": interval, "images": len(sources), "repeats": len(ours_RN),
                "different_divisions": len(np.unique(folds_RN, axis=0)),
                "ours_by_repeat": ours_RN.mean(axis=1).round(4).tolist(),
                "peer_by_repeat": plain_RN.mean(axis=1).round(4).tolist(),
            },
            runs=[*(done.facts() for done in runs), plain.facts()],
            claims=[Claim(f"the lower bound of the paired difference is no worse than {-MARGIN:g}", interval[0] >= -MARGIN)],
            notes=[
                "only train/ is used; positive differences are in our favour; interval: 95%, bootstrap over images",
                *(f"NOT THE PLAN: with {setting}" for setting in options.settings),
            ],
        )
    ]  # fmt: skip


def out_of_fold(runs: list[Path]) -> tuple[list[str], list[str], NDArray[np.int64], NDArray[np.bool_]]:
    """Sources, labels, folds (R, N) and whether ours was right (R, N), the same N images in the same order for all R runs."""
    from sortal.manifest import Manifest
    from sortal.predictions import Predictions

    sources: list[str] = []
    labels: list[str] = []
    folds, right = [], []
    for path in runs:
        found = Predictions.load(path / "predictions.parquet").split("cross_validation")
        answers = dict(zip(found.sources, found.probs_NK.argmax(axis=1) == found.labels_N, strict=True))
        truth = dict(zip(found.sources, (found.classes[label] for label in found.labels_N), strict=True))
        manifest = Manifest.load(path / "manifest.parquet")
        fold = dict(zip(manifest.sources, manifest.column("fold"), strict=True))
        if not sources:
            sources = sorted(answers)
            labels = [truth[source] for source in sources]
        if sorted(answers) != sources:
            raise ValueError(f"{path} cross-validated other images than the run before it")
        folds.append([fold[source] for source in sources])
        right.append([answers[source] for source in sources])
    return sources, labels, np.array(folds, dtype=np.int64), np.array(right, dtype=bool)


def paired_difference(
    ours_RN: NDArray[np.bool_], peer_RN: NDArray[np.bool_], *, draws: int = 10_000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Mean difference in accuracy, ours less the peer's, and its 95% interval.

    An image's difference is averaged over the R repeats first: the repeats see the same images, so only images are resampled
    (percentile bootstrap, Efron 1979).
    """
    if ours_RN.shape != peer_RN.shape or ours_RN.ndim != 2:
        raise ValueError(f"expected two arrays of the same shape (R, N), got {ours_RN.shape} and {peer_RN.shape}")
    difference_N = (ours_RN.astype(float) - peer_RN.astype(float)).mean(axis=0)
    count = len(difference_N)
    means = difference_N[np.random.default_rng(seed).integers(0, count, (draws, count))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(difference_N.mean()), (float(low), float(high))
