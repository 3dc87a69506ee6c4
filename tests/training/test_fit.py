"""The loop, driven by a session whose weights are one number that remembers every step."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sortal.engines.protocol import Batch
from sortal.errors import BundleError, Diverged, OutOfMemory
from sortal.events import CheckpointSaved, EpochDone, Event, Note
from sortal.recipe import Best, Recipe, Schedule, Stop
from sortal.training import fit as loop
from sortal.training.fit import fit


class Killed(BaseException):
    """What a SIGKILL is to the code that it hits."""


class Counting:
    """Weights are a hash chain over (epoch, step, rate): any step missed, repeated or out of order changes them."""

    steps = 3

    def __init__(self, *, kill_at: int | None = None) -> None:
        self.value = np.zeros(1)
        self.taken = 0
        self.kill_at = kill_at

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for number in range(start, self.steps):
            yield Batch(np.arange(2), epoch, epoch * self.steps + number)

    def train_step(self, batch: Batch, rate: float, progress: float) -> float:
        if self.taken == self.kill_at:
            raise Killed
        self.taken += 1
        self.value = np.sin(self.value * 3 + batch.step + rate + progress)
        return float(self.value[0])

    def predict(self, split: str) -> NDArray[np.float32]:
        return np.array([self.value, -self.value], dtype=np.float32).T

    def state(self) -> Mapping[str, NDArray[Any]]:
        return {"value": self.value.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.value = np.array(state["value"])

    weights = state

    micro_batch = 0

    def halve(self) -> bool:
        return False


def score(logits_NK: NDArray[np.float32]) -> dict[str, float]:
    return {"accuracy": float(logits_NK[0, 0]), "log_loss": float(logits_NK[0, 1])}


RECIPE = Recipe(epochs=4, schedule=Schedule(warmup=0.3), best=Best(monitor="accuracy"))


@pytest.fixture
def eager_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after every step, as a slow epoch would."""
    monkeypatch.setattr(loop, "SECONDS_WITHIN_EPOCH", -1.0)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_EPOCHS", -1.0)


@pytest.mark.usefixtures("eager_checkpoints")
@pytest.mark.parametrize("kill_at", range(12))
def test_a_run_killed_at_any_step_ends_as_if_it_had_not_been(tmp_path: Path, kill_at: int) -> None:
    whole = fit(Counting(), RECIPE, scores=score)
    with pytest.raises(Killed):
        fit(Counting(kill_at=kill_at), RECIPE, scores=score, save_to=tmp_path / "c")
    resumed = fit(Counting(), RECIPE, scores=score, save_to=tmp_path / "c")
    assert resumed.weights["value"].tobytes() == whole.weights["value"].tobytes()
    assert (resumed.epoch, resumed.history) == (whole.epoch, whole.history)
    assert resumed.steps == 12 - kill_at


@pytest.mark.parametrize("kill_at", [1, 5])
def test_without_a_checkpoint_a_killed_run_starts_anew(tmp_path: Path, kill_at: int) -> None:
    with pytest.raises(Killed):
        fit(Counting(kill_at=kill_at), RECIPE, save_to=tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert fit(Counting(), RECIPE, save_to=tmp_path / "c").steps == 12


def test_a_finished_checkpoint_needs_no_step_more(tmp_path: Path) -> None:
    first = fit(Counting(), RECIPE, scores=score, save_to=tmp_path / "c")
    again = fit(Counting(), RECIPE, scores=score, save_to=tmp_path / "c")
    assert again.steps == 0
    assert again.weights["value"].tobytes() == first.weights["value"].tobytes()


def test_the_best_epoch_is_shipped_and_named() -> None:
    fitted = fit(Counting(), RECIPE, scores=score)
    accuracies = [row["accuracy"] for row in fitted.history]
    assert fitted.epoch == 1 + int(np.argmax(accuracies))
    assert np.float32(fitted.weights["value"][0]) == np.float32(max(accuracies))


def test_the_last_epoch_is_shipped_where_nothing_is_monitored() -> None:
    fitted = fit(Counting(), RECIPE.model_copy(update={"best": Best(monitor="last")}), scores=score)
    assert fitted.epoch == 4


def test_patience_stops_after_so_many_epochs_without_a_better_score() -> None:
    falling = iter([0.9, 0.8, 0.7, 0.6])
    recipe = Recipe(epochs=4, stop=Stop(monitor="accuracy", patience=2), best=Best(monitor="accuracy"))
    fitted = fit(Counting(), recipe, scores=lambda _: {"accuracy": next(falling)})
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3]
    assert fitted.epoch == 1


@pytest.mark.usefixtures("eager_checkpoints")
def test_observers_are_told_of_epochs_and_checkpoints(tmp_path: Path) -> None:
    events: list[Event] = []
    fit(Counting(), RECIPE, save_to=tmp_path / "c", observe=events.append)
    assert [event.epoch for event in events if isinstance(event, EpochDone)] == [1, 2, 3, 4]
    assert sum(isinstance(event, CheckpointSaved) for event in events) == 12


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"not safetensors")
    with pytest.raises(BundleError, match="c is damaged") as caught:
        fit(Counting(), RECIPE, save_to=tmp_path / "c")
    assert "--resume" in caught.value.hint


