"""One model being trained with torch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sortal.data.samples import HeldFeatures, Samples
from sortal.engines.graphs import deployed
from sortal.engines.onnx import OnnxGraph
from sortal.engines.torch.engine import ENGINE
from sortal.engines.torch.optim import make_optimizer
from sortal.engines.torch.session import TorchSession
from sortal.errors import MachineFailed, NotSupported
from sortal.evaluation.calibrators import Calibrator, uncalibrated
from sortal.preprocess import Preprocess
from sortal.recipe import Augment, Average, Grow, Head, Loss, Optimizer, Recipe, Sampler, Schedule, Start, Thaw
from sortal.training.fit import fit

SIDE, CLASSES, IMAGES = 16, 3, 20
GEOMETRY = Preprocess(SIDE, SIDE, 1, mean=(0.2,), std=(0.3,))
SCRATCH = Recipe(
    model="lenet5",
    weights="none",
    strategy="scratch",
    image_size=SIDE,
    channels=1,
    epochs=2,
    batch_size=8,
    learning_rate=0.01,
    precision="float32",
    layout="nchw",
    runtime="torch",
    threads=1,
)


class Held:
    """Pixels in memory."""

    def __init__(self, pixels_NRRC: NDArray[np.uint8]) -> None:
        self.pixels_NRRC = pixels_NRRC

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels_NRRC[rows_B]


@pytest.fixture
def samples() -> Samples:
    return three_classes()


def three_classes() -> Samples:
    """Grey images of 16 pixels, 17 to train on and three to judge by."""
    random = np.random.default_rng(0)
    labels_N = np.arange(IMAGES) % CLASSES
    pixels = random.integers(0, 100, (IMAGES, SIDE, SIDE, 1), dtype=np.uint8)
    pixels[np.arange(IMAGES), labels_N * 5] = 250  # a bright row tells the class
    keys_N = random.integers(0, 2**63, IMAGES, dtype=np.uint64)
    rows = np.arange(IMAGES)
    return Samples(("a", "b", "c"), labels_N, keys_N, {"train": rows[:17], "val": rows[17:]}, Held(pixels))


def after(session: TorchSession, steps: int) -> dict[str, NDArray[Any]]:
    """The state after so many steps."""
    taken = 0
    for epoch in range(steps):
        for batch in session.batches(epoch):
            if taken == steps:
                return session.state()
            session.train_step(batch, 1.0, taken / 10)
            taken += 1
    return session.state()


def opened(samples: Samples, **change: Any) -> TorchSession:
    return ENGINE.open(Recipe.model_validate(SCRATCH.model_dump() | change), GEOMETRY, samples)


VARIED = Augment(
    order=(
        "noise", "crop", "elastic", "blur", "auto_augment", "rotate", "motion_blur", "trivial_augment", "grid", "quarter_turns",
    ),
    chance={"elastic": 0.5}, one_of=(("blur", "motion_blur", "noise"),), one_of_chance=0.9, noise=(0.05, 0.1), blur=(0.5, 1),
    motion_blur=5, crop="resized", elastic=20, grid=0.3, quarter_turns=0.5, rotate=20, auto_augment="cifar10",
    trivial_augment=True, mixup=0.3,
)  # fmt: skip
BRISK: dict[str, Any] = {
    "model": "brisk_s",
    "layout": "channels_last",
    "start": Start(whiten="bias", whiten_until=0.5, identity=True),
    "optimizer": Optimizer(name="muon", momentum=0.6, fixed_norm=True, rest_rate=7, rest_momentum=0.85, bias_rate=8),
}
"""A network whose first layer whitens patches, trained by Muon."""
CHANGES: list[dict[str, Any]] = [
    {},
    {"layout": "channels_last"},
    {"optimizer": Optimizer(name="sgd", nesterov=True, clip=1.0)},
    {"average": Average(name="ema", decay=0.9)},
    {"augment": Augment(mixup=0.4, cutmix=1.0, flip=0.5, crop="padded", padding=2)},
    {"augment": VARIED},
    {"head": Head(kind="mlp", hidden=4, dropout=0.5)},
    {"precision": "bf16"},
    {"sampler": Sampler(name="oversample", power=0.3), "augment": Augment(flip=0.5)},
    {"sampler": Sampler(name="balanced"), "augment": Augment(mixup=0.4)},
    {"loss": Loss(name="focal", label_smoothing=0.1, smooth_over="others"), "augment": Augment(cutmix=1.0)},
    {"precision": "fp16"},
    {"optimizer": Optimizer(name="adam", weight_decay=0.1)},
    {"optimizer": Optimizer(name="rmsprop")},
    {"optimizer": Optimizer(name="rmsprop", momentum=0)},
    {"optimizer": Optimizer(accumulate=2), "batch_size": 4},
    {"micro_batch": 3},
    {"optimizer": Optimizer(name="muon")},
    {"optimizer": Optimizer(name="muon"), "precision": "fp16"},
    {"average": Average(name="lookahead", decay=0.9, every=2)},
    {"augment": Augment(flip=0.5, alternate_flip=True)},
    BRISK,
    BRISK | {"average": Average(name="lookahead", decay=0.5, every=2), "start": Start(whiten="frozen")},
    BRISK | {"grow": Grow(start=0.75), "average": Average(name="ema"), "layout": "nchw"},
    {"model": "googlenet", "average": Average(name="ema", decay=0.9)},  # auxiliary classifiers have weights and dropout too
    {"strategy": "progressive", "model": "simple_cnn", "thaw": Thaw(epochs=((1, 0), (2, "all")))},
    {"strategy": "last_layers", "model": "simple_cnn", "thaw": Thaw(stages=1)},
    {"strategy": "staged", "model": "simple_cnn", "thaw": Thaw(stages=1), "schedule": Schedule(head_only=0.05)},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(next(iter(change.values()), "plain")))
def test_a_restored_state_continues_to_the_same_bytes(samples: Samples, change: dict[str, Any]) -> None:
    whole = opened(samples, **change)
    half = opened(samples, **change)
    batches = [*whole.batches(0), *whole.batches(1)]
    for batch in batches:
        whole.train_step(batch, 0.5, 0.1)
    for batch in batches[:3]:
        half.train_step(batch, 0.5, 0.1)
    resumed = opened(samples, **change)
    resumed.restore(half.state())
    torch.rand(7)  # whatever else drew random numbers in between
    for batch in batches[3:]:
        resumed.train_step(batch, 0.5, 0.1)
    expected, found = whole.state(), resumed.state()
    assert expected.keys() == found.keys()
    assert all(expected[name].tobytes() == found[name].tobytes() for name in expected)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_batches_from_the_middle_are_those_of_the_whole_epoch(samples: Samples, start: int) -> None:
    session = opened(samples)
    whole, part = list(session.batches(3)), list(session.batches(3, start=start))
    assert [batch.step for batch in part] == [batch.step for batch in whole[start:]]
    assert all((a.rows_B == b.rows_B).all() for a, b in zip(part, whole[start:], strict=True))


def test_an_epoch_shows_every_training_image_once_in_an_order_of_its_own(samples: Samples) -> None:
    session = opened(samples)
    orders = [np.concatenate([batch.rows_B for batch in session.batches(epoch)]) for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(17))
    assert (orders[0] != orders[1]).any()


def test_a_single_image_left_over_joins_the_batch_before_it(samples: Samples) -> None:
    sizes = [len(batch.rows_B) for batch in opened(samples).batches(0)]
    assert sizes == [8, 9]
    assert opened(samples).steps == 2


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": Optimizer(name="sgd")},
        {"optimizer": Optimizer(weight_decay=0.5)},
        {"optimizer": Optimizer(clip=1e-3)},
        {"loss": Loss(label_smoothing=0.3)},
        {"loss": Loss(class_weights="inverse")},
        {"loss": Loss(class_weights="effective")},
        {"augment": Augment(flip=1.0)},
        {"augment": Augment(noise=(0.1, 0.2))},
        {"augment": Augment(noise=(0.1, 0.2), blur=(1, 2), order=("noise", "blur"))},
        {"augment": Augment(noise=(0.1, 0.2), blur=(1, 2), one_of=(("noise", "blur"),))},
        {"augment": Augment(mixup=1.0)},
        {"augment": Augment(cutmix=1.0)},
        {"augment": Augment(erase=1.0)},
        {"head": Head(dropout=0.9)},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"optimizer": Optimizer(name="adam")},
        {"optimizer": Optimizer(name="rmsprop")},
        {"optimizer": Optimizer(accumulate=2)},
        {"seed": 1},
        {"learning_rate": 0.02},
        {"optimizer": Optimizer(layer_decay=0.1)},
        {"optimizer": Optimizer(weight_decay=0.5, decay_all=True)},
        {"loss": Loss(name="focal")},
        {"sampler": Sampler(name="oversample")},
        {"sampler": Sampler(name="balanced")},
    ],
    ids=str,
)
def test_every_word_of_a_recipe_changes_the_weights(samples: Samples, change: dict[str, Any]) -> None:
    plain, changed = after(opened(samples), 2), after(opened(samples, **change), 2)
    assert any((plain[name] != changed[name]).any() for name in plain if name.startswith("model/"))


MUON = Optimizer(name="muon")
LOOKAHEAD: dict[str, Any] = {"average": Average(name="lookahead", decay=0.9, every=1)}
WHITENED: dict[str, Any] = {"model": "brisk_s", "start": Start(whiten="bias", whiten_until=1)}


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({"loss": Loss(name="focal")}, {"loss": Loss(name="focal", gamma=3.0)}),
        ({"loss": Loss(label_smoothing=0.3)}, {"loss": Loss(label_smoothing=0.3, smooth_over="others")}),
        ({"sampler": Sampler(name="oversample")}, {"sampler": Sampler(name="oversample", power=0.5)}),
        ({"sampler": Sampler(name="oversample")}, {"sampler": Sampler(name="balanced")}),
        ({}, {"optimizer": Optimizer(name="muon")}),
        ({}, {"optimizer": Optimizer(bias_rate=8)}),
        ({"optimizer": MUON}, {"optimizer": MUON.model_copy(update={"momentum": 0.5})}),
        ({"optimizer": MUON}, {"optimizer": MUON.model_copy(update={"fixed_norm": True})}),
        ({"optimizer": MUON}, {"optimizer": MUON.model_copy(update={"weight_decay": 0.5})}),
        ({"optimizer": MUON}, {"optimizer": MUON.model_copy(update={"rest_rate": 2.0})}),
        ({"optimizer": MUON}, {"optimizer": MUON.model_copy(update={"rest_momentum": 0.5})}),
        ({}, {"average": Average(name="lookahead", decay=0.9, every=1)}),
        (LOOKAHEAD, {"average": Average(name="lookahead", decay=0.5, every=1)}),
        (LOOKAHEAD, {"average": Average(name="lookahead", decay=0.9, every=2)}),
        ({"model": "brisk_s"}, {"model": "brisk_s", "start": Start(identity=True)}),
        ({"model": "brisk_s"}, {"model": "brisk_s", "start": Start(whiten="frozen")}),
        (WHITENED, {"model": "brisk_s", "start": Start(whiten="bias", whiten_until=0.05)}),
        ({"model": "brisk_s"}, {"model": "brisk_s", "grow": Grow(start=0.75)}),
        ({"model": "brisk_s", "grow": Grow(start=0.75)}, {"model": "brisk_s", "grow": Grow(start=0.99)}),
        ({"model": "brisk_s", "grow": Grow(start=0.75)}, {"model": "brisk_s", "grow": Grow(start=0.75, until=0.05)}),
    ],
    ids=str,
)
def test_every_word_within_a_word_changes_the_weights(samples: Samples, base: dict[str, Any], change: dict[str, Any]) -> None:
    uneven = replace(samples, labels_N=np.where(np.arange(IMAGES) < 11, 0, samples.labels_N))
    one, other = after(opened(uneven, **base), 2), after(opened(uneven, **change), 2)
    assert any((one[name] != other[name]).any() for name in one if name.startswith("model/"))


@pytest.mark.parametrize("name", ["oversample", "balanced"])
def test_samplers_and_weights_follow_the_training_rows_alone(samples: Samples, name: str) -> None:
    train = np.array([0, 3, 6, 9, 12, 15, 1, 4, 2])  # six, two and one of the classes; the other images would even them out
    divided = samples.with_splits(train=train, val=np.setdiff1d(np.arange(IMAGES), train))
    session = opened(divided, sampler=Sampler(name=name), batch_size=3)
    rows = np.concatenate([batch.rows_B for epoch in range(4) for batch in session.batches(epoch)])
    assert set(rows) == set(train)
    assert np.bincount(samples.labels_N[rows]).tolist() == [12, 12, 12]
    logits, targets = torch.zeros(9, CLASSES), torch.from_numpy(samples.labels_N[train])
    weighted = opened(divided, loss=Loss(class_weights="inverse"))
    logits, targets = logits.to(weighted.device), targets.to(weighted.device)
    each = [float(weighted.loss(logits[:1], targets[number : number + 1])) for number in (0, 6, 8)]
    assert np.divide(each, each[0]) == pytest.approx([1, 3, 6])


def test_an_image_that_comes_twice_in_an_epoch_is_varied_in_two_ways(samples: Samples) -> None:
    alone = samples.with_splits(train=np.array([0, 3, 6, 9, 12, 15, 1]))
    session = opened(alone, sampler=Sampler(name="oversample"), batch_size=7, augment=Augment(rotate=30, brightness=0.5))
    batch = next(session.batches(0))
    images, _ = session.inputs.training(batch.rows_B, batch.epoch, batch.step, batch.walks_B)
    same = images[torch.from_numpy(batch.rows_B == 1)].flatten(1)
    assert len(same) == 3
    assert (torch.pdist(same) > 0.1).all()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (Optimizer(name="adam", weight_decay=0), Optimizer(name="adamw", weight_decay=0), True),
        (Optimizer(name="adam", weight_decay=0.5), Optimizer(name="adamw", weight_decay=0.5), False),
        (Optimizer(name="adam", weight_decay=0.5), Optimizer(name="adam", weight_decay=0), False),
        (Optimizer(name="rmsprop"), Optimizer(name="rmsprop", momentum=0), False),
        (Optimizer(name="rmsprop", weight_decay=0.5), Optimizer(name="rmsprop", weight_decay=0), False),
        (Optimizer(name="sgd"), Optimizer(name="sgd", momentum=0), False),
        (Optimizer(name="sgd"), Optimizer(name="sgd", nesterov=True), False),
    ],
    ids=str,
)
def test_adam_and_adamw_differ_by_their_decay_alone_and_momentum_counts(
    samples: Samples, one: Optimizer, other: Optimizer, equal: bool
) -> None:
    a, b = (after(opened(samples, optimizer=spec), 2) for spec in (one, other))
    assert all((a[name] == b[name]).all() for name in a if name.startswith("model/")) == equal


def test_what_is_averaged_is_what_is_shipped_and_judged(samples: Samples) -> None:
    session = opened(samples, average=Average(name="ema", decay=0.9))
    after_steps = after(session, 4)
    weights = session.weights()
    assert all((weights[name] == after_steps[f"average/{name}"]).all() for name in weights)
    assert any((weights[name] != after_steps[f"model/{name}"]).any() for name in weights)
    plain = opened(samples)
    plain.restore({f"model/{name}": array for name, array in weights.items()})
    np.testing.assert_allclose(session.predict("val"), plain.predict("val"), atol=1e-6)


def test_norms_and_biases_are_spared_from_decay_unless_the_recipe_says_otherwise(samples: Samples) -> None:
    model = opened(samples).model
    depths = dict.fromkeys((name for name, _ in model.named_parameters()), 0)
    for decay_all, expected in [(False, {0.0, 0.1}), (True, {0.1})]:
        recipe = SCRATCH.model_copy(update={"optimizer": Optimizer(weight_decay=0.1, decay_all=decay_all)})
        groups = make_optimizer(recipe, model, depths).param_groups
        assert {group["weight_decay"] for group in groups} == expected
        if not decay_all:
            assert all((p.ndim > 1) == (group["weight_decay"] > 0) for group in groups for p in group["params"])


def test_earlier_layers_learn_slower_by_the_layer_decay(samples: Samples) -> None:
    session = opened(samples, optimizer=Optimizer(layer_decay=0.5))
    scales = sorted({group["scale"] for group in session.optimizer.param_groups}, reverse=True)
    assert scales[0] == 1.0
    assert scales[1:] == [0.5**depth for depth in range(1, len(scales))]


def test_with_the_head_alone_the_body_stays_as_it_was(samples: Samples) -> None:
    session = opened(samples, strategy="staged", model="simple_cnn", schedule=Schedule(head_only=0.5))
    before = session.state()
    batch = next(session.batches(0))
    session.train_step(batch, 1.0, 0.2)
    held = session.state()
    session.train_step(batch, 1.0, 0.6)
    thawed = session.state()

    def moved(a: dict[str, Any], b: dict[str, Any], part: str) -> bool:
        return any((a[name] != b[name]).any() for name in a if name.startswith(f"model/{part}"))

    assert moved(before, held, "head")
    assert not moved(before, held, "body")  # its batch norm's statistics neither
    assert moved(held, thawed, "body")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"precision": "fp16"},
        {"precision": "bf16"},
        {"optimizer": Optimizer(name="adam")},
        {"optimizer": Optimizer(name="rmsprop"), "learning_rate": 1e-3},
        {"optimizer": Optimizer(accumulate=2), "batch_size": 4},
    ],
    ids=str,
)
def test_training_lowers_the_loss_and_the_graph_agrees_with_the_model(samples: Samples, change: dict[str, Any]) -> None:
    recipe = SCRATCH.model_copy(update={"epochs": 12} | change)
    fitted = fit(ENGINE.open(recipe, GEOMETRY, samples), recipe)
    assert fitted.history[-1]["loss"] < 0.5 * fitted.history[0]["loss"]
    assembled = ENGINE.assemble(recipe, GEOMETRY, CLASSES, fitted.weights)
    images = samples.pixels.read(np.arange(IMAGES))
    warm = Calibrator("temperature", "softmax", scale_K=np.array(1 / 1.7))
    graph = OnnxGraph(deployed(assembled.graph, warm, None, {"classes": "abc"}))
    logits_NK = assembled.logits(images)
    np.testing.assert_allclose(graph(images), warm(logits_NK), atol=1e-5)
    assert np.abs(graph(images) - uncalibrated("softmax")(logits_NK)).max() > 1e-3


def test_features_take_every_view_in_turn_and_the_plain_one(samples: Samples) -> None:
    views = 3
    plain_ND = np.full((IMAGES, 2), -1, dtype=np.float32)
    views_MVD = np.broadcast_to(np.arange(views, dtype=np.float32)[None, :, None], (17, views, 2)).copy()
    view_rows_N = np.where(np.arange(IMAGES) < 17, np.arange(IMAGES), -1)
    stored = Samples(
        samples.classes,
        samples.labels_N,
        samples.keys_N,
        samples.splits,
        samples.pixels,
        HeldFeatures(plain_ND, views_MVD, view_rows_N),
    )
    session = ENGINE.open(Recipe.model_validate(SCRATCH.model_dump() | {"strategy": "features"}), GEOMETRY, stored)
    rows = np.arange(17)
    seen = np.stack([session.inputs.training(rows, epoch, 0)[0][:, 0].cpu().numpy() for epoch in range(views + 1)])
    assert all(sorted(column) == [-1, 0, 1, 2] for column in seen.T)
    assert (session.inputs.plain(rows).cpu().numpy() == -1).all()
    again = np.stack([session.inputs.training(rows, 0, 0, np.full(17, walk))[0][:, 0].cpu().numpy() for walk in range(20)])
    assert (again[0] == seen[0]).all()
    assert all(len(set(column)) > 1 for column in again.T)  # an image that comes again in an epoch draws another view


def test_memory_that_is_used_up_is_the_machines_failure_with_a_cure(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(samples)

    def no_room(*_: object) -> None:
        torch.empty(2**58)  # more than any machine has

    monkeypatch.setattr(session.model, "forward", no_room)
    for action in (lambda: session.train_step(next(session.batches(0)), 1.0, 0.0), lambda: session.predict("val")):
        with pytest.raises(MachineFailed, match="out of memory") as caught:
            action()
        assert "batch_size" in caught.value.hint


def test_a_kernel_that_cannot_repeat_itself_names_the_way_out(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(samples)

    def irregular(*_: object) -> None:
        raise RuntimeError("adaptive_max_pool2d_backward_cuda does not have a deterministic implementation, but you set ...")

    monkeypatch.setattr(session.model, "forward", irregular)
    with pytest.raises(NotSupported, match="adaptive_max_pool2d") as caught:
        session.train_step(next(session.batches(0)), 1.0, 0.0)
    assert "deterministic = false" in caught.value.hint


def test_a_part_that_has_no_half_precision_here_names_the_way_out(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(samples, precision="fp16")

    def whole_only(*_: object) -> None:
        raise RuntimeError("\"some_kernel\" not implemented for 'Half'")

    monkeypatch.setattr(session.model, "forward", whole_only)
    with pytest.raises(NotSupported, match="some_kernel") as caught:
        session.train_step(next(session.batches(0)), 1.0, 0.0)
    assert "bf16" in caught.value.hint


SEVERAL_CHANGES: list[dict[str, Any]] = [
    {},
    {"augment": Augment(mixup=0.4, cutmix=1.0)},
    {"loss": Loss(class_weights="inverse", label_smoothing=0.1)},
]


def of_several(samples: Samples) -> Samples:
    """The same images; every second one has a second label, and the first none."""
    labels_NK = np.eye(CLASSES, dtype=np.int64)[samples.labels_N]
    labels_NK[::2, 0] = 1
    labels_NK[0] = 0
    return replace(samples, labels_N=labels_NK)


@pytest.mark.parametrize("change", SEVERAL_CHANGES, ids=lambda change: next(iter(change), "plain"))
def test_a_restored_state_of_several_labels_continues_to_the_same_bytes(samples: Samples, change: dict[str, Any]) -> None:
    change = {"task": "multi_label"} | change
    test_a_restored_state_continues_to_the_same_bytes(of_several(samples), change)
    plain, changed = (after(opened(of_several(samples), **each), 2) for each in ({"task": "multi_label"}, change))
    assert len(change) == 1 or any((plain[name] != changed[name]).any() for name in plain)


def test_several_labels_are_learnt_and_the_graph_gives_a_probability_for_each(samples: Samples) -> None:
    several = of_several(samples)
    recipe = Recipe.model_validate(SCRATCH.model_dump() | {"task": "multi_label", "epochs": 30})
    fitted = fit(ENGINE.open(recipe, GEOMETRY, several), recipe)
    assert fitted.history[-1]["loss"] < 0.5 * fitted.history[0]["loss"]
    assembled = ENGINE.assemble(recipe, GEOMETRY, CLASSES, fitted.weights)
    images = several.pixels.read(np.arange(17))
    warm = Calibrator("temperature", "sigmoid", scale_K=np.array(1 / 1.7))
    graph = OnnxGraph(deployed(assembled.graph, warm, None, {}))
    np.testing.assert_allclose(graph(images), warm(assembled.logits(images)), atol=1e-5)
    probs_NK = graph(images)
    assert np.abs(probs_NK.sum(axis=1) - 1).max() > 0.3
    assert ((probs_NK > 0.5) == (several.labels_N[:17] > 0)).mean() > 0.9
