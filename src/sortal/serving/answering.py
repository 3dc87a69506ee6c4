"""From a request's images to answers: let in, decoded, run through the network in company, decided, counted."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.evaluation.reference import Reference
from sortal.serving.batching import Lanes
from sortal.serving.decoding import Decoders
from sortal.serving.drift import Watch
from sortal.serving.expected import Expected
from sortal.serving.limits import Limits
from sortal.serving.models import Model, Models, Place
from sortal.serving.refused import Refused, shed
from sortal.serving.telemetry import Telemetry

Tell = Callable[[str, NDArray[np.float32], float | None, Bundle, int], dict[str, Any]]
"""An image's name, its probabilities (K), its novelty, the bundle, how many ranked labels: the contract's prediction."""
Refer = Callable[[Bundle], Reference | None]
"""What a bundle's validation images were said to be."""
CERTAIN = 0.8
"""The share of the deadline within which an answer has to be expected."""
ABSTAINED = "(none)"
OTHERS = "(others)"
MOST_LABELS = 200
"""Labels that the metrics count by name; with more of them the rest is counted together."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the network said of one image, or why there is nothing."""

    row_R: NDArray[np.float32] | None
    refused: Refused | None = None


@dataclass(slots=True)
class Stay:
    """A request that was let in: as one image until its body has come, then as those that it holds."""

    desk: "Desk"
    images: int = 1
    whole_at: float | None = None
    """When its body was here."""

    def holds(self, images: int) -> None:
        """Its body has come, with so many images; raises `Refused`.

        503 where there are too many just now, 413 where there are more than there ever is room for.
        """
        self.desk.more(images - self.images, of=images)
        self.images, self.whole_at = images, time.monotonic()


