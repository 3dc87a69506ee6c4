"""Which parameters learn when, and that all others stay as they are to the last bit."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sortal.data.samples import HeldFeatures, Samples
from sortal.engines.protocol import Batch
from sortal.engines.torch.engine import ENGINE
from sortal.engines.torch.session import TorchSession
from sortal.errors import NotSupported, RecipeError, UnknownName
from sortal.evaluation.calibrators import uncalibrated
from sortal.preprocess import Preprocess
from sortal.recipe import Augment, Optimizer, Recipe, Schedule, Thaw

SIDE, IMAGES = 16, 12
GEOMETRY = Preprocess(SIDE, SIDE, 1, mean=(0.2,), std=(0.3,))
BASE = Recipe(
    model="simple_cnn",  # block1, block2, block3, each with two batch norms
    weights="none",
    strategy="full",
    image_size=SIDE,
    channels=1,
    epochs=6,
    batch_size=IMAGES,
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


def samples(side: int = SIDE, channels: int = 1, features: Any = None) -> Samples:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (IMAGES, side, side, channels), dtype=np.uint8)
    keys_N = random.integers(0, 2**63, IMAGES, dtype=np.uint64)
    rows = np.arange(IMAGES)
    return Samples(("a", "b"), rows % 2, keys_N, {"train": rows, "val": rows[:4]}, Held(pixels), features)


def recipe(**change: Any) -> Recipe:
    return Recipe.model_validate(BASE.model_dump() | change)


def tensors(session: TorchSession) -> dict[str, torch.Tensor]:
    """All of them, those too that no state holds."""
    return {name: tensor.clone() for name, tensor in session.model.state_dict().items()}


def moved(session: TorchSession, epoch: int, progress: float) -> set[str]:
    """The parts of the network that one step at this moment changes: 'head', 'block1' and so on."""
    before = tensors(session)
    session.train_step(Batch(np.arange(IMAGES), epoch, epoch), 1.0, progress)
    changed = [name for name, tensor in tensors(session).items() if not torch.equal(tensor, before[name])]
    return {name.split(".")[2 if name.startswith("body.") else 0] for name in changed}


EVERYTHING = {"head", "block1", "block2", "block3"}
HALF = {"schedule": Schedule(head_only=0.5)}


@pytest.mark.parametrize(
    ("change", "epoch", "progress", "learns"),
    [
        ({}, 0, 0.0, EVERYTHING),
        ({"strategy": "scratch"}, 0, 0.0, EVERYTHING),
        ({"strategy": "last_layers"}, 0, 0.0, {"head", "block3"}),
        ({"strategy": "last_layers", "thaw": Thaw(stages=2)}, 5, 0.9, {"head", "block2", "block3"}),
        ({"strategy": "last_layers", "thaw": Thaw(names=("block3",))}, 5, 0.9, {"head", "block3"}),
        ({"strategy": "last_layers", "thaw": Thaw(names=("block2",))}, 0, 0.0, {"head", "block2"}),
        ({"strategy": "staged"} | HALF, 5, 0.4, {"head"}),
        ({"strategy": "staged"} | HALF, 0, 0.5, EVERYTHING),
        ({"strategy": "staged", "thaw": Thaw(stages=1)} | HALF, 0, 0.4, {"head"}),
        ({"strategy": "staged", "thaw": Thaw(stages=1)} | HALF, 0, 0.5, {"head", "block3"}),
        ({"strategy": "progressive"}, 0, 0.0, {"head"}),
        ({"strategy": "progressive"}, 1, 0.3, {"head"}),
        ({"strategy": "progressive"}, 2, 0.3, {"head", "block3"}),
        ({"strategy": "progressive"}, 3, 0.6, {"head", "block3"}),
        ({"strategy": "progressive"}, 4, 0.7, EVERYTHING),
        ({"strategy": "progressive", "thaw": Thaw(epochs=((1, 1), (2, 2)))}, 0, 0.0, {"head", "block3"}),
        ({"strategy": "progressive", "thaw": Thaw(epochs=((1, 1), (2, 2)))}, 5, 0.9, {"head", "block2", "block3"}),
    ],
    ids=lambda value: " ".join(sorted(value)) if isinstance(value, set | frozenset) else str(value),
)
def test_a_step_changes_what_is_to_learn_and_nothing_else(
    change: dict[str, Any], epoch: int, progress: float, learns: set[str]
) -> None:
    assert moved(ENGINE.open(recipe(**change), GEOMETRY, samples()), epoch, progress) == learns


def test_every_parameter_that_is_to_learn_moves_and_so_do_the_statistics_beside_it() -> None:
    session = ENGINE.open(recipe(strategy="last_layers", optimizer=Optimizer(weight_decay=0.1)), GEOMETRY, samples())
    before = tensors(session)
    for step in range(2):
        session.train_step(Batch(np.arange(IMAGES), 0, step), 1.0, 0.0)
    after = tensors(session)
    assert all((after[name] != before[name]).any() for name in after if "block3" in name or name.startswith("head."))
    statistics = [name for name in after if name.endswith("running_mean")]
    assert len(statistics) == 6
    assert [torch.equal(after[name], before[name]) for name in statistics] == [True] * 4 + [False] * 2


@pytest.mark.parametrize("change", [{"strategy": "last_layers"}, {"strategy": "staged", "thaw": Thaw(stages=1)}], ids=str)
def test_nothing_is_kept_or_computed_for_what_is_frozen_to_the_end(change: dict[str, Any]) -> None:
    session = ENGINE.open(recipe(**change), GEOMETRY, samples())
    seen: list[str] = []
    for name, parameter in session.model.named_parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda _, name=name: seen.append(name))
    session.train_step(Batch(np.arange(IMAGES), 0, 0), 1.0, 0.9)
    assert seen
    assert {name.split(".")[2] for name in seen if name.startswith("body.")} == {"block3"}
    frozen = {id(parameter) for name, parameter in session.model.named_parameters() if name.startswith("body.blocks.block1")}
    assert not frozen & {id(parameter) for group in session.optimizer.param_groups for parameter in group["params"]}
    assert not [name for name in [*session.state(), *session.weights()] if "block1" in name or "block2" in name]


def test_what_is_thawed_later_has_no_state_before() -> None:
    session = ENGINE.open(recipe(strategy="progressive"), GEOMETRY, samples())
    session.train_step(Batch(np.arange(IMAGES), 0, 0), 1.0, 0.0)
    assert not [name for name in session.state() if name.startswith("optimizer/") and "body" in name]
    session.train_step(Batch(np.arange(IMAGES), 2, 2), 1.0, 0.4)
    assert [name for name in session.state() if name.startswith("optimizer/") and "block3" in name]


@pytest.mark.parametrize(
    ("change", "scales"),
    [
        ({}, [1, 0.5, 0.25, 0.125]),
        ({"strategy": "scratch"}, [1, 0.5, 0.25, 0.125]),
        ({"strategy": "progressive"}, [1, 0.5, 0.25, 0.125]),
        ({"strategy": "last_layers", "thaw": Thaw(stages=2)}, [1, 0.5, 0.25]),
        ({"strategy": "staged", "schedule": Schedule(thawed_rate=0.1)}, [1, 0.05, 0.025, 0.0125]),
        ({"strategy": "staged", "thaw": Thaw(stages=1), "schedule": Schedule(thawed_rate=0.1)}, [1, 0.05]),
    ],
    ids=str,
)
def test_earlier_blocks_learn_slower_in_every_strategy(change: dict[str, Any], scales: list[float]) -> None:
    session = ENGINE.open(recipe(optimizer=Optimizer(layer_decay=0.5), **change), GEOMETRY, samples())
    found = sorted({group["scale"] for group in session.optimizer.param_groups}, reverse=True)
    assert found == pytest.approx(scales)


@pytest.mark.parametrize(
    ("change", "trainable", "told"),
    [
        ({"strategy": "features"}, "head", "the head"),
        ({"strategy": "last_layers"}, "block3", "the head and block3"),
        ({"strategy": "progressive"}, "all", "the head; from epoch 3: the head and block3; from epoch 5: everything"),
        ({"strategy": "staged"} | HALF, "all", "the head; from 50% of the training: everything"),
        ({}, "all", "everything"),
    ],
    ids=str,
)
def test_trainable_and_total_parameters_are_counted(change: dict[str, Any], trainable: str, told: str) -> None:
    def conv(before: int, after: int) -> int:
        return 9 * before * after + 3 * after  # with its bias and the norm's two

    blocks = [conv(a, b) + conv(b, b) for a, b in ((1, 64), (64, 128), (128, 256))]
    head = 256 * 2 + 2
    expected = {"head": head, "block3": head + blocks[2], "all": head + sum(blocks)}
    found = ENGINE.parameters(recipe(**change), GEOMETRY, classes=2)
    assert (found.total, found.trainable, found.told) == (expected["all"], expected[trainable], told)


def test_layers_by_name_are_those_of_the_architecture() -> None:
    wanted = recipe(model="resnet10t", channels=3, image_size=32, strategy="last_layers", thaw=Thaw(names=("layer4",)))
    geometry = Preprocess(32, 32)
    by_name, by_count = (
        ENGINE.parameters(wanted, geometry, 2),
        ENGINE.parameters(recipe(**wanted.model_dump(exclude={"thaw"})), geometry, 2),
    )
    assert (by_name.trainable, by_name.told) == (by_count.trainable, by_count.told)
    assert by_name.told == "the head and layer4"


@pytest.mark.parametrize(
    ("thaw", "error", "said"),
    [
        (Thaw(names=("blok3",)), UnknownName, "did you mean 'block3'"),
        (Thaw(names=("block3", "fc")), UnknownName, "the head is trained in any case"),
        (Thaw(names=("block",)), RecipeError, "strategy 'full'"),
        (Thaw(stages=3), RecipeError, "fewer than 3"),
        (Thaw(stages=9), RecipeError, "fewer than 3"),
    ],
    ids=str,
)
def test_layers_that_there_are_not_or_that_are_all_are_refused(thaw: Thaw, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        ENGINE.parameters(recipe(strategy="last_layers", thaw=thaw), GEOMETRY, classes=2)
    assert said in caught.value.hint  # type: ignore[attr-defined]


STORED: list[dict[str, Any]] = [
    {"model": "resnet10t", "strategy": "last_layers"},
    {"model": "resnet10t", "strategy": "last_layers", "layout": "channels_last", "thaw": Thaw(stages=2)},
    {"model": "resnet10t", "strategy": "staged", "thaw": Thaw(stages=1), "schedule": Schedule(head_only=0.4)},
    {"model": "resnet_cifar", "strategy": "progressive", "thaw": Thaw(epochs=((1, 0), (2, 1)))},
    {"model": "vit_tiny_patch16_224", "strategy": "last_layers"},
]


@pytest.mark.parametrize("change", STORED, ids=lambda change: f"{change['model']}-{change['strategy']}")
def test_a_training_on_stored_outputs_is_the_training_on_pixels(change: dict[str, Any]) -> None:
    wanted = recipe(channels=3, image_size=32, augment=Augment(views=1), learning_rate=0.01, **change)
    geometry = Preprocess(32, 32)
    on_pixels = samples(32, 3)
    frozen = ENGINE.frozen(wanted, geometry)
    images = on_pixels.pixels.read(np.arange(IMAGES))
    views = frozen.views(images, on_pixels.keys_N)
    np.testing.assert_allclose(views[:, 0], frozen.outputs(images), atol=1e-5)  # nothing is varied here
    features = HeldFeatures(frozen.outputs(images), views, np.arange(IMAGES))
    sessions = [ENGINE.open(wanted, geometry, each) for each in (on_pixels, samples(32, 3, features))]
    for step in range(4):
        batch = Batch(np.arange(IMAGES), step // 2, step)
        losses = [float(session.train_step(batch, 1.0, step / 4)) for session in sessions]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    pixels, stored = (session.weights() for session in sessions)
    assert pixels.keys() == stored.keys()
    np.testing.assert_allclose(*(session.predict("val") for session in sessions), rtol=1e-2, atol=1e-2)
    # Put together again, what was trained on stored outputs answers as it did there.
    whole = ENGINE.assemble(wanted, geometry, 2, stored)
    softmax = uncalibrated("softmax")
    np.testing.assert_allclose(softmax(whole.logits(images[:4])), softmax(sessions[1].predict("val")), atol=1e-4)


def test_a_cut_where_the_first_layer_learns_is_refused() -> None:
    wanted = recipe(model="resnet10t", channels=3, image_size=32, strategy="last_layers", thaw=Thaw(names=("conv1.0",)))
    with pytest.raises(NotSupported, match="nothing before them to store"):
        ENGINE.frozen(wanted, Preprocess(32, 32))


def opened(change: dict[str, Any]) -> TorchSession:
    return ENGINE.open(recipe(**change), GEOMETRY, samples())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_layers_that_thaw_one_by_one_learn_with_every_optimiser(optimizer: str) -> None:
    thaw = Thaw(epochs=((1, 0), (2, 1), (3, "all")))
    session = opened({"strategy": "progressive", "thaw": thaw, "optimizer": Optimizer(name=optimizer)})
    learnt = [moved(session, epoch, epoch / 6) for epoch in range(3)]
    assert learnt == [{"head"}, {"head", "block3"}, EVERYTHING]
