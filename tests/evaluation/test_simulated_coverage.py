"""What a 95% interval promises, tried out: of 5,000 simulated test sets it holds the truth 94 to 97 times in a hundred.

The truth is that of a population of 200,000 images whose probabilities are too sure of themselves, as networks' are.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from sortal.evaluation import crossfit, metrics, multilabel, selective
from sortal.evaluation.calibration import sigmoid, softmax
from sortal.evaluation.calibrators import fitted
from sortal.evaluation.comparing import difference
from sortal.evaluation.intervals import mean_interval, share_interval

SETS = 5000
POPULATION = 200_000
GROUPS = 150
pytestmark = pytest.mark.slow


def population(classes: int = 4, sure: float = 1.4) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits and labels; divided by `sure` they would be calibrated."""
    generator = np.random.default_rng(0)
    labels_N = generator.choice(classes, size=POPULATION, p=np.arange(classes, 0, -1) / sum(range(classes + 1)))
    scores_NK = generator.normal(size=(POPULATION, classes))
    scores_NK[np.arange(POPULATION), labels_N] += 2
    return 2 * sure * scores_NK + np.log(np.arange(classes, 0, -1)) * sure, labels_N


def drawn(images: int, sets: int = SETS) -> Iterator[NDArray[np.int64]]:
    """Rows of the population, set after set."""
    generator = np.random.default_rng(1)
    for _ in range(sets):
        yield generator.integers(0, POPULATION, images)