def test_the_loss_of_an_epoch_is_the_mean_over_its_images() -> None:
    session = Counting()
    fitted = fit(session, RECIPE.model_copy(update={"epochs": 1}))
    other = Counting()
    expected = [
        other.train_step(batch, loop.multiplier(RECIPE.schedule, batch.step / 3), batch.step / 3) for batch in other.batches(0)
    ]
    assert fitted.history[0]["loss"] == pytest.approx(np.mean(expected))


def test_a_loss_that_is_no_number_ends_the_training_and_the_checkpoint_before_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exploding(Counting):
        def train_step(self, batch: Batch, rate: float, progress: float) -> float:
            super().train_step(batch, rate, progress)
            return float("inf") if batch.epoch == 2 else 1.0

    monkeypatch.setattr(loop, "SECONDS_BETWEEN_EPOCHS", 0.0)
    with pytest.raises(Diverged, match="epoch 3") as caught:
        fit(Exploding(), RECIPE, save_to=tmp_path / "checkpoint.safetensors")
    assert "learning_rate" in caught.value.hint
    _, _, saved = loop.checkpoint.read(tmp_path / "checkpoint.safetensors")
    assert (saved["epoch"], saved["step"]) == (2, 0)


def test_time_and_images_are_those_of_this_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_EPOCHS", 0.0)
    with pytest.raises(Killed):
        fit(Counting(kill_at=7), RECIPE, save_to=tmp_path / "checkpoint.safetensors")
    clock = iter(np.arange(10_000) * 1000.0)
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    resumed = fit(Counting(), RECIPE, save_to=tmp_path / "checkpoint.safetensors")
    assert (resumed.steps, resumed.images) == (6, 12)
    whole = fit(Counting(), RECIPE)
    assert resumed.seconds < 2 * whole.seconds


def test_an_epoch_that_was_interrupted_took_the_time_of_all_its_attempts(
    tmp_path: Path, eager_checkpoints: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])

    class Slow(Counting):
        def train_step(self, batch: Batch, rate: float, progress: float) -> float:
            loss = super().train_step(batch, rate, progress)
            clock[0] += 10.0
            return loss

    seen = list[Event]()
    with pytest.raises(Killed):
        fit(Slow(kill_at=2), RECIPE, save_to=tmp_path / "checkpoint.safetensors", observe=seen.append)
    clock[0] += 3600.0
    fit(Slow(), RECIPE, save_to=tmp_path / "checkpoint.safetensors", observe=seen.append)
    assert [event.seconds for event in seen if isinstance(event, EpochDone)] == [30.0] * RECIPE.epochs


