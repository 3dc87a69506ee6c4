"""What is minimised."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from sortal.engines.torch.losses import class_weights, label_weights, make_label_loss, make_loss
from sortal.recipe import Loss

PROCESSOR = torch.device("cpu")
LABELS = np.array([0, 0, 0, 1, 3, 3])
TARGETS = torch.from_numpy(LABELS)
SMOOTHINGS: list[dict[str, Any]] = [{}, {"label_smoothing": 0.1}, {"label_smoothing": 0.1, "smooth_over": "others"}]
ALL = [
    Loss(name=name, class_weights=weights, **smoothing)
    for name, weights, smoothing in product(("cross_entropy", "focal"), ("none", "inverse"), SMOOTHINGS)
]


def drawn(rows: int = 6, classes: int = 4, *, seed: int = 0) -> Tensor:
    return 3 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def value(spec: Loss, logits: Tensor, targets: Tensor) -> float:
    """The loss where training has the images `LABELS`, or as many classes as there are logits."""
    labels = LABELS if logits.shape[1] == 4 else np.arange(logits.shape[1])
    return float(make_loss(spec, labels, logits.shape[1], PROCESSOR)(logits, targets))


def of_tutorial_000(logits: Tensor, targets: Tensor, smoothing: float) -> float:
    """Its LabelSmoothingLoss, word for word."""
    confidence = 1.0 - smoothing
    smooth_value = smoothing / (logits.shape[1] - 1)
    one_hot = torch.full_like(logits, smooth_value)
    one_hot.scatter_(1, targets.unsqueeze(1), confidence)
    return float((-one_hot * functional.log_softmax(logits, dim=1)).sum(dim=1).mean())


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


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_smoothing_over_the_others_is_that_of_tutorial_000(classes: int, share: float) -> None:
    logits, targets = drawn(20, classes), torch.arange(20) % classes
    ours = value(Loss(label_smoothing=share, smooth_over="others"), logits, targets)
    assert ours == pytest.approx(of_tutorial_000(logits, targets, share), rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_two_smoothings_differ_at_equal_shares_and_agree_at_converted_ones(name: str, classes: int) -> None:
    targets = torch.arange(20) % classes
    logits = drawn(20, classes) + 5 * functional.one_hot(targets, classes)
    others = value(Loss(name=name, label_smoothing=0.2, smooth_over="others"), logits, targets)
    equal = value(Loss(name=name, label_smoothing=0.2), logits, targets)
    converted = value(Loss(name=name, label_smoothing=0.2 * classes / (classes - 1)), logits, targets)
    assert others == pytest.approx(converted, rel=1e-5)
    assert others > 1.01 * equal  # of confident answers, since the true class is to keep less


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_a_class_as_its_index_and_as_the_whole_share_are_the_same(spec: Loss) -> None:
    logits = drawn()
    assert value(spec, logits, TARGETS) == pytest.approx(value(spec, logits, functional.one_hot(TARGETS, 4).float()), rel=1e-5)


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_a_mixed_image_costs_what_its_parts_cost_by_their_shares(spec: Loss) -> None:
    logits, other = drawn(), TARGETS.roll(1)
    shares = 0.3 * functional.one_hot(TARGETS, 4) + 0.7 * functional.one_hot(other, 4)
    expected = 0.3 * value(spec, logits, TARGETS) + 0.7 * value(spec, logits, other)
    assert value(spec, logits, shares) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_the_formula_of_its_paper(gamma: float) -> None:
    logits = drawn()
    exps = np.exp(logits.numpy().astype(np.float64))
    probs = (exps / exps.sum(axis=1, keepdims=True))[np.arange(6), LABELS]
    expected = np.mean((1 - probs) ** gamma * -np.log(probs))
    assert value(Loss(name="focal", gamma=gamma), logits, TARGETS) == pytest.approx(expected, rel=1e-5)


def test_of_two_classes_focal_loss_is_torchvisions_sigmoid_form() -> None:
    scores, targets = drawn(20, 1), torch.arange(20) % 2
    logits = torch.cat([torch.zeros_like(scores), scores], dim=1)
    expected = sigmoid_focal_loss(scores[:, 0], targets.float(), alpha=-1, gamma=3.0, reduction="mean")
    assert value(Loss(name="focal", gamma=3.0), logits, targets) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("weights", ["none", "effective"])
@pytest.mark.parametrize("smoothing", SMOOTHINGS, ids=str)
def test_focal_loss_with_gamma_0_is_the_cross_entropy(weights: str, smoothing: dict[str, Any]) -> None:
    focal, plain = (Loss(class_weights=weights, **smoothing, **name) for name in ({"name": "focal", "gamma": 0}, {}))
    assert value(focal, drawn(), TARGETS) == pytest.approx(value(plain, drawn(), TARGETS), rel=1e-5)


def test_the_surer_the_less_an_image_counts_in_focal_loss() -> None:
    logits = torch.tensor([[0.0, 0, 0, 0], [4, 0, 0, 0]])
    targets = torch.zeros(1, dtype=torch.int64)
    unsure, sure = (value(Loss(name="focal"), row[None], targets) / value(Loss(), row[None], targets) for row in logits)
    assert unsure == pytest.approx(0.75**2)
    assert sure < 0.005


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_has_a_slope_where_a_probability_rounds_to_one_or_nothing(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0, 0, -200], [-200, 0, 0, 200]], requires_grad=True)
    loss = make_loss(Loss(name="focal", gamma=gamma, label_smoothing=0.1), LABELS, 4, PROCESSOR)
    loss(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[1, 0] < 0


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


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_several_labels_is_torchvisions(gamma: float) -> None:
    logits, targets = drawn(4, 3), torch.from_numpy(SEVERAL)
    expected = sigmoid_focal_loss(logits, targets.float(), alpha=-1, gamma=gamma, reduction="mean")
    ours = make_label_loss(Loss(name="focal", gamma=gamma), SEVERAL, 3, PROCESSOR)(logits, targets)
    assert float(ours) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("weights", ["none", "inverse"])
def test_focal_loss_of_several_labels_with_gamma_0_is_the_binary_cross_entropy(weights: str) -> None:
    logits, targets = drawn(4, 3), torch.from_numpy(SEVERAL)
    focal = Loss(name="focal", gamma=0, class_weights=weights, label_smoothing=0.1)
    plain = Loss(class_weights=weights, label_smoothing=0.1)
    ours, theirs = (float(make_label_loss(spec, SEVERAL, 3, PROCESSOR)(logits, targets)) for spec in (focal, plain))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_of_two_answers_to_a_label_smoothing_over_the_other_is_twice_that_over_both() -> None:
    logits, targets = drawn(4, 3), torch.from_numpy(SEVERAL)
    others, both = Loss(label_smoothing=0.1, smooth_over="others"), Loss(label_smoothing=0.2)
    ours, theirs = (float(make_label_loss(spec, SEVERAL, 3, PROCESSOR)(logits, targets)) for spec in (others, both))
    assert ours == pytest.approx(theirs, rel=1e-6)
