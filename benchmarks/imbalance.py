"""An imbalanced Fashion-MNIST, nothing else said: the planned recipe against the same recipe with plain training, paired.

Class i, counted from 0 in the official order, keeps the first 1 / (i + 1) of its training images: ten to one between the first
and the last. The test split stays as it is, with all classes equally many. For each seed both sides are trained with the same
divisions, starts and draws, and differ only in what the plan did about the imbalance; macro F1 is that of their one look at the
test split. Two intervals of the mean difference are told, each 95%: over images (percentile bootstrap of the test images, the
same for both sides and all seeds) and over seeds (Student's t of the paired differences). The first one leaves out what another
start would change, the second one, with three seeds, is wide.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.fashion import DEBIAN
from benchmarks.harness import Claim, Ran, Result, ran, sortal
from sortal.data.mnist import SETS

PLAIN = ("loss.name=cross_entropy", "loss.class_weights=none", "sampler.name=shuffle", "sampler.power=0")
"""Plain training, whatever was planned: every image once an epoch, and all count the same."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=DEBIAN, help=f"folder with the four idx.gz files; default: {DEBIAN}")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each side, each with a seed of its own")
    parser.add_argument(
        "--each", type=int, default=0, help="begin with so many training images a class: to try, not to publish"
    )
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], help="change both sides, KEY=VALUE: to try, not to publish"
    )


def run(options: argparse.Namespace) -> list[Result]:
    seeds = range(1, options.seeds + 1)
    with tempfile.TemporaryDirectory(prefix="imbalance-") as name:
        work = Path(name)
        whole, table = work / "whole.parquet", work / "imbalanced.parquet"
        made = ran(sortal("data", "fashion-mnist", "--from", options.data, "--to", whole, "--json"))
        counts = thin_out(whole, table, SETS["fashion-mnist"].classes, each=options.each or None)
        ours = [_trained(table, work, f"planned-{seed}", seed, options.settings) for seed in seeds]
        plain = [_trained(table, work, f"plain-{seed}", seed, [*options.settings, *PLAIN]) for seed in seeds]
        labels_N, ours_SN = _answers([work / f"planned-{seed}" for seed in seeds])
        _, plain_SN = _answers([work / f"plain-{seed}" for seed in seeds])
    notes = [
        f"training images by class: {', '.join(map(str, counts))}; what was planned: {planned(ours[0])}",
        *(["NOT THE WHOLE SET: --each"] if options.each else []),
        *(f"NOT THE PLAN: with {setting}" for setting in options.settings),
    ]
    return [compared(labels_N, ours_SN, plain_SN, runs=[made, *ours, *plain], notes=notes)]


def _trained(table: Path, work: Path, name: str, seed: int, settings: Sequence[str]) -> Ran:
    words = [word for setting in settings for word in ("--set", setting)]
    command = sortal("train", table, "--seed", seed, *words, "--out", work / name, "--json")
    return ran(command, environment={"SORTAL_CACHE": str(work / "cache")})


def thin_out(whole: Path, to: Path, classes: Sequence[str], *, each: int | None = None) -> list[int]:
    """Write the imbalanced set of a standard one's Parquet, and return the training images of each class, in the order given.

    With `each`, the training split begins with so many images a class, the test split with a sixth, as in the original.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(whole)
    labels, splits = (np.array(table[key].to_pylist()) for key in ("label", "split"))
    kept, counts = [], []
    for number, name in enumerate(classes):
        train, test = (np.flatnonzero((labels == name) & (splits == split)) for split in ("train", "test"))
        train, test = train[:each], test[: each and max(1, each // 6)]
        kept += [train[: len(train) // (number + 1)], test]
        counts.append(len(kept[-2]))
    pq.write_table(table.take(pa.array(np.sort(np.concatenate(kept)))), to, row_group_size=1_000)
    return counts


def _answers(runs: Sequence[Path]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels (N,) of the test split, and what each of S runs answered (S, N), images in the same order."""
    from sortal.predictions import Predictions

    found = [Predictions.load(path / "predictions.parquet").split("test") for path in runs]
    orders = [np.argsort(each.sources) for each in found]
    if any(sorted(each.sources) != sorted(found[0].sources) for each in found):
        raise ValueError("the runs were tested on different images")
    answers_SN = np.stack([each.probs_NK.argmax(axis=1)[order] for each, order in zip(found, orders, strict=True)])
    return found[0].labels_N[orders[0]], answers_SN


