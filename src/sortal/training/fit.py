"""The loop: one page that trains every model of every engine, keeps the best and the last, and can be killed at any moment."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from sortal.engines.protocol import Batch, Session
from sortal.errors import Diverged, OutOfMemory
from sortal.events import CheckpointSaved, EpochDone, Note, Observer, Progress, ignore
from sortal.recipe import Recipe, Schedule
from sortal.training import checkpoint
from sortal.training.schedule import multiplier

# Within an epoch a checkpoint is due after this many seconds: what a kill can cost.
SECONDS_WITHIN_EPOCH = 30.0
# At the end of an epoch it is due unless the last one is younger: a head's epoch takes milliseconds, a write tens of them.
SECONDS_BETWEEN_EPOCHS = 2.0
SECONDS_BETWEEN_EVENTS = 0.1
OUT_OF_MEMORY = "out of memory in epoch {}: from here on {} images go through at once, not {}; the batch stays what it was"
NO_HALF = "not even the smallest part of a batch fits: close other programs and go on with --resume, or lower image_size"

Scores = Callable[[NDArray[np.float32]], Mapping[str, float]]
"""From the logits of the validation split to named scores, those that the recipe monitors among them."""


@dataclass
class Loop:
    """Where the training is, besides the session's own state; all of it goes into a checkpoint."""

    epoch: int = 0
    step: int = 0  # within the epoch
    losses: float = 0.0  # sum over the images of this epoch so far
    images: int = 0
    seconds: float = 0.0  # that this epoch has taken so far, over all attempts
    stale: int = 0  # epochs since stop.monitor was at its best
    stop_score: float | None = None
    best_score: float | None = None
    best_epoch: int | None = None
    fall: float = 1.0  # what a plateau has made of the learning rate so far
    fall_score: float | None = None
    fall_stale: int = 0  # epochs since schedule.monitor was at its best, or since the last fall
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of it: the weights to ship, the epoch they are from (counted from 1), and the course of the training."""

    weights: Mapping[str, NDArray[Any]]
    epoch: int
    history: list[dict[str, Any]]
    steps: int
    """Steps taken in this process: 0 where everything was found in a checkpoint."""
    images: int
    """Images in those steps."""
    seconds: float
    """Spent on them, with evaluations and checkpoints."""
    validation_seconds: float
    """Of these, spent on the scores of epochs."""
    micro_batch: int
    """Images that went through the network at once in the end; not the recipe's where memory ran out."""


def fit(
    session: Session,
    recipe: Recipe,
    *,
    scores: Scores | None = None,
    save_to: Path | None = None,
    smaller: Callable[[int], None] = lambda micro_batch: None,
    observe: Observer = ignore,
) -> Fitted:
    """Train to the end of the recipe and return the weights to ship.

    `scores` judges the logits of the split 'val' after each epoch; without it nothing is evaluated. With `save_to`, checkpoints
    go there and an existing one is continued: the result has the same bytes as if nothing had interrupted it. Raises
    `Diverged` where the loss is no number any more; the checkpoint before that stays.

    Where memory runs out, half as many images go through the network at once from that step on, and `smaller` is told how many,
    to write it down. The step is taken anew with the same images, and a checkpoint is saved before it, so that a resume
    goes on in the same way from there.
    """
    fitting = _Fitting(session, recipe, scores, save_to, smaller, observe)
    while not fitting.finished:
        fitting.epoch()
    return fitting.result()