class Cramped(Counting):
    """Runs out of memory from a step on, unless at most `room` images go through at once; how many do changes the result."""

    def __init__(self, *, kill_at: int | None = None, cramped_from: int = 5, room: int = 2) -> None:
        super().__init__(kill_at=kill_at)
        self.cramped_from, self.room = cramped_from, room

    def train_step(self, batch: Batch, rate: float, progress: float) -> float:
        if batch.step >= self.cramped_from and not 0 < self.micro_batch <= self.room:
            raise OutOfMemory("out of memory")
        loss = super().train_step(batch, rate, progress)
        self.value = self.value + self.micro_batch
        return loss

    def halve(self) -> bool:
        if self.micro_batch == 1:
            return False
        self.micro_batch = (self.micro_batch or 8) // 2
        return True

    def state(self) -> Mapping[str, NDArray[Any]]:
        return {"value": self.value.copy(), "micro_batch": np.array(self.micro_batch)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.value, self.micro_batch = np.array(state["value"]), int(state["micro_batch"])


def test_where_memory_runs_out_the_step_is_taken_anew_with_less_at_once(tmp_path: Path) -> None:
    events: list[Event] = []
    told: list[int] = []
    fitted = fit(Cramped(), RECIPE, save_to=tmp_path / "c", smaller=told.append, observe=events.append)
    assert (fitted.steps, fitted.micro_batch, told) == (12, 2, [4, 2])
    notes = [event.text for event in events if isinstance(event, Note)]
    assert ["epoch 2" in note for note in notes] == [True, True]
    assert "4 images" in notes[0]
    assert "2 images" in notes[1]
    saved = [(event.epoch, event.step) for event in events if isinstance(event, CheckpointSaved)]
    assert saved[:2] == [(1, 2), (1, 2)], "before anything depends on it"


@pytest.mark.parametrize("kill_at", range(5, 12))
def test_a_resume_goes_on_with_as_many_at_once_even_if_memory_is_free_again(tmp_path: Path, kill_at: int) -> None:
    whole = fit(Cramped(), RECIPE, scores=score)
    with pytest.raises(Killed):
        fit(Cramped(kill_at=kill_at), RECIPE, scores=score, save_to=tmp_path / "c")
    resumed = fit(Cramped(cramped_from=99), RECIPE, scores=score, save_to=tmp_path / "c")
    assert resumed.weights["value"].tobytes() == whole.weights["value"].tobytes()
    assert (resumed.history, resumed.micro_batch) == (whole.history, 2)


@pytest.mark.usefixtures("eager_checkpoints")
def test_memory_may_run_out_in_a_resumed_training_too(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(Cramped(kill_at=4, cramped_from=99), RECIPE, save_to=tmp_path / "c")
    told: list[int] = []
    fitted = fit(Cramped(cramped_from=0), RECIPE, save_to=tmp_path / "c", smaller=told.append)
    assert (fitted.steps, told) == (8, [4, 2])


def test_without_a_smaller_half_the_machine_has_failed_and_the_checkpoint_stays(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory) as caught:
        fit(Cramped(room=0), RECIPE, save_to=tmp_path / "c")
    assert "--resume" in caught.value.hint
    assert fit(Cramped(cramped_from=99), RECIPE, save_to=tmp_path / "c").steps == 12 - 5


def falling(monitor: str, values: list[float], **words: Any) -> tuple[list[float], list[Event]]:
    """The rates of epochs whose monitored scores are `values`."""
    scripted, events = iter(values), list[Event]()
    schedule = Schedule(name="plateau", monitor=monitor, **words)  # type: ignore[arg-type]
    recipe = Recipe(epochs=len(values), learning_rate=1.0, schedule=schedule)
    fitted = fit(Counting(), recipe, scores=lambda _: {monitor: next(scripted)}, observe=events.append)
    return [row["rate"] for row in fitted.history], events


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
    st.sampled_from(["log_loss", "accuracy", "macro_f1"]),
    st.integers(1, 4),
)
@settings(deadline=None)  # torch takes a second over its first scheduler
def test_a_plateau_falls_when_torchs_does(values: list[int], monitor: str, patience: int) -> None:
    rates, _ = falling(monitor, [float(value) for value in values], factor=0.5, patience=patience, floor=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="min" if monitor == "log_loss" else "max",
        factor=0.5,
        patience=patience - 1,  # torch counts the epochs that it lets pass
        threshold=0.0,
        threshold_mode="abs",
        min_lr=0.1,
        eps=0.0,
    )
    expected = []
    for value in values:
        expected.append(optimizer.param_groups[0]["lr"])
        scheduler.step(value)
    assert rates == pytest.approx(expected)


def test_a_fall_is_told() -> None:
    rates, events = falling("log_loss", [1.0, 0.9, 0.9, 0.9, 0.8], factor=0.1, patience=2)
    assert rates == pytest.approx([1.0, 1.0, 1.0, 1.0, 0.1])
    assert [event.text for event in events if isinstance(event, Note)] == [
        "no better log_loss for 2 epochs: the learning rate falls"
    ]


@pytest.mark.usefixtures("eager_checkpoints")
@pytest.mark.parametrize("kill_at", range(1, 18, 2))
def test_a_plateau_survives_a_kill_at_any_step(tmp_path: Path, kill_at: int) -> None:
    schedule = Schedule(name="plateau", monitor="accuracy", patience=1, factor=0.5)
    recipe = RECIPE.model_copy(update={"schedule": schedule, "epochs": 6})
    whole = fit(Counting(), recipe, scores=score)
    assert len({row["rate"] for row in whole.history}) > 2, "the rate falls, and again"
    with pytest.raises(Killed):
        fit(Counting(kill_at=kill_at), recipe, scores=score, save_to=tmp_path / "c")
    resumed = fit(Counting(), recipe, scores=score, save_to=tmp_path / "c")
    assert resumed.weights["value"].tobytes() == whole.weights["value"].tobytes()
    assert resumed.history == whole.history


@pytest.mark.parametrize(
    ("stop", "best", "epochs", "shipped"),
    [
        ("log_loss", "accuracy", 3, 3),
        ("log_loss", "macro_f1", 3, 2),
        ("log_loss", "log_loss", 3, 1),
        ("accuracy", "macro_f1", 5, 5),
        ("macro_f1", "accuracy", 4, 3),
    ],
)
def test_stopping_and_shipping_each_follow_a_monitor_of_their_own(stop: Any, best: Any, epochs: int, shipped: int) -> None:
    rows = iter(
        {"log_loss": loss, "accuracy": accuracy, "macro_f1": f1}
        for loss, accuracy, f1 in [(0.5, 0.1, 0.3), (0.6, 0.2, 0.6), (0.7, 0.9, 0.5), (0.8, 0.3, 0.4), (0.1, 0.2, 0.7)]
    )
    recipe = Recipe(epochs=5, stop=Stop(monitor=stop, patience=2), best=Best(monitor=best))
    fitted = fit(Counting(), recipe, scores=lambda _: next(rows))
    assert (len(fitted.history), fitted.epoch) == (epochs, shipped)
