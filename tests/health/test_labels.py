import sys

import numpy as np
import pytest

from sortal.errors import MissingExtra
from sortal.health.labels import alike, combined, suspects, wrong_labels

NOBODY = np.empty((0, 0), np.int64)


def judged(labels, sure=0.95, classes=3):
    """Probabilities of a judge who is right and nearly sure."""
    probs = np.full((len(labels), classes), (1 - sure) / (classes - 1))
    probs[np.arange(len(labels)), labels] = sure
    return probs


def test_images_under_a_wrong_label_are_named_with_the_label_that_they_would_have():
    pytest.importorskip("cleanlab")
    true = np.tile([0, 1, 2], 20)
    given = true.copy()
    given[[4, 9]] = [0, 1]
    sources = [f"{n}.jpg" for n in range(60)]
    (finding,) = wrong_labels(sources, ["ant", "bee", "wasp"], given, judged(true, 0.995), "a judge")
    assert finding.kind == "label"
    assert set(finding.images) == {"4.jpg", "9.jpg"}
    assert dict(zip(finding.images, finding.proposed, strict=True)) == {"4.jpg": "bee", "9.jpg": "ant"}
    assert "4.jpg (ant, would be bee: 0.99)" in finding.detail
    assert finding.to_json()["proposed"] == list(finding.proposed)


def test_right_labels_give_no_finding():
    pytest.importorskip("cleanlab")
    labels = np.tile([0, 1, 2], 20)
    assert wrong_labels(["x"] * 60, ["a", "b", "c"], labels, judged(labels), "a judge") == []


def test_a_judge_who_only_doubts_accuses_nobody():
    pytest.importorskip("cleanlab")
    labels = np.tile([0, 1], 30)
    probs = judged(labels, 0.8, classes=2)
    probs[:5] = probs[:5, ::-1]  # four to one against the label
    assert len(suspects(probs, labels)) == 0


def test_the_surest_come_first():
    pytest.importorskip("cleanlab")
    true = np.tile([0, 1], 30)
    given = true.copy()
    given[[2, 5, 8]] = 1 - given[[2, 5, 8]]
    probs = judged(true, 0.99, classes=2)
    probs[5] = [0.0001, 0.9999]
    assert suspects(probs, given)[0] == 5


def test_of_few_images_or_a_class_of_one_nothing_is_said():
    labels = np.array([0, 1] * 9)
    assert len(suspects(judged(1 - labels, classes=2), labels)) == 0
    one = np.array([0] * 40 + [1])
    assert len(suspects(judged(1 - one, classes=2), one)) == 0


def test_a_class_of_one_or_none_does_not_silence_the_others():
    pytest.importorskip("cleanlab")
    true = np.tile([0, 2], 30)
    given = true.copy()
    given[[2, 5, 8]] = 2 - given[[2, 5, 8]]
    alone = np.append(given, 3)
    probs = judged(np.append(true, 3), 0.97, classes=5)  # of class 1 and 4 there is none, of class 3 one
    assert sorted(suspects(probs, alone).tolist()) == [2, 5, 8]


def test_neighbours_with_another_label_raise_the_doubt_and_copies_do_not_vote():
    labels = np.array([0, 0, 1, 1, 1, 1])
    probs = np.full((6, 2), 0.5, np.float32)
    neighbours = np.array([[2, 3, 4], [-1, -1, -1], [3, 4, 5], [2, 4, 5], [2, 3, 5], [2, 3, 4]])
    both = combined(probs, labels, neighbours)
    np.testing.assert_allclose(both.sum(axis=1), 1)
    assert both[0, 0] < 0.1
    np.testing.assert_allclose(both[1], [1 / 3, 2 / 3])  # without neighbours the classes' shares
    assert combined(probs, labels, np.empty((6, 0), np.int64)).shape == (6, 2)


def test_without_cleanlab_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    labels = np.tile([0, 1], 30)
    with pytest.raises(MissingExtra) as caught:
        suspects(judged(labels, classes=2), labels)
    assert "sortal[check]" in caught.value.hint


def test_classes_that_a_judge_tells_by_chance_are_alike():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 200)
    probs = random.dirichlet([5, 5, 1], 600)
    probs[labels == 2] = [0.02, 0.02, 0.96]
    (finding,) = alike([f"{n}.jpg" for n in range(600)], ["cat", "cat2", "dog"], labels, probs)
    assert (finding.kind, finding.severity) == ("classes-alike", "warning")
    assert "cat and cat2 (0.4" in finding.detail
    assert "dog" not in finding.detail
    one, other = (int(image.split(".")[0]) for image in finding.images)
    assert one < 200 <= other < 400
    assert probs[one, 1] > probs[one, 0]
    assert probs[other, 0] > probs[other, 1]


def test_classes_that_are_told_mostly_or_that_are_small_are_not_called_alike():
    labels = np.repeat([0, 1], 100)
    assert alike(["x"] * 200, ["a", "b"], labels, judged(labels, 0.6, classes=2)) == []
    few = np.repeat([0, 1], 9)
    assert alike(["x"] * 18, ["a", "b"], few, np.full((18, 2), 0.5)) == []
