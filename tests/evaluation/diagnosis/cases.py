"""Cases: trainings so small that they take a tenth of a second, and healthy numbers that a test may spoil."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from sortal import engines
from sortal.data.samples import Samples
from sortal.evaluation.diagnosis import Case, changed, diagnose
from sortal.evaluation.intervals import wilson
from sortal.evaluation.metrics import per_class
from sortal.evaluation.task import MULTI_CLASS
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe
from sortal.training.fit import fit

CLASSES = ("blue", "green", "red")
SMALL = Recipe(
    model="lenet5",
    weights="none",
    strategy="scratch",
    image_size=16,
    epochs=12,
    batch_size=16,
    learning_rate=2e-3,
    precision="float32",
    layout="nchw",
    threads=1,
    head={"dropout": 0.3},
    optimizer={"weight_decay": 1e-3},
    augment={"crop": "padded", "padding": 1},
)
HEALTHY = Case(
    recipe=changed(SMALL, {"split.val": 0.1}),
    training={"blue": 4000, "green": 4000, "red": 4000},
    history=[
        {
            "epoch": n + 1,
            "loss": 1.0 * 0.6**n + 0.06,
            "rate": 2e-3 * (1 - n / 12),
            "log_loss": 0.9 * 0.6**n + 0.09,
            "accuracy": 0.97,
        }
        for n in range(12)
    ],
    metrics={"test": {"accuracy": 0.97, "accuracy_interval": [0.965, 0.975], "log_loss": 0.1}},
    per_class={"test": [{"class": name, "recall": 0.97, "support": 500} for name in CLASSES]},
    headline="test",
    seconds={"prepare": 5.0, "train": 20.0, "finish": 3.0, "total": 28.0},
    work={"images_per_second": 900.0, "decoded": 13000, "features_computed": 0, "trainable_parameters": 60_000},
)


class Held:
    """Pixels in memory."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self.images[rows]


def squares(
    counts: tuple[int, ...] = (20, 20, 20), *, held_out: int = 12, noise: int = 140
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noisy squares in three colours: images, labels, and which of them are held out, `held_out` of each class."""
    random = np.random.default_rng(0)
    images, labels, held = [], [], []
    for number, count in enumerate(counts):
        for index in range(count + held_out):
            pixels = random.integers(0, noise, (16, 16, 3))
            pixels[:, :, 2 - number] += 250 - max(noise, 140)
            images.append(np.minimum(pixels, 255).astype(np.uint8))
            labels.append(number)
            held.append(index >= count)
    return np.stack(images), np.array(labels), np.array(held)


def learnt(recipe: Recipe, images: np.ndarray, labels: np.ndarray, held: np.ndarray) -> Case:
    """Really train the recipe on these images, and tell the course of it."""
    engine = engines.load("torch")
    splits = {"train": np.flatnonzero(~held), "val": np.flatnonzero(held)}
    samples = Samples(CLASSES, labels, np.arange(len(labels), dtype=np.uint64), splits, Held(images))
    preprocess = Preprocess(size=recipe.image_size, resize=recipe.image_size)
    session = engine.open(recipe, preprocess, samples)
    found = fit(session, recipe, scores=lambda logits: MULTI_CLASS.monitored(logits, labels[splits["val"]]))
    probs, true = MULTI_CLASS.probabilities(session.predict("val")), labels[splits["val"]]
    right = int((probs.argmax(axis=1) == true).sum())
    counts = Counter(CLASSES[label] for label in labels[splits["train"]])
    return Case(
        recipe=recipe,
        training={name: counts[name] for name in CLASSES},
        history=found.history,
        metrics={"val": {"accuracy": right / len(true), "accuracy_interval": list(wilson(right, len(true)))}},
        per_class={"val": per_class(probs, true, CLASSES)},
        headline="val",
    )


def kinds(case: Case) -> list[str]:
    return [row["kind"] for row in diagnose(case)]


def healthy(change: dict[str, Any] | None = None, **fields: Any) -> Case:
    """The healthy case with some of its fields replaced, and its recipe changed."""
    case = replace(HEALTHY, **fields)
    return replace(case, recipe=changed(case.recipe, change or {}))
