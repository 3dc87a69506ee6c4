"""The table, the choice and the errors, from invented predictions."""

import numpy as np
import pytest

from sortal.predictions import Predictions
from sortal.studies.errors import errors_of
from sortal.studies.table import Outcome, choose, mean_curve, table

CLASSES = ("cat", "dog", "fox")


def told(guesses: str, truth: str, sure: float = 0.8) -> Predictions:
    """Predictions from initials: told('cdf', 'ccc') is right once."""
    index = {name[0]: place for place, name in enumerate(CLASSES)}
    probs = np.full((len(guesses), 3), (1 - sure) / 2, np.float32)
    probs[np.arange(len(guesses)), [index[guess] for guess in guesses]] = sure
    labels = np.array([index[label] for label in truth])
    return Predictions(tuple(f"{n:03d}.png" for n in range(len(truth))), CLASSES, probs, labels, ("val",) * len(truth))


def outcome(
    name: str, validation: dict[int, Predictions], test: dict[int, Predictions] | None = None, **more: object
) -> Outcome:
    values = {"changes": {}, "curves": {}, "seconds": dict.fromkeys(validation, 2.0), "failures": {}, "test": test or {}}
    return Outcome(name=name, validation=validation, **(values | more))  # type: ignore[arg-type]


def test_the_row_with_the_best_mean_on_validation_is_chosen_whatever_test_says() -> None:
    good, bad = told("cdf", "cdf"), told("ddd", "cdf")
    first = outcome("first", {0: good, 1: bad}, {0: good, 1: good})
    second = outcome("second", {0: good, 1: good}, {0: bad, 1: bad})
    assert choose([first, second], "accuracy") == "second"


def test_of_two_alike_the_earlier_is_chosen() -> None:
    same = told("cdf", "cdf")
    assert choose([outcome("a", {0: same}), outcome("b", {0: same})], "accuracy") == "a"


def test_a_log_loss_is_chosen_by_the_smallest() -> None:
    right = "cdf"
    rows = [outcome("shy", {0: told(right, right, 0.5)}), outcome("sure", {0: told(right, right, 0.9)})]
    assert choose(rows, "log_loss") == "sure"
    assert choose(rows, "macro_f1") == "shy"


def test_a_row_that_failed_with_a_seed_is_not_chosen() -> None:
    good, bad = told("cdf", "cdf"), told("ddd", "cdf")
    rows = [outcome("failed", {0: good}, failures={1: "diverged"}), outcome("bad", {0: bad, 1: bad})]
    assert choose(rows, "accuracy") == "bad"
    assert choose(rows[:1], "accuracy") is None


def test_differences_are_to_the_first_row_and_to_the_one_before() -> None:
    truth = "cdf" * 40
    a, b, c = told("d" * 120, truth), told("cdd" * 40, truth), told(truth, truth)
    rows = [outcome(name, {0: each, 1: each}, {0: each, 1: each}) for name, each in (("a", a), ("b", b), ("c", c))]
    found = table(rows, "c", "accuracy")
    assert found[0]["to_first"] is None
    assert [row["chosen"] for row in found] == [False, False, True]
    assert found[2]["to_first"]["mean"] == pytest.approx(2 / 3)
    assert found[2]["to_previous"]["mean"] == pytest.approx(1 / 3)
    assert found[2]["to_previous"]["beyond_noise"]
    assert found[1]["test"]["by_seed"] == {"0": pytest.approx(2 / 3), "1": pytest.approx(2 / 3)}


def test_a_row_that_lost_a_seed_is_compared_over_the_others() -> None:
    truth = "cdf" * 10
    good, bad = told(truth, truth), told("d" * 30, truth)
    rows = [outcome("a", {}, {0: good, 1: bad}), outcome("b", {}, {0: good}, failures={1: "diverged"}), outcome("c", {}, {})]
    found = table(rows, None, "accuracy")
    assert found[1]["to_first"]["mean"] == 0
    assert found[2]["to_first"] is None
    assert found[2]["test"]["mean"] is None


def test_curves_are_means_as_far_as_every_seed_came() -> None:
    curves = {
        0: [{"loss": 2.0, "scores": {"accuracy": 0.5}}, {"loss": 1.0, "scores": {"accuracy": 0.7}}],
        1: [{"loss": 1.0, "scores": {"accuracy": 0.7}}],
    }
    assert mean_curve(curves, "loss") == [(1.0, 1.5)]
    assert mean_curve(curves, "accuracy") == [(1.0, pytest.approx(0.6))]
    assert mean_curve(curves, "nothing") == []


def test_errors_name_the_pairs_the_hardest_classes_and_what_every_run_gets_wrong() -> None:
    truth = "ccccddddffff"
    runs = {0: told("cdddddddcfff", truth), 1: told("ccddddddffff", truth, 0.7)}
    found = errors_of(runs)
    assert found["pairs"][0]["classes"] == ["cat", "dog"]
    assert found["pairs"][0]["count"] == 2.5
    assert [hard["class"] for hard in found["hardest"]] == ["cat", "fox"]
    cats = found["hardest"][0]["mistakes"]
    assert [mistake["wrong_runs"] for mistake in cats] == [2, 2, 1]
    assert {mistake["source"] for mistake in cats[:2]} == {"002.png", "003.png"}
    assert cats[0]["predicted"] == "dog"
    assert found["hardest"][0]["recall"] == pytest.approx(3 / 8)
    assert np.array(found["confusion"]).sum() == 24


def test_no_more_than_five_mistakes_are_shown_of_a_class() -> None:
    assert len(errors_of({0: told("d" * 9, "c" * 9)})["hardest"][0]["mistakes"]) == 5