def holds(interval: list[float] | tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def assert_covers(hits: Counter[str], sets: int = SETS) -> None:
    found = {name: count / sets for name, count in hits.items()}
    assert all(0.94 <= share <= 0.97 for share in found.values()), found


def test_the_intervals_of_the_scores_of_one_label_hold_the_truth() -> None:
    logits_NK, labels_N = population()
    probs_NK = softmax(logits_NK)
    truth = metrics.metrics(probs_NK[:100], labels_N[:100]) | {
        name: getattr(metrics, name)(probs_NK, labels_N)
        for name in ("accuracy", "macro_f1", "weighted_f1", "log_loss", "calibration_error")
    }
    hits: Counter[str] = Counter()
    for rows in drawn(500):
        found = metrics.metrics(probs_NK[rows], labels_N[rows])
        hits["accuracy"] += holds(found["accuracy_interval"], truth["accuracy"])
        for name in ("macro_f1", "weighted_f1", "log_loss", "calibration_error"):
            hits[name] += holds(found["intervals"][name], truth[name])
    assert_covers(hits)


def test_the_intervals_of_each_class_hold_the_truth() -> None:
    logits_NK, labels_N = population(7)
    probs_NK, names = softmax(logits_NK), list("abcdefg")
    truth = metrics.per_class(probs_NK, labels_N, names)[1]
    top5 = metrics.top_k(probs_NK, labels_N)
    hits: Counter[str] = Counter()
    for rows in drawn(400):
        row = metrics.per_class(probs_NK[rows], labels_N[rows], names)[1]
        for name in ("precision", "recall", "f1"):
            hits[name] += holds(row[f"{name}_interval"], truth[name])
        among = metrics._ranks(probs_NK[rows], labels_N[rows]) < metrics.TOP
        hits["top5"] += holds(share_interval(among), top5)
    assert_covers(hits)


def test_the_intervals_of_the_scores_of_several_labels_hold_the_truth() -> None:
    generator = np.random.default_rng(0)
    labels_NK = (generator.random((POPULATION, 2)) < np.array([0.5, 0.3])).astype(np.int64)
    probs_NK = sigmoid(1.4 * (2.4 * labels_NK - 1.4 + generator.normal(size=labels_NK.shape)))
    said_NK = probs_NK >= 0.5
    truth = {
        "mean_average_precision": multilabel.mean_average_precision(probs_NK, labels_NK),
        "micro_f1": multilabel.micro_f1(said_NK, labels_NK),
        "macro_f1": multilabel.macro_f1(said_NK, labels_NK),
        "subset_accuracy": multilabel.subset_accuracy(said_NK, labels_NK),
        "log_loss": multilabel.log_loss(probs_NK, labels_NK),
        "calibration_error": multilabel.calibration_error(probs_NK, labels_NK),
    }
    hits: Counter[str] = Counter()
    for rows in drawn(300):
        found = multilabel.metrics(probs_NK[rows], said_NK[rows], labels_NK[rows])["intervals"]
        for name, value in truth.items():
            hits[name] += holds(found[name], value)
    assert_covers(hits)


def test_intervals_over_groups_hold_the_truth_where_those_of_lone_images_would_not() -> None:
    generator = np.random.default_rng(0)
    hits: Counter[str] = Counter()
    alone = 0
    for _ in range(SETS):
        sizes = generator.integers(1, 8, GROUPS)
        groups_N = np.repeat(np.arange(GROUPS), sizes)
        right_N = generator.random(len(groups_N)) < np.repeat(generator.beta(8, 2, GROUPS), sizes)  # 0.8 on the whole
        losses_N = np.repeat(generator.exponential(size=GROUPS), sizes) + generator.exponential(size=len(groups_N))
        hits["share"] += holds(share_interval(right_N, groups_N), 0.8)
        hits["mean"] += holds(mean_interval(losses_N, groups_N), 2.0)
        alone += holds(mean_interval(losses_N), 2.0)
    assert_covers(hits)
    assert alone / SETS < 0.9


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_of_a_difference_holds_the_truth_and_equal_models_are_rarely_called_different(grouped: bool) -> None:
    generator = np.random.default_rng(0)
    hits: Counter[str] = Counter()
    called = 0
    for _ in range(SETS):
        groups_N = np.repeat(np.arange(100), 3) if grouped else None
        count = 100 if grouped else 300
        values = generator.choice([-1, 0, 1], size=(2, count), p=[0.06, 0.84, 0.1])
        pair = np.repeat(values, 3, axis=1) if grouped else values
        hits["difference"] += holds(difference(pair[0] < 0, pair[0] > 0, groups_N).interval, 0.04)
        equal = np.where(generator.random(count) < 0.5, values[1], -values[1])
        equal = np.repeat(equal, 3) if grouped else equal
        called += difference(equal < 0, equal > 0, groups_N).p_value < 0.05
    assert_covers(hits)
    assert called / SETS <= 0.06


@pytest.mark.parametrize("method", ["none", "temperature", "vector", "isotonic"])
def test_conformal_sets_at_90_percent_hold_the_true_class_89_to_92_times_in_a_hundred(method: str) -> None:
    logits_NK, labels_N = population()
    covered, sets = 0.0, 400  # each is judged on 2,000 new images
    for rows in drawn(200 + 2000, sets):
        held, new = rows[:200], rows[200:]
        folds = crossfit.dealt(200)
        probs_MK = np.empty((200, 4))
        for fold in range(crossfit.FOLDS):
            rest = held[folds != fold]
            calibrator = fitted(method, logits_NK[rest], labels_N[rest], "softmax")
            probs_MK[folds == fold] = calibrator(logits_NK[held[folds == fold]])
        sets_of = crossfit.conformal(probs_MK, labels_N[held])
        assert sets_of is not None
        shipped = fitted(method, logits_NK[held], labels_N[held], "softmax")(logits_NK[new])
        covered += float((shipped[np.arange(2000), labels_N[new]] >= sets_of.threshold).mean())
    assert 0.89 <= covered / sets <= 0.92, covered / sets


def test_conformal_sets_of_a_chosen_calibration_hold_the_true_class_as_often() -> None:
    logits_NK, labels_N = population()
    covered, sets = 0.0, 100
    for rows in drawn(200 + 2000, sets):
        held, new = rows[:200], rows[200:]
        choice = crossfit.chosen(logits_NK[held], labels_N[held], "softmax")
        sets_of = crossfit.conformal(choice.probs_MK, labels_N[held])
        assert sets_of is not None
        covered += float((choice.calibrator(logits_NK[new])[np.arange(2000), labels_N[new]] >= sets_of.threshold).mean())
    assert 0.89 <= covered / sets <= 0.92, covered / sets


@pytest.mark.parametrize("wanted", [0.05, 0.1])
def test_a_wanted_error_rate_is_kept_on_average(wanted: float) -> None:
    logits_NK, labels_N = population()
    wrong, sets = [], 150
    for rows in drawn(300 + 3000, sets):
        held, new = rows[:300], rows[300:]
        choice = crossfit.chosen(logits_NK[held], labels_N[held], "softmax")
        threshold = selective.threshold_for(wanted, choice.probs_MK, labels_N[held])
        probs_NK = choice.calibrator(logits_NK[new])
        answered = probs_NK.max(axis=1) >= threshold
        if answered.any():
            wrong.append(float((probs_NK.argmax(axis=1) != labels_N[new])[answered].mean()))
    assert np.mean(wrong) <= wanted, np.mean(wrong)
    assert np.mean(wrong) >= wanted / 3, "it does not abstain out of timidity"


def test_what_is_chosen_is_never_worse_on_average_and_halves_a_large_calibration_error() -> None:
    worse: list[float] = []
    for sure in (1.0, 1.2, 1.5, 2.0):
        logits_NK, labels_N = population(sure=sure)
        before, after, losses = [], [], []
        for rows in drawn(1000 + 4000, 30):
            held, new = rows[:1000], rows[1000:]
            calibrator = crossfit.chosen(logits_NK[held], labels_N[held], "softmax").calibrator
            plain, told = softmax(logits_NK[new]), calibrator(logits_NK[new])
            losses.append(metrics.log_loss(told, labels_N[new]) - metrics.log_loss(plain, labels_N[new]))
            before.append(metrics.calibration_error(plain, labels_N[new]))
            after.append(metrics.calibration_error(told, labels_N[new]))
        worse.append(float(np.mean(losses)))
        if np.mean(before) >= 0.04:
            assert np.mean(after) <= np.mean(before) / 2, (sure, np.mean(before), np.mean(after))
    assert max(worse) <= 1e-3, worse