class Desk:
    """Where images come in: how many are inside, whether one more would be answered in time, and the way of each."""

    def __init__(
        self, models: Models, lanes: Lanes, decoders: Decoders, telemetry: Telemetry, limits: Limits, tell: Tell, refer: Refer
    ) -> None:
        self.models, self.lanes, self.decoders = models, lanes, decoders
        self.telemetry, self.limits, self.tell, self.refer = telemetry, limits, tell, refer
        self.inside = 0
        self.expected = Expected(limits.deadline)
        self.watches: dict[tuple[str, str], Watch] = {}
        models.observe, models.changed = self._ran, self._changed
        self._expose()

    @property
    def wait(self) -> float:
        """Seconds until an image that came now would be answered, as far as can be told."""
        return self.inside * self.expected.each(time.monotonic())

    def refusal(self) -> Refused | None:
        """Why one more image would not be answered, if it would not."""
        if self.inside >= self.limits.queue:
            return shed("queue", "too many images are waiting", self.wait / 2)
        # Not all of it: what was measured is what was, and whoever is let in should not be refused later.
        if self.wait > (soon := CERTAIN * self.limits.deadline):
            return shed("wait", "an answer would take too long", self.wait - soon)
        return None

    @contextmanager
    def admitted(self) -> Iterator[Stay]:
        """Let a request in, or raise `Refused` (503).

        It leaves at the end; from one that was answered it is learnt how long that takes.
        """
        if refusal := self.refusal():
            raise refusal
        stay, answered = Stay(self), False
        self.inside += 1
        try:
            yield stay
            answered = True
        finally:
            self.inside -= stay.images
            if answered and stay.whole_at is not None:
                self.expected.answered(stay.images, since=stay.whole_at, now=time.monotonic())

    def more(self, images: int, *, of: int) -> None:
        """Let in so many images more of one request of `of`; raises `Refused`."""
        if of > self.limits.queue:
            raise Refused(413, f"more than {self.limits.queue} images at once", hint="divide them among several requests")
        if images and (refusal := self.refusal()):
            raise refusal
        if images and self.inside + images > self.limits.queue:
            raise shed("queue", "too many images are waiting", self.wait / 2)
        self.inside += images

    async def answers(self, model: Model, images: Sequence[bytes], deadline: float) -> list[Told]:
        """What the network says of each; what cannot be read has its reason, and what was shed raises."""
        found: Sequence[NDArray[np.float32] | BaseException]
        if len(images) == 1:  # without a task of its own
            try:
                found = [await self._answer(model, images[0], deadline)]
            except Refused as refused:
                found = [refused]
        else:
            found = await asyncio.gather(*(self._answer(model, image, deadline) for image in images), return_exceptions=True)
        told: list[Told] = []
        for each in found:
            if isinstance(each, Refused) and each.status in (413, 422):
                self.telemetry.unreadable.labels(str(each.status)).inc()
                told.append(Told(None, each))
            elif isinstance(each, BaseException):
                raise each
            else:
                told.append(Told(each))
        return told

    async def _answer(self, model: Model, image: bytes, deadline: float) -> NDArray[np.float32]:
        if not image:
            raise Refused(422, "the file is empty", hint="send another image")
        with self.telemetry.timed("decode"):
            pixels_SSC = await self.decoders.decode(image, model.bundle.preprocess, deadline)
        return await self.run(model, pixels_SSC, deadline)

    async def run(self, model: Model, pixels_SSC: NDArray[np.uint8], deadline: float) -> NDArray[np.float32]:
        """What the network says of pixels as it takes them; raises `Refused` where the deadline passed."""
        with self.telemetry.timed("network"):
            return await model.row(pixels_SSC, deadline)

    def told(self, model: Model, source: str, row_R: NDArray[np.float32], top: int) -> dict[str, Any]:
        """The contract's prediction, counted."""
        probs_K, novelty = model.split(row_R)
        prediction = self.tell(source, probs_K, novelty, model.bundle, top)
        labels = prediction["labels"] if "labels" in prediction else [prediction["label"]]
        said = [label for label in labels if label is not None]
        key = model.name, model.version
        if not said:
            self.telemetry.abstentions.labels(*key).inc()
        few = len(model.bundle.classes) <= MOST_LABELS
        for label in said or [ABSTAINED]:
            self.telemetry.predictions.labels(*key, label if few or not said else OTHERS).inc()
        self.telemetry.confidence.labels(*key).observe(float(probs_K.max()))
        if self.models.answering.get(key) is model:  # one that was replaced meanwhile may have other classes
            self.watches[key].saw(probs_K)
        return prediction

    def deadline(self, seconds: float | None = None) -> float:
        """The moment (`time.monotonic`) by which a request that comes now is answered or refused."""
        return time.monotonic() + min(seconds or math.inf, self.limits.deadline)

    def _ran(self, place: Place, size: int, seconds: float) -> None:
        self.telemetry.batches.labels(place.name, place.version).observe(size)
        self.telemetry.network.labels(place.name, place.version).observe(seconds)

    def _changed(self, place: Place, bundle: Bundle) -> None:
        self.watches[place.name, place.version] = Watch(self.refer(bundle))

    def _expose(self) -> None:
        gauge = self.telemetry.gauge
        gauge("inside_images", "Images let in and not answered yet.", lambda: self.inside)
        gauge("waiting_for_decoder", "Images before a decoder.", lambda: self.decoders.waiting)
        gauge("decoding", "Images that are being decoded.", lambda: self.decoders.busy)
        gauge("decoders_replaced", "Decoders that took too long or died.", lambda: self.decoders.replaced)
        gauge("waiting_for_network", "Images before a network.", lambda: sum(len(each.waiting) for each in self.lanes.queues))
        gauge("models_refused", "Models whose folder holds what did not pass its check.", lambda: len(self.models.refused))
        names = ["model", "version"]
        self._drift = self.telemetry.gauges("drift", "Shift against validation, of what.", [*names, "what"])
        self._alarm = self.telemetry.gauges("drift_alarm", "1 where a shift against validation is large.", names)
        self._cap = self.telemetry.gauges("batch_cap", "Largest batch that is worth it now.", names)

    def refreshed(self) -> bytes:
        """The metrics, with what is computed only when somebody asks."""
        for key, watch in self.watches.items():
            self._drift.labels(*key, "classes").set(watch.classes)
            self._drift.labels(*key, "confidence").set(watch.confidence)
            self._alarm.labels(*key).set(watch.alarm)
        for key, model in self.models.answering.items():
            self._cap.labels(*key).set(model.queue.pace.cap)
        return self.telemetry.text()


def options(query: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise `Refused` (400) for a query that says what nobody listens to."""
    if unknown := sorted(set(query) - set(known)):
        raise Refused(400, f"there is no option {unknown[0][:50]!r}", hint=f"there are {', '.join(known) or 'none'}")
