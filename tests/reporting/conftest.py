"""Invented runs of any size, seeded: what the page, the figures and the numbers are tested on."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sortal.evaluation.calibration import softmax
from sortal.evaluation.scores import score
from sortal.evaluation.thresholds import decided
from sortal.events import Decision
from sortal.manifest import SCHEMA, Manifest
from sortal.predictions import Predictions
from sortal.recipe import Recipe
from sortal.reporting.model import Report, build


def picture(size: int, seed: int, kind: str = "JPEG") -> bytes:
    """A gradient with a seeded tint, as the bytes of a file."""
    tint = np.random.default_rng(seed).integers(40, 215, size=3)
    ramp = np.linspace(0.5, 1.1, size)
    pixels = np.clip(ramp[:, None, None] * ramp[None, ::-1, None] * tint, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def invented_predictions(classes: list[str], split_sizes: dict[str, int], *, skill: float = 3.0, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    n, k = sum(split_sizes.values()), len(classes)
    labels = generator.integers(0, k, n)
    logits = generator.normal(size=(n, k))
    logits[np.arange(n), labels] += skill
    splits = tuple(split for split, size in split_sizes.items() for _ in range(size))
    sources = tuple(
        f"{split}/{classes[label]}/img_{row:05d}.jpg" for row, (split, label) in enumerate(zip(splits, labels, strict=True))
    )
    return Predictions(sources, tuple(classes), softmax(1.4 * logits).astype(np.float32), labels, splits)


def invented_labels(classes: list[str], split_sizes: dict[str, int], *, seed: int = 0) -> Predictions:
    """Several labels an image; the first label is on every other image, each further one is rarer, and some have none."""
    generator = np.random.default_rng(seed)
    n, k = sum(split_sizes.values()), len(classes)
    labels_NK = (generator.random((n, k)) < 1 / np.arange(2, k + 2)).astype(np.int64)
    probs_NK = (1 / (1 + np.exp(2.5 - 5 * labels_NK - generator.normal(size=(n, k))))).astype(np.float32)
    splits = tuple(split for split, size in split_sizes.items() for _ in range(size))
    sources = tuple(f"img_{row:05d}.jpg" for row in range(n))
    thresholds = tuple(np.linspace(0.3, 0.6, k).tolist())
    return Predictions(sources, tuple(classes), probs_NK, labels_NK, splits, decided(probs_NK, thresholds), thresholds)


def invented_manifest(predictions: Predictions, excluded: dict[str, str], notes: dict[str, str]) -> Manifest:
    ones_NK = np.eye(len(predictions.classes))[predictions.labels_N] if predictions.said_NK is None else predictions.labels_N
    rows = [
        {"source": source, "labels": [predictions.classes[k] for k in np.flatnonzero(ones_K)], "note": notes.get(source)}
        | {"split": "train" if split == "cross_validation" else split}
        for source, ones_K, split in zip(predictions.sources, ones_NK, predictions.splits_N, strict=True)
    ]
    rows += [{"source": source, "labels": [predictions.classes[0]], "exclusion": why} for source, why in excluded.items()]
    return Manifest(pa.Table.from_pylist(rows, schema=SCHEMA), predictions.classes, "/photos", ("val",))


def invented_report(classes: list[str], split_sizes: dict[str, int], *, epochs: int = 30, **options: float) -> Report:
    return report_of(invented_predictions(classes, split_sizes, **options), epochs=epochs)


def report_of(predictions: Predictions, *, epochs: int = 30) -> Report:
    score_name = "accuracy" if predictions.task == "multi_class" else "mean_average_precision"
    notes = {predictions.sources[0]: "transparency drawn on white"}
    manifest = invented_manifest(predictions, {"train/bad.jpg": "the file is truncated"}, notes)
    history = [
        {"epoch": epoch, "loss": 0.1 + np.exp(-epoch / 6), "rate": 1e-3 * (1 - epoch / epochs)}
        | (
            {score_name: 0.95 - 0.4 * np.exp(-epoch / 4), "log_loss": 0.16 + 0.7 * np.exp(-epoch / 5) + 0.002 * epoch}
            if "val" in predictions.split_names
            else {}
        )
        for epoch in range(1, epochs + 1)
    ]
    return build(
        name="ants-bees-2",
        created="2031-05-04T13:37:00+00:00",
        scores=score(predictions, before=predictions, images=manifest.counts()),
        predictions=predictions,
        chosen={"val": ["epoch", "temperature"]},
        manifest=manifest,
        recipe=Recipe.model_validate({"split": {"folds": 5}}),
        decisions=[
            Decision("strategy", "features", "398 images: a frozen network and a trained head do best below about 2,000"),
            Decision("model", "tf_efficientnet_lite0", "its ImageNet weights are at hand"),
            Decision("runtime", "onnx", "measured 175 images/s, torch 110"),
            Decision("augment.flip", "0.5", "the classes do not change in a mirror"),
        ],
        history=history,
        epoch=epochs - 5,
        seconds={"total": 12.3, "prepare": 7.1, "train": 3.2, "finish": 2.0},
        work={"decoded": 398, "features_computed": 1592, "steps": 240, "images_per_second": 175.2},
        files={"model": "bundle/model.onnx", "predictions": "predictions.parquet"},
        command="sortal train photos/ --recipe ants-bees-2/recipe.toml --seed 0",
        versions={"sortal": "0.1.0", "torch": "2.15.0"},
    )


def with_everything(report: Report) -> Report:
    """All that may be known beside: diagnosis, findings, slices, coverage, learning curve, robustness, calibration, maps."""
    accuracy = report.headline.accuracy

    def scored(images: int, share: float) -> dict[str, Any]:
        return {"images": images, "accuracy": share, "accuracy_interval": [max(0.0, share - 0.03), min(1.0, share + 0.02)]}

    sources = [mistake["source"] for mistake in report.mistakes]
    look = "data:image/jpeg;base64," + base64.b64encode(picture(120, 5)).decode()
    near = [{"source": f"train/{n}.jpg", "label": report.classes[n % 2], "similarity": 0.93 - n / 50} for n in range(4)]
    return replace(
        report,
        diagnosis=(
            {
                "kind": "label-noise", "severity": "severe", "change": {},
                "evidence": "31 of 398 labels are probably wrong: a head that never saw them says another class with 0.95.",
                "cure": "look at them with `sortal report RUN --edit` and train on the manifest that it writes",
            },
            {
                "kind": "overfitting", "severity": "warning",
                "evidence": "The loss on validation images rose from 0.22 in epoch 9 to 0.31 while training fell to 0.02.",
                "cure": "stop earlier and decay weights more", "change": {"stop.patience": 5, "optimizer.weight_decay": 0.05},
            },
            {
                "kind": "too-little-data", "severity": "note", "evidence": "Twice the images brought 3.1 points.",
                "cure": "add images of bees", "change": {},
            },
        ),
        findings=(
            {
                "kind": "imbalance", "severity": "note", "images": [], "detail": "bees has 3.1 times the images of ants",
                "cure": "judge by macro_f1",
            },
            {
                "kind": "copies-across-splits", "severity": "severe", "images": sources[:9],
                "detail": "9 images of val are near copies of training images", "cure": "`sortal check --fix` groups them",
                "groups": [sources[:2], sources[2:5], sources[5:9]],
            },
            {
                "kind": "label", "severity": "warning", "images": sources[3:12], "proposed": [report.classes[0]] * 9,
                "detail": "9 images may have the wrong label", "cure": "look at them",
            },
        ),
        slices=tuple(
            {"by": by, "value": value, **scored(images, share)}
            for by, value, images, share in [
                ("brightness", "very dark", 40, accuracy - 0.2), ("brightness", "usual", 180, accuracy + 0.01),
                ("brightness", "bright", 25, accuracy - 0.01), ("width", "below 200 pixels", 12, accuracy - 0.1),
                ("width", "200 pixels or more", 233, min(1.0, accuracy + 0.04)),
            ]
        ),
        coverage=tuple(
            {"threshold": at, "coverage": 1 - at**3 / 2, **scored(200, min(1.0, accuracy + 0.05 * at))}
            for at in (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
        ),
        learning_curve=tuple(scored(images, accuracy - 12 / images) for images in (49, 98, 147, 196, 245)),
        robustness=(
            {"corruption": "none", "strength": 0, **scored(245, accuracy)},
            *(
                {"corruption": name, "strength": strength, **scored(245, max(0.0, accuracy - cost * strength**1.5))}
                for name, cost in [("motion blur", 0.05), ("gaussian-noise", 0.03), ("turn", 0.015), ("jpeg_quality", 0.002)]
                for strength in range(1, 6)
            ),
        ),
        calibration={
            "method": "vector", "chosen_on": "val",
            "candidates": [
                {"method": name, "log_loss": loss}
                for name, loss in [("none", 0.4182), ("temperature", 0.3391), ("vector", 0.3302), ("isotonic", 0.3755)]
            ],
            "conformal": {"coverage_wanted": 0.9, "coverage": 0.9123, "coverage_interval": [0.88, 0.93], "mean_size": 1.21},
            "novelty": {"method": "nearest training features", "threshold": 0.42},
        },
        maps={source: {"map": look, "nearest": near, "fold": None} for source in sources},
    )  # fmt: skip


@pytest.fixture(scope="session")
def two_classes() -> Report:
    """Few photographs: cross-validation and the user's own validation split."""
    return invented_report(["ants", "bees"], {"cross_validation": 245, "val": 153}, skill=2.2)


@pytest.fixture(scope="session")
def everything(two_classes: Report) -> Report:
    """A report in which every part has something to show."""
    return with_everything(two_classes)


@pytest.fixture(scope="session")
def ten_classes() -> Report:
    """Ten thousand small images with a test split."""
    names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    return invented_report(names, {"val": 1000, "test": 10_000}, skill=3.5, epochs=12)


@pytest.fixture(scope="session")
def hundred_classes() -> Report:
    names = [
        f"{word} number {number}" for number in range(25) for word in ("warbler", "finch", "tern", "black-footed albatross")
    ]
    return invented_report(names, {"test": 2000}, skill=4.0)


@pytest.fixture(scope="session")
def several_labels() -> Report:
    """Photographs with any number of labels."""
    return report_of(invented_labels(["person", "dog", "<b>bike</b>", "boat"], {"val": 300, "test": 400}))


@pytest.fixture(scope="session", name="picture")
def picture_fixture() -> Callable[..., bytes]:
    """`picture(size, seed, kind)`: the bytes of an image file."""
    return picture
