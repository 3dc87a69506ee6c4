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
    loop, best = Loop(), dict[str, NDArray[Any]]()
    if save_to and save_to.exists():
        state, best, saved = checkpoint.read(save_to)
        session.restore(state)
        loop = Loop(**saved)
    steps_done = images_done = 0
    started = last_save = last_event = time.monotonic()

    def save() -> None:
        nonlocal last_save
        if save_to:
            checkpoint.write(save_to, session.state(), best, asdict(loop))
            observe(CheckpointSaved(str(save_to), loop.epoch, loop.step))
            last_save = time.monotonic()

    pending = list[tuple[Any, int]]()

    def settle() -> None:
        # Losses are read back from the device only here: each read waits for all work that is under way.
        for loss, count in pending:
            loop.losses += float(loss) * count
            loop.images += count
        pending.clear()
        if not math.isfinite(loop.losses):
            further = (
                ", or precision=bf16, whose numbers reach further than those of fp16" if recipe.precision == "fp16" else ""
            )
            raise Diverged(
                f"the training diverged: the loss is {loop.losses} in epoch {loop.epoch + 1}",
                hint=f"lower learning_rate, set schedule.warmup=0.1 or optimizer.clip=1{further}, and begin a new run",
            )

    def step(batch: Batch, rate: float, progress: float) -> SupportsFloat:
        while True:
            try:
                return session.train_step(batch, rate, progress)
            except OutOfMemory:
                before = session.micro_batch or recipe.batch_size
            # Out here, since the exception holds on to the tensors of the attempt.
            if not session.halve():
                raise OutOfMemory("out of memory", hint=NO_HALF)
            settle()
            save()
            smaller(session.micro_batch)
            observe(Note(OUT_OF_MEMORY.format(loop.epoch + 1, session.micro_batch, before), "warning"))

    total = recipe.epochs * session.steps
    finished = loop.epoch >= recipe.epochs or _stopped(recipe, loop)
    while not finished:
        began, rate = time.monotonic(), 0.0
        for batch in session.batches(loop.epoch, start=loop.step):
            progress = batch.step / total
            rate = multiplier(recipe.schedule, progress) * loop.fall
            pending.append((step(batch, rate, progress), len(batch.rows_B)))
            loop.step += 1
            steps_done += 1
            images_done += len(batch.rows_B)
            now = time.monotonic()
            if now - last_event > SECONDS_BETWEEN_EVENTS:
                last_event = now
                observe(Progress("train", loop.epoch * session.steps + loop.step, total, "steps"))
            if now - last_save > SECONDS_WITHIN_EPOCH and loop.step < session.steps:
                settle()
                save()
        settle()

        found = dict(scores(session.predict("val"))) if scores else {}
        row = {
            "epoch": loop.epoch + 1,
            "loss": loop.losses / max(1, loop.images),
            "rate": recipe.learning_rate * rate,
            **found,
        }
        loop.history.append(row)
        if _better(recipe.best.monitor, found, loop.best_score):
            loop.best_score, loop.best_epoch = found[recipe.best.monitor], loop.epoch + 1
            best = dict(session.weights())
        if _better(recipe.stop.monitor, found, loop.stop_score):
            loop.stop_score, loop.stale = found[recipe.stop.monitor], 0
        else:
            loop.stale += 1
        if recipe.schedule.name == "plateau" and _falls(recipe.schedule, loop, found):
            observe(Note(f"no better {recipe.schedule.monitor} for {recipe.schedule.patience} epochs: the learning rate falls"))
        observe(Progress("train", (loop.epoch + 1) * session.steps, recipe.epochs * session.steps, "steps"))
        observe(
            EpochDone(loop.epoch + 1, recipe.epochs, row["loss"], row["rate"], loop.images, time.monotonic() - began, found)
        )
        loop.epoch, loop.step, loop.losses, loop.images = loop.epoch + 1, 0, 0.0, 0
        finished = loop.epoch >= recipe.epochs or _stopped(recipe, loop)
        if finished or time.monotonic() - last_save > SECONDS_BETWEEN_EPOCHS:
            save()
        if finished:
            observe(Progress("train", total, total, "steps"))

    return Fitted(
        weights=best if loop.best_epoch else session.weights(),
        epoch=loop.best_epoch or loop.epoch,
        history=loop.history,
        steps=steps_done,
        images=images_done,
        seconds=time.monotonic() - started,
        micro_batch=session.micro_batch,
    )


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


def _stopped(recipe: Recipe, loop: Loop) -> bool:
    return 0 < recipe.stop.patience <= loop.stale


def _better(monitor: str, found: Mapping[str, float], so_far: float | None) -> bool:
    if monitor not in found:
        return False
    if so_far is None:
        return True
    return found[monitor] < so_far if monitor == "log_loss" else found[monitor] > so_far