def planned(done: Ran) -> str:
    """What the plan did about the imbalance, as settings."""
    recipe = done.answer()["recipe"]
    words = {word: recipe[word.split(".")[0]][word.split(".")[1]] for word in (plain.partition("=")[0] for plain in PLAIN)}
    return ", ".join(f"{word}={value}" for word, value in words.items())


def compared(
    labels_N: NDArray[np.int64],
    ours_SN: NDArray[np.int64],
    plain_SN: NDArray[np.int64],
    *,
    runs: Sequence[Ran] = (),
    notes: Sequence[str] = (),
) -> Result:
    """The answers of the planned recipe against those of plain training, a row a seed."""
    once_1N = np.ones((1, len(labels_N)))
    ours_S, plain_S = (macro_f1(answers_SN, labels_N, once_1N)[0] for answers_SN in (ours_SN, plain_SN))
    mean = float((ours_S - plain_S).mean())
    over_images, over_seeds = image_interval(ours_SN, plain_SN, labels_N), seed_interval(ours_S - plain_S)
    return Result(
        name="imbalance", unit="macro F1", ours=float(ours_S.mean()), peer=float(plain_S.mean()),
        accuracy={"ours": float((ours_SN == labels_N).mean()), "peer": float((plain_SN == labels_N).mean())},
        numbers={
            "difference": mean, "interval_over_images": over_images, "interval_over_seeds": over_seeds,
            "test_images": len(labels_N), "seeds": len(ours_S),
            "ours_by_seed": ours_S.round(4).tolist(), "plain_by_seed": plain_S.round(4).tolist(),
            "ours_recall_by_class": recalls(ours_SN, labels_N).round(3).tolist(),
            "plain_recall_by_class": recalls(plain_SN, labels_N).round(3).tolist(),
        },
        runs=[done.facts() for done in runs],
        claims=[
            Claim("the planned recipe's macro F1 is above plain training's by more than the interval over images",
                  over_images[0] > 0),
            Claim("and by more than the interval over seeds", over_seeds[0] > 0),
        ],
        notes=[f"ours: the planned recipe; peer: the same, plainly trained ({', '.join(PLAIN)})", *notes],
    )  # fmt: skip


def macro_f1(answers_SN: NDArray[np.int64], labels_N: NDArray[np.int64], counts_BN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Macro F1 of each row of answers on each of B data sets, in which the images come so often: shape (B, S)."""
    classes = int(max(labels_N.max(), answers_SN.max())) + 1
    cells = np.eye(classes**2)
    scores = []
    for answers_N in answers_SN:
        counts_BKK = (counts_BN @ cells[labels_N * classes + answers_N]).reshape(-1, classes, classes)
        support_BK = counts_BKK.sum(axis=2)
        right_BK = counts_BKK.diagonal(axis1=1, axis2=2)
        f1_BK = 2 * right_BK / np.maximum(support_BK + counts_BKK.sum(axis=1), 1)
        scores.append(f1_BK.mean(axis=1, where=support_BK > 0))
    return np.stack(scores, axis=1)


def recalls(answers_SN: NDArray[np.int64], labels_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class's images that was answered rightly, the mean over the rows of answers."""
    right_N = (answers_SN == labels_N).mean(axis=0)
    return np.bincount(labels_N, weights=right_N) / np.bincount(labels_N)


def image_interval(ours_SN: NDArray[np.int64], plain_SN: NDArray[np.int64], labels_N: NDArray[np.int64]) -> tuple[float, float]:
    """95% interval of the mean difference in macro F1 over other test images: percentile bootstrap (Efron 1979)."""
    from sortal.evaluation.intervals import bootstrap

    def difference(counts_BN: NDArray[np.float64]) -> NDArray[np.float64]:
        both = (macro_f1(answers_SN, labels_N, counts_BN) for answers_SN in (ours_SN, plain_SN))
        return np.subtract(*both).mean(axis=1, keepdims=True)

    low, high = bootstrap(difference, len(labels_N))
    return float(low[0]), float(high[0])


def seed_interval(difference_S: NDArray[np.float64]) -> tuple[float, float]:
    """95% interval of the mean difference over other seeds: Student's t; of one seed nothing can be said."""
    from scipy.stats import t

    count = len(difference_S)
    if count < 2:
        return float("-inf"), float("inf")
    half = t.ppf(0.975, count - 1) * difference_S.std(ddof=1) / np.sqrt(count)
    return float(difference_S.mean() - half), float(difference_S.mean() + half)
