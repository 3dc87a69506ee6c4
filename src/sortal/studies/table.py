"""The table of a study: what each row scored, what was chosen on validation images, and how sure the differences are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation import metrics
from sortal.evaluation.paired import Estimate, difference, mean_accuracy
from sortal.predictions import Predictions

SCORES = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, "log_loss": metrics.log_loss}
LOWER_IS_BETTER = {"log_loss"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row.

    Attributes:
        name: of the row.
        changes: what it changes.
        validation: seed to predictions on the validation images, of the runs that ended well.
        curves: seed to the course of that run, a row an epoch.
        seconds: seed to the seconds of its epochs.
        failures: seed to the reason why there is no model.
        test: seed to predictions on the test images; empty until the choice is made.
    """

    name: str
    changes: Mapping[str, Any]
    validation: Mapping[int, Predictions]
    curves: Mapping[int, Sequence[Mapping[str, Any]]]
    seconds: Mapping[int, float]
    failures: Mapping[int, str]
    test: Mapping[int, Predictions] = field(default_factory=dict)


def choose(outcomes: Sequence[Outcome], by: str) -> str | None:
    """The row whose mean validation score is best, the earlier of two alike; None where no row ended well with all seeds."""
    sign = -1 if by in LOWER_IS_BETTER else 1
    scored = [(sign * value, row.name) for row in outcomes if not row.failures and (value := _score(row, by)) is not None]
    return max(scored, key=lambda found: found[0], default=(0.0, None))[1]


def table(outcomes: Sequence[Outcome], chosen: str | None, by: str) -> list[dict[str, Any]]:
    """A row of plain data for each outcome; differences are of accuracy on the test images, to the first row and to the one
    before, over the seeds that both have.
    """
    rows = []
    for number, outcome in enumerate(outcomes):
        first, before = outcomes[0], outcomes[max(0, number - 1)]
        rows.append(
            {
                "name": outcome.name,
                "set": dict(outcome.changes),
                "chosen": outcome.name == chosen,
                "validation": _scored(outcome.validation) | {"by": by, "score": _score(outcome, by)},
                "test": _scored(outcome.test),
                "to_first": _difference(outcome, first) if number else None,
                "to_previous": _difference(outcome, before) if number else None,
                "failures": {str(seed): why for seed, why in outcome.failures.items()},
                "seconds": float(np.mean(list(outcome.seconds.values()))) if outcome.seconds else None,
            }
        )
    return rows


def mean_curve(curves: Mapping[int, Sequence[Mapping[str, Any]]], key: str) -> list[tuple[float, float]]:
    """Epoch and mean over seeds of 'loss' or of a validation score, as far as every seed's run came."""
    runs = [[row["loss"] if key == "loss" else row["scores"].get(key) for row in rows] for rows in curves.values()]
    if not runs or any(value is None for values in runs for value in values):
        return []
    return [(float(epoch), float(np.mean(values))) for epoch, values in enumerate(zip(*runs, strict=False), start=1)]


def _score(outcome: Outcome, by: str) -> float | None:
    found = [SCORES[by](told.probs_NK, told.labels_N) for told in outcome.validation.values()]
    return float(np.mean(found)) if found else None


def _scored(told: Mapping[int, Predictions]) -> dict[str, Any]:
    """Mean accuracy over seeds with its interval, that of each seed, and on how many images."""
    if not told:
        return {"mean": None, "interval": None, "by_seed": {}, "images": 0}
    right_SN, _ = _right(told)
    by_seed = {str(seed): float(value) for seed, value in zip(told, right_SN.mean(axis=1), strict=True)}
    return mean_accuracy(right_SN).to_json() | {"by_seed": by_seed, "images": right_SN.shape[1]}


def _difference(outcome: Outcome, other: Outcome) -> dict[str, Any] | None:
    found = compared(outcome.test, other.test)
    return None if found is None else found.to_json() | {"beyond_noise": found.beyond_noise}


def compared(told: Mapping[int, Predictions], others: Mapping[int, Predictions]) -> Estimate | None:
    """The difference in accuracy over the seeds that both have, on the images that all have; None without any."""
    seeds = [seed for seed in told if seed in others]
    if not seeds:
        return None
    both = {(side, seed): group[seed] for side, group in enumerate((told, others)) for seed in seeds}
    right_SN, _ = _right(both)
    return difference(right_SN[: len(seeds)], right_SN[len(seeds) :])


def _right(told: Mapping[Any, Predictions]) -> tuple[NDArray[np.bool_], list[str]]:
    """Whether each prediction was right, shape (S, N), and the N sources that all S have, in order."""
    answers = [dict(zip(each.sources, each.right_N, strict=True)) for each in told.values()]
    sources = sorted(set(answers[0]).intersection(*answers[1:]))
    return np.array([[answer[source] for source in sources] for answer in answers], dtype=bool), sources
