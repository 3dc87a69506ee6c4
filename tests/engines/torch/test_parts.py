"""Batches in parts, and what happens where memory runs out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sortal.augment.sampling import bounds
from sortal.data.samples import Samples
from sortal.engines.protocol import Batch
from sortal.engines.torch.engine import ENGINE
from sortal.engines.torch.parts import even
from sortal.engines.torch.session import TorchSession
from sortal.errors import MachineFailed, OutOfMemory
from sortal.preprocess import Preprocess
from sortal.recipe import Augment, Head, Loss, Optimizer, Recipe
from sortal.training.fit import fit
from sortal.training.schedule import multiplier

SIDE, IMAGES = 16, 21
GEOMETRY = Preprocess(SIDE, SIDE, 1, mean=(0.2,), std=(0.3,))
SCRATCH = Recipe(
    model="lenet5",
    weights="none",
    strategy="scratch",
    image_size=SIDE,
    channels=1,
    epochs=3,
    batch_size=8,
    learning_rate=0.01,
    precision="float32",
    layout="nchw",
    runtime="torch",
    threads=1,
    optimizer=Optimizer(name="sgd"),
)
State = dict[str, NDArray[Any]]


class Held:
    """Pixels in memory."""

    def __init__(self, pixels_NRRC: NDArray[np.uint8]) -> None:
        self.pixels_NRRC = pixels_NRRC

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels_NRRC[rows_B]


@pytest.fixture
def samples() -> Samples:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (IMAGES, SIDE, SIDE, 1), dtype=np.uint8)
    keys_N = random.integers(0, 2**63, IMAGES, dtype=np.uint64)
    rows = np.arange(IMAGES)
    return Samples(("a", "b", "c"), rows % 3, keys_N, {"train": rows[:17], "val": rows[17:]}, Held(pixels))


def opened(samples: Samples, **change: Any) -> TorchSession:
    return ENGINE.open(Recipe.model_validate(SCRATCH.model_dump() | change), GEOMETRY, samples)


def trained(session: TorchSession, epochs: int = 2) -> tuple[State, list[float]]:
    """State and losses after all steps of so many epochs."""
    losses = [float(session.train_step(batch, 1.0, 0.5)) for epoch in range(epochs) for batch in session.batches(epoch)]
    return session.state(), losses


def assert_equal_weights(a: State, b: State, tolerance: float) -> None:
    for name in a:
        if name.startswith("model/"):
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=tolerance, err_msg=name)


def cramped(session: TorchSession, room: Callable[[], int]) -> list[int]:
    """Have the network run out of memory above `room` images, after its body has done its work; the sizes that were tried."""
    real, tried = session.model.head.forward, list[int]()

    def forward(features: torch.Tensor) -> torch.Tensor:
        tried.append(len(features))
        if len(features) > room():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits: torch.Tensor = real(features)
        return logits

    session.model.head.forward = forward
    return tried


@given(st.integers(1, 300), st.integers(1, 70), st.integers(1, 2))
def test_parts_cover_a_batch_and_none_is_too_small_or_too_large(total: int, limit: int, smallest: int) -> None:
    parts = even(total, limit, smallest)
    sizes = [end - start for start, end in parts]
    assert [start for start, _ in parts] == [0, *np.cumsum(sizes)[:-1]]
    assert sum(sizes) == total
    assert min(sizes) >= min(smallest, total)
    assert max(sizes) <= max(limit, smallest, 2 * smallest - 1 if limit <= smallest else 0)
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 5))
def test_a_step_of_several_batches_has_the_very_batches_of_single_steps(total: int, size: int, together: int) -> None:
    inside = [(low + a, low + b) for low, high in bounds(total, size * together) for a, b in bounds(high - low, size)]
    assert inside == bounds(total, size)


@pytest.mark.parametrize(
    "change",
    [{}, {"augment": Augment(flip=0.5, erase=0.5)}, {"loss": Loss(class_weights="inverse", label_smoothing=0.1)}],
    ids=str,
)
def test_accumulated_gradients_are_those_of_the_larger_batch(samples: Samples, change: dict[str, Any]) -> None:
    accumulated, losses = trained(opened(samples, batch_size=4, optimizer=Optimizer(name="sgd", accumulate=2), **change))
    larger, larger_losses = trained(opened(samples, batch_size=8, **change))
    assert len(losses) == len(larger_losses) == 4
    np.testing.assert_allclose(losses, larger_losses, rtol=1e-5)
    assert_equal_weights(accumulated, larger, 1e-6)
    other, _ = trained(opened(samples, batch_size=4, **change))
    with pytest.raises(AssertionError):
        assert_equal_weights(other, larger, 1e-4)


@pytest.mark.parametrize("augment", [Augment(), Augment(mixup=1.0)], ids=["plain", "mixed as a whole batch"])
@pytest.mark.parametrize("micro_batch", [1, 3, 5])
def test_parts_of_a_batch_add_up_to_it(samples: Samples, micro_batch: int, augment: Augment) -> None:
    session = opened(samples, micro_batch=micro_batch, augment=augment)
    tried = cramped(session, lambda: 100)
    parts, losses = trained(session)
    whole, whole_losses = trained(opened(samples, augment=augment))
    assert max(tried) <= micro_batch
    np.testing.assert_allclose(losses, whole_losses, rtol=1e-5)
    assert_equal_weights(parts, whole, 1e-6)


@pytest.mark.parametrize("model", ["lenet5", "simple_cnn"])
@pytest.mark.parametrize("taken", [0, 1])
def test_a_step_that_runs_out_of_memory_changes_nothing(samples: Samples, model: str, taken: int) -> None:
    session = opened(samples, model=model, head=Head(dropout=0.5), micro_batch=4)
    batches = list(session.batches(0))
    for batch in batches[:taken]:
        session.train_step(batch, 1.0, 0.5)
    before = session.state()
    sizes = cramped(session, lambda: 100 if len(sizes) == 1 else 0)  # of two parts the first goes through
    with pytest.raises(OutOfMemory):
        session.train_step(batches[taken], 1.0, 0.5)
    after = session.state()
    assert len(sizes) == 2
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert all(parameter.grad is None for parameter in session.model.parameters())


def test_what_failed_is_not_held_in_memory_when_it_is_tried_again(samples: Samples) -> None:
    import weakref

    session = opened(samples)
    held: list[weakref.ref[torch.Tensor]] = []
    real = session.model.head.forward

    def forward(features: torch.Tensor) -> torch.Tensor:
        if not held:
            held.append(weakref.ref(features))
            raise torch.OutOfMemoryError
        assert held[0]() is None, "the first attempt's activations are still there"
        logits: torch.Tensor = real(features)
        return logits

    session.model.head.forward = forward
    recipe = SCRATCH.model_copy(update={"epochs": 1})
    assert fit(session, recipe).micro_batch == 4


@pytest.mark.parametrize(("model", "room", "found"), [("lenet5", 2, 2), ("lenet5", 1, 1), ("simple_cnn", 3, 2)])
def test_a_training_goes_on_in_smaller_parts_from_the_step_that_ran_out_of_memory(
    samples: Samples, model: str, room: int, found: int
) -> None:
    change = {"model": model, "head": Head(dropout=0.5), "epochs": 3}
    recipe = Recipe.model_validate(SCRATCH.model_dump() | change)
    session, told = opened(samples, **change), list[int]()
    steps = session.steps
    used: list[int] = []  # micro_batch of each step
    cramped(session, lambda: 100 if len(used) <= steps else room)
    real = session.train_step

    def train_step(batch: Batch, rate: float, progress: float) -> Any:
        loss = real(batch, rate, progress)
        used.append(session.micro_batch)
        return loss

    session.train_step = train_step  # type: ignore[method-assign]
    fitted = fit(session, recipe, smaller=told.append)
    assert told[-1] == fitted.micro_batch == used[-1] == found
    assert used[: steps + 1] == [0] * (steps + 1)
    by_hand = opened(samples, **change)
    for epoch in range(3):
        for batch in by_hand.batches(epoch):
            by_hand.room.micro_batch = used[batch.step]
            by_hand.train_step(batch, multiplier(recipe.schedule, batch.step / (3 * steps)), 0.0)
    assert all((by_hand.weights()[name] == array).all() for name, array in fitted.weights.items())


@pytest.mark.parametrize("change", [{"model": "simple_cnn"}, {}], ids=["batch norm", "none"])
def test_where_not_even_the_smallest_part_fits_the_machine_has_failed(samples: Samples, change: dict[str, Any]) -> None:
    session = opened(samples, **change)
    tried = cramped(session, lambda: 0)
    with pytest.raises(MachineFailed, match="out of memory") as caught:
        fit(session, SCRATCH)
    assert "image_size" in caught.value.hint
    assert tried == ([8, 4, 2] if change else [8, 4, 2, 1])


def test_a_step_that_runs_out_of_memory_half_way_through_its_update_is_not_tried_again(samples: Samples) -> None:
    session = opened(samples)

    def step(*_: object) -> None:
        raise torch.OutOfMemoryError

    session.optimizer.step = step  # type: ignore[method-assign]
    with pytest.raises(MachineFailed, match="out of memory") as caught:
        fit(session, SCRATCH)
    assert not isinstance(caught.value, OutOfMemory)
    assert session.micro_batch == 0


def test_predictions_that_run_out_of_memory_are_made_in_smaller_parts(samples: Samples) -> None:
    whole = opened(samples).predict("val")
    session = opened(samples)
    tried = cramped(session, lambda: 2)
    np.testing.assert_allclose(session.predict("val"), whole, atol=1e-6)
    resumed = opened(samples)
    resumed.restore(session.state())
    again = cramped(resumed, lambda: 2)
    resumed.predict("val")
    assert tried[0] == 4
    assert again == [2, 2], "what was found is part of the state"


def test_the_processors_own_words_for_it_are_understood(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(samples)
    real, tried = session.model.forward, list[int]()

    def forward(images: torch.Tensor) -> torch.Tensor:
        tried.append(len(images))
        if len(images) > 4:
            torch.empty(2**58)  # more than any machine has
        logits: torch.Tensor = real(images)
        return logits

    monkeypatch.setattr(session.model, "forward", forward)
    assert fit(session, SCRATCH).micro_batch == 4
    assert tried[:3] == [8, 4, 4]


def test_a_loss_that_overflows_leaves_its_step_out_and_is_scaled_less(samples: Samples) -> None:
    session = opened(samples, precision="fp16")
    batch = next(session.batches(0))
    before, real = session.state(), session.loss
    session.loss = lambda logits, targets: real(logits, targets) * 1e6
    session.train_step(batch, 1.0, 0.5)
    after = session.state()
    assert_equal_weights(before, after, 0.0)
    assert float(after["scaler/scale"]) == 0.5 * float(before["scaler/scale"])
    resumed = opened(samples, precision="fp16")
    resumed.restore(after)
    assert resumed.scaler.get_scale() == float(after["scaler/scale"])
    session.loss = real
    session.train_step(batch, 1.0, 0.5)
    with pytest.raises(AssertionError):
        assert_equal_weights(before, session.state(), 0.0)


def test_clipping_with_a_scaled_loss_clips_the_true_gradients(samples: Samples) -> None:
    change = {"optimizer": Optimizer(name="sgd", momentum=0, weight_decay=0, clip=1e-3)}
    session = opened(samples, precision="fp16", **change)
    before = session.state()
    session.train_step(next(session.batches(0)), 1.0, 0.5)
    after = session.state()
    moved = np.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in before if name.startswith("model/")))
    assert moved == pytest.approx(1e-3 * SCRATCH.learning_rate, rel=1e-2)
