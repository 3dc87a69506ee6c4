import numpy as np
import pytest

from sortal.health.shortcuts import shortcuts, strengths


def cue(count=300, dimensions=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


LABELS = np.tile([0, 1, 2], 100)
UNITS = np.arange(300)
CLASSES = ["ant", "bee", "wasp"]


def told(inputs, labels=LABELS, units=UNITS, name="the border"):
    return shortcuts({name: inputs}, [f"{n}.jpg" for n in range(len(labels))], CLASSES, labels, units)


def test_what_has_nothing_to_do_with_the_class_is_no_shortcut():
    assert told(cue()) == []


def test_a_border_on_nearly_all_images_of_a_class_is_found_with_its_figures_and_that_class_alone():
    inputs = cue()
    inputs[(LABELS == 1) & (UNITS % 10 > 0)] = [0.3, 0.3, 0.3, 0]
    (finding,) = told(inputs)
    assert finding.kind == "shortcut"
    assert finding.severity in ("warning", "severe")
    assert finding.detail.startswith("the border alone tells bee: F1 0.9")
    assert "shuffled labels" in finding.detail
    assert "95% interval" in finding.detail
    assert "also" not in finding.detail
    assert all(int(source.split(".")[0]) % 3 == 1 for source in finding.images)


def test_a_cue_that_tells_every_class_for_certain_is_severe():
    inputs = cue()
    inputs[:, 0] = LABELS * 5
    (finding,) = told(inputs)
    assert finding.severity == "severe"
    assert "; also " in finding.detail


def test_a_weak_cue_as_honest_sets_have_is_not_told():
    inputs = cue()
    inputs[:, 0] += LABELS == 1  # one deviation higher: the sky is behind aeroplanes
    first = strengths("the border", inputs, LABELS, UNITS, 3)[0]
    assert CLASSES[first.label] == "bee"
    assert 0.05 < first.strength < 0.6
    assert told(inputs) == []


def test_a_narrow_range_in_the_middle_is_told_too():
    inputs = cue(dimensions=1)
    inputs[LABELS == 2] = 0.1
    assert told(inputs)


def test_a_cue_that_never_varies_and_too_few_images_say_nothing():
    assert strengths("size", np.ones((300, 2), np.float32), LABELS, UNITS, 3) == []
    few = np.array([0, 1] * 9)
    assert strengths("size", cue(18), few, np.arange(18), 2) == []


def test_copies_do_not_make_a_shortcut():
    """Each picture ten times: the number of a picture would tell its class."""
    pictures = np.repeat(cue(30, dimensions=12), 10, axis=0)
    labels = np.repeat(np.random.default_rng(5).integers(0, 3, 30), 10)
    assert told(pictures, labels, np.repeat(np.arange(30), 10)) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_strength_is_that_of_chance_where_labels_are_drawn(seed):
    found = strengths("size", cue(seed=seed), np.random.default_rng(seed + 9).permutation(LABELS), UNITS, 3)
    assert all(abs(each.strength) < 0.25 for each in found)
