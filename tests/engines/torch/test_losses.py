"""What is minimised."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sortal.engines.torch.losses import class_weights, label_weights, make_label_loss, make_loss
from sortal.recipe import Loss

PROCESSOR = torch.device("cpu")
LABELS = np.array([0, 0, 0, 1, 3, 3])


@pytest.mark.parametrize("kind", ["inverse", "effective"])
def test_weights_average_one_over_the_images_and_favour_rare_classes(kind: str) -> None:
    weights = class_weights(kind, LABELS, 4)
    assert weights[LABELS].mean() == pytest.approx(1)
    assert weights[1] > weights[3] > weights[0] > weights[2] == 0


def test_inverse_weights_give_every_class_the_same_sum() -> None:
    weights = class_weights("inverse", LABELS, 4)
    sums = [weights[LABELS[label == LABELS]].sum() for label in (0, 1, 3)]
    assert sums == pytest.approx([2, 2, 2])


def test_of_a_thousand_images_more_hardly_count() -> None:
    few, many = (class_weights("effective", np.repeat([0, 1], [100, count]), 2) for count in (4_000, 40_000))
    assert few[0] / few[1] == pytest.approx(many[0] / many[1], rel=0.02)


def test_the_weighted_loss_is_the_mean_of_weighted_losses() -> None:
    logits, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.from_numpy(LABELS)
    loss = make_loss(Loss(class_weights="inverse"), LABELS, 4, PROCESSOR)
    each = functional.cross_entropy(logits, labels, reduction="none")
    expected = (torch.from_numpy(class_weights("inverse", LABELS, 4))[labels] * each).mean()
    assert float(loss(logits, labels)) == pytest.approx(float(expected), rel=1e-6)
    shares = functional.one_hot(labels, 4).float()
    assert float(loss(logits, shares)) == pytest.approx(float(expected), rel=1e-6)


def test_without_weights_it_is_the_plain_cross_entropy() -> None:
    logits, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.from_numpy(LABELS)
    loss = make_loss(Loss(label_smoothing=0.1), LABELS, 4, PROCESSOR)
    assert float(loss(logits, labels)) == float(functional.cross_entropy(logits, labels, label_smoothing=0.1))


SEVERAL = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 0, 1]])


def test_several_labels_are_as_many_questions_of_two_answers() -> None:
    logits, targets = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[1, 0, 1]])
    expected = -(functional.logsigmoid(logits[0]) * targets[0] + functional.logsigmoid(-logits[0]) * (1 - targets[0])).mean()
    assert make_label_loss(Loss(), SEVERAL, 3, PROCESSOR)(logits, targets) == pytest.approx(expected.item())


def test_smoothing_of_several_labels_is_that_of_two_classes_each() -> None:
    loss = make_label_loss(Loss(label_smoothing=0.2), SEVERAL, 1, PROCESSOR)
    logit = torch.tensor([[1.3]])
    two = torch.stack([torch.zeros(1), logit[0]], dim=1)
    expected = functional.cross_entropy(two, torch.tensor([1]), label_smoothing=0.2)
    assert loss(logit, torch.tensor([[1]])) == pytest.approx(expected.item())


def test_the_presence_of_a_rare_label_weighs_more_and_of_one_that_all_have_nothing_else() -> None:
    assert label_weights("inverse", SEVERAL).tolist() == [3.0, 3.0, 1.0]
    many = np.zeros((5_000, 2), dtype=np.int64)
    many[:100, 0] = 1
    assert label_weights("inverse", many).tolist() == [49.0, 1.0]
    assert 9 < label_weights("effective", many)[0] < 12  # (1 - 0.999^4900) / (1 - 0.999^100) is 10.4
    weighted = make_label_loss(Loss(class_weights="inverse"), SEVERAL, 3, PROCESSOR)
    plain = make_label_loss(Loss(), SEVERAL, 3, PROCESSOR)
    logits = torch.zeros(1, 3)
    assert weighted(logits, torch.tensor([[1, 0, 0]])) > plain(logits, torch.tensor([[1, 0, 0]]))
    assert weighted(logits, torch.tensor([[0, 0, 1]])) == plain(logits, torch.tensor([[0, 0, 1]]))
