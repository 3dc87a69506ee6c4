"""What the server tells of itself at /metrics, in Prometheus' words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from sortal.serving.batching import BUCKETS

STAGES = ("read", "decode", "network", "all")
"""Receiving the body; waiting for a decoder and decoding; waiting for the network and its answer; head to answer."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONFIDENCE = tuple(round(number / 10, 1) for number in range(1, 11))


class Telemetry:
    """Counters of one server, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered.", ["route", "code"])
        self.shed = self._counter(
            "shed", "Requests refused since there was too much to do, by what there was too much of.", ["reason"]
        )
        self.predictions = self._counter("predictions", "Images by the label that was said.", ["model", "version", "label"])
        self.abstentions = self._counter("abstentions", "Images of which no label was said.", ["model", "version"])
        self.unreadable = self._counter("unreadable", "Images that could not be read.", ["code"])
        self.stages = Histogram(
            "sortal_stage_seconds", "Time of an image in each stage.", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self._stages = {stage: self.stages.labels(stage) for stage in STAGES}
        self.batches = Histogram(
            "sortal_batch_images", "Images in a batch.", ["model", "version"], buckets=BUCKETS, registry=self.registry
        )
        self.network = Histogram(
            "sortal_batch_seconds", "Time of a batch in the network.", ["model", "version"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.confidence = Histogram(
            "sortal_confidence",
            "Probability of the likeliest label.",
            ["model", "version"],
            buckets=CONFIDENCE,
            registry=self.registry,
        )

    def _counter(self, name: str, about: str, labels: list[str]) -> Counter:
        return Counter(f"sortal_{name}", about, labels, registry=self.registry)

    def gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        """A number that is looked up when somebody asks."""
        Gauge(f"sortal_{name}", about, registry=self.registry).set_function(value)

    def gauges(self, name: str, about: str, labels: list[str]) -> Gauge:
        return Gauge(f"sortal_{name}", about, labels, registry=self.registry)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.took(stage, perf_counter() - began)

    def took(self, stage: str, seconds: float) -> None:
        self._stages[stage].observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)
