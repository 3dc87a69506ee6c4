import numpy as np

from sortal.health.drift import drift, told_apart


def views(shift=0.0, count=200, seed=0):
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(2 * count, 6)).astype(np.float32)
    inputs[count:, 0] += shift
    return inputs, ["train"] * count + ["test"] * count, [f"{n}.jpg" for n in range(2 * count)]


def told(shift, **more):
    inputs, splits, sources = views(shift, **more)
    return drift({"what they show": inputs}, sources, splits, np.arange(len(splits)))


def test_splits_of_one_kind_are_not_told_apart():
    assert told(0.0) == []


def test_a_test_split_of_another_kind_is_told_with_its_figures_and_its_most_unlike_images():
    (finding,) = told(1.5)
    assert (finding.kind, finding.severity) == ("drift", "warning")
    assert finding.detail.startswith("test differs from train: a head that sees what they show")
    assert "alike would be 0.50" in finding.detail
    assert len(finding.images) == 10
    assert all(int(source.split(".")[0]) >= 200 for source in finding.images)


def test_splits_that_are_told_apart_for_certain_are_severe():
    (finding,) = told(6.0)
    assert finding.severity == "severe"


def test_the_area_is_that_of_the_shift():
    inputs, splits, _ = views(1.5, count=1_000)
    train = np.array(splits) == "train"
    found = told_apart(inputs, train, ~train, np.arange(2_000))
    assert abs(found.area - 0.856) < 0.03  # the normal distribution function of 1.5 / sqrt(2)
    assert found.low < found.area < found.high


def test_a_split_that_is_missing_or_small_is_not_judged():
    inputs, splits, sources = views(6.0, count=10)
    assert drift({"x": inputs}, sources, splits, np.arange(20)) == []
    assert drift({"x": inputs}, sources, [None] * 20, np.arange(20)) == []
    assert drift({}, sources, splits, np.arange(20)) == []


def test_copies_across_splits_are_no_drift():
    inputs, splits, sources = views(0.0)
    inputs[200:] = inputs[:200]
    assert drift({"x": inputs}, sources, splits, np.tile(np.arange(200), 2)) == []