class _Fitting:
    """One training under way: the session, where it is, the best weights so far, and when it last saved and spoke."""

    def __init__(
        self,
        session: Session,
        recipe: Recipe,
        scores: Scores | None,
        save_to: Path | None,
        smaller: Callable[[int], None],
        observe: Observer,
    ) -> None:
        self._session, self._recipe, self._scores = session, recipe, scores
        self._save_to, self._smaller, self._observe = save_to, smaller, observe
        self._loop, self._best = Loop(), dict[str, NDArray[Any]]()
        if save_to and save_to.exists():
            state, self._best, saved = checkpoint.read(save_to)
            session.restore(state)
            self._loop = Loop(**saved)
        self._steps = self._images = 0
        self._judging = 0.0
        self._pending = list[tuple[SupportsFloat, int]]()
        self._started = self._last_save = self._last_event = self._counted = time.monotonic()

    @property
    def finished(self) -> bool:
        stopped = 0 < self._recipe.stop.patience <= self._loop.stale
        return self._loop.epoch >= self._recipe.epochs or stopped

    def epoch(self) -> None:
        """The rest of the epoch, its scores, and a checkpoint where one is due."""
        loop = self._loop
        rate = self._train()
        found = self._judged()
        loss, rate = loop.losses / max(1, loop.images), self._recipe.learning_rate * rate
        loop.history.append({"epoch": loop.epoch + 1, "loss": loss, "rate": rate, **found})
        self._judge(found)
        loop.step = self._session.steps
        self._tell_progress()
        self._count_seconds()
        self._observe(EpochDone(loop.epoch + 1, self._recipe.epochs, loss, rate, loop.images, loop.seconds, found))
        loop.epoch, loop.step, loop.losses, loop.images, loop.seconds = loop.epoch + 1, 0, 0.0, 0, 0.0
        if self.finished or time.monotonic() - self._last_save > SECONDS_BETWEEN_EPOCHS:
            self._save()
        if self.finished:
            self._observe(Progress("train", self._total, self._total, "steps"))

    def result(self) -> Fitted:
        loop = self._loop
        return Fitted(
            weights=self._best if loop.best_epoch else self._session.weights(),
            epoch=loop.best_epoch or loop.epoch,
            history=loop.history,
            steps=self._steps,
            images=self._images,
            seconds=time.monotonic() - self._started,
            validation_seconds=self._judging,
            micro_batch=self._session.micro_batch,
        )

    def _judged(self) -> dict[str, float]:
        """The epoch's scores; the device has nothing else to do by now, since the losses of all steps were read back."""
        if self._scores is None:
            return {}
        began = time.monotonic()
        found = dict(self._scores(self._session.predict("val")))
        self._judging += time.monotonic() - began
        return found

    @property
    def _total(self) -> int:
        return self._recipe.epochs * self._session.steps

    def _train(self) -> float:
        """The steps that are left of the epoch; the last one's rate, as a multiple of the recipe's."""
        loop, rate = self._loop, 0.0
        for batch in self._session.batches(loop.epoch, start=loop.step):
            progress = batch.step / self._total
            rate = multiplier(self._recipe.schedule, progress) * loop.fall
            self._pending.append((self._step(batch, rate, progress), len(batch.rows_B)))
            loop.step += 1
            self._steps += 1
            self._images += len(batch.rows_B)
            now = time.monotonic()
            if now - self._last_event > SECONDS_BETWEEN_EVENTS:
                self._last_event = now
                self._tell_progress()
            if now - self._last_save > SECONDS_WITHIN_EPOCH and loop.step < self._session.steps:
                self._settle()
                self._save()
        self._settle()
        return rate

    def _step(self, batch: Batch, rate: float, progress: float) -> SupportsFloat:
        while True:
            try:
                return self._session.train_step(batch, rate, progress)
            except OutOfMemory:
                before = self._session.micro_batch or self._recipe.batch_size
            # Out here, since the exception holds on to the tensors of the attempt.
            if not self._session.halve():
                raise OutOfMemory("out of memory", hint=NO_HALF)
            self._settle()
            self._save()
            self._smaller(self._session.micro_batch)
            told = OUT_OF_MEMORY.format(self._loop.epoch + 1, self._session.micro_batch, before)
            self._observe(Note(told, "warning"))

    def _settle(self) -> None:
        # Losses are read back from the device only here: each read waits for all work that is under way.
        loop = self._loop
        for loss, count in self._pending:
            loop.losses += float(loss) * count
            loop.images += count
        self._pending.clear()
        if not math.isfinite(loop.losses):
            half = self._recipe.precision == "fp16"
            further = ", or precision=bf16, whose numbers reach further than those of fp16" if half else ""
            raise Diverged(
                f"the training diverged: the loss is {loop.losses} in epoch {loop.epoch + 1}",
                hint=f"lower learning_rate, set schedule.warmup=0.1 or optimizer.clip=1{further}, and begin a new run",
            )

    def _judge(self, found: Mapping[str, float]) -> None:
        """What an epoch's scores mean for the weights to ship, for stopping, and for a rate that falls on plateaus."""
        loop, recipe = self._loop, self._recipe
        if _better(recipe.best.monitor, found, loop.best_score):
            loop.best_score, loop.best_epoch = found[recipe.best.monitor], loop.epoch + 1
            self._best = dict(self._session.weights())
        if _better(recipe.stop.monitor, found, loop.stop_score):
            loop.stop_score, loop.stale = found[recipe.stop.monitor], 0
        else:
            loop.stale += 1
        schedule = recipe.schedule
        if schedule.name == "plateau" and _falls(schedule, loop, found):
            self._observe(Note(f"no better {schedule.monitor} for {schedule.patience} epochs: the learning rate falls"))

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self._loop.seconds += now - self._counted
        self._counted = now

    def _save(self) -> None:
        self._count_seconds()
        if self._save_to:
            checkpoint.write(self._save_to, self._session.state(), self._best, asdict(self._loop))
            self._observe(CheckpointSaved(str(self._save_to), self._loop.epoch, self._loop.step))
            self._last_save = time.monotonic()

    def _tell_progress(self) -> None:
        done = self._loop.epoch * self._session.steps + self._loop.step
        self._observe(Progress("train", done, self._total, "steps"))


def _falls(schedule: Schedule, loop: Loop, found: Mapping[str, float]) -> bool:
    """Count an epoch without a better score, and let the rate fall once there are `patience` of them; whether it fell."""
    if _better(schedule.monitor, found, loop.fall_score):
        loop.fall_score, loop.fall_stale = found[schedule.monitor], 0
        return False
    loop.fall_stale += 1
    if loop.fall_stale < schedule.patience:
        return False
    before, loop.fall, loop.fall_stale = loop.fall, max(schedule.floor, loop.fall * schedule.factor), 0
    return loop.fall < before


def _better(monitor: str, found: Mapping[str, float], so_far: float | None) -> bool:
    if monitor not in found:
        return False
    if so_far is None:
        return True
    return found[monitor] < so_far if monitor == "log_loss" else found[monitor] > so_far
