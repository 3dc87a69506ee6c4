"""Every two options beside each other: trained, killed after a step, resumed to the same bytes, bundled and asked."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from sortal.events import CheckpointSaved, Event
from sortal.recipe import Recipe
from sortal.training import fit as loop
from sortal.workflows import predict, train
from tests.workflows.covering import Row, covering, holds

Make = Callable[..., Path]

STRATEGIES: dict[str, dict[str, Any]] = {
    "features": {},
    "last_layers": {"thaw": {"stages": 1}},
    "full": {},
    "progressive": {"thaw": {"epochs": [[1, 0], [2, "all"]]}},
    "staged": {"schedule": {"head_only": 0.4}},
    "scratch": {},
}
LOSSES: dict[str, dict[str, Any]] = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1, "smooth_over": "others"},
    "focal": {"name": "focal", "gamma": 1.5},
    "weighted": {"class_weights": "effective", "label_smoothing": 0.1},
}
MIXING: dict[str, dict[str, Any]] = {
    "none": {}, "mixup": {"mixup": 0.4}, "cutmix": {"cutmix": 1.0}, "both": {"mixup": 0.4, "cutmix": 1.0}
}  # fmt: skip
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "nesterov": True},
    "adam": {"name": "adam"},
    "adamw": {"name": "adamw", "clip": 1.0, "layer_decay": 1.0},
    "rmsprop": {"name": "rmsprop"},
    "muon": {"name": "muon", "bias_rate": 4.0},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"name": "constant"},
    "linear": {"name": "linear", "warmup": 0.25},
    "step": {"name": "step", "every": 0.5},
    "multi_step": {"name": "multi_step", "milestones": [0.3, 0.6]},
    "cosine": {"name": "cosine", "restarts": 1, "floor": 0.01},
    "one_cycle": {"name": "one_cycle", "warmup": 0.3},
    "plateau": {"name": "plateau", "patience": 1},
}
FACTORS = {
    "strategy": list(STRATEGIES),
    "loss": list(LOSSES),
    "mixing": list(MIXING),
    "optimizer": list(OPTIMIZERS),
    "schedule": list(SCHEDULES),
    "task": ["binary", "multi_class", "multi_label"],
}
COLOURS = {"binary": ("blue", "green"), "multi_class": ("blue", "green", "red")}


def allowed(row: Row) -> bool:
    """A head on stored outputs has no images that could be mixed and nothing that Muon moves; the recipe refuses both."""
    return not (row["strategy"] == "features" and (row["mixing"] != "none" or row["optimizer"] == "muon"))


ROWS = covering(FACTORS, allowed)
SAMPLE = ROWS[:: len(ROWS) // 3][:3]
"""What `make test` runs of them."""


def recipe_of(row: Row) -> Recipe:
    """Two epochs of two steps."""
    thawed = STRATEGIES[row["strategy"]]
    return Recipe.model_validate(
        {
            "task": "multi_label" if row["task"] == "multi_label" else "multi_class",
            "strategy": row["strategy"],
            "model": "simple_cnn",
            "weights": "none",
            "image_size": 16,
            "epochs": 2,
            "batch_size": 12,
            "precision": "float32",
            "layout": "nchw",
            "runtime": "torch",
            "threads": 1,
            "learning_rate": 0.01,
            "loss": LOSSES[row["loss"]],
            "augment": {"views": 1, "flip": 0.5, **MIXING[row["mixing"]]},
            "optimizer": OPTIMIZERS[row["optimizer"]],
            "schedule": {**SCHEDULES[row["schedule"]], **thawed.get("schedule", {})},
            "split": {"val": 0.25},
            **({"thaw": thawed["thaw"]} if "thaw" in thawed else {}),
        }
    )


def cases() -> list[Any]:
    return [
        pytest.param(row, id="-".join(row[name] for name in FACTORS), marks=[] if row in SAMPLE else [pytest.mark.slow])
        for row in ROWS
    ]


def killed(event: Event) -> None:
    """What a kill is to the code that it hits, at the first checkpoint."""
    if isinstance(event, CheckpointSaved):
        raise KeyboardInterrupt


@pytest.mark.parametrize("row", cases())
def test_two_options_work_together(
    row: Row, coloured: Make, patches: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = patches() if row["task"] == "multi_label" else coloured(each=10, classes=COLOURS[row["task"]])
    recipe = recipe_of(row)
    whole = train(data, recipe=recipe, out=tmp_path / "whole")
    monkeypatch.setattr(loop, "SECONDS_WITHIN_EPOCH", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(data, recipe=recipe, out=tmp_path / "killed", observe=killed)
    resumed = train(out=tmp_path / "killed", resume=True)
    for name in ("bundle/weights.safetensors", "bundle/model.onnx", "predictions.parquet"):
        assert (resumed.run.path / name).read_bytes() == (whole.run.path / name).read_bytes(), name
    assert resumed.to_json()["metrics"] == whole.to_json()["metrics"]
    image = next(data.rglob("*.png") if data.is_dir() else data.parent.rglob("*.png"))
    (answer,) = predict(resumed.run.path, [image]).predictions
    assert ("labels" in answer) == (row["task"] == "multi_label")


def test_every_two_options_stand_together_in_some_row() -> None:
    pairs = [
        ((one, first), (two, second))
        for one, two in combinations(FACTORS, 2)
        for first in FACTORS[one]
        for second in FACTORS[two]
        if not (first == "features" and (second == "muon" or (two == "mixing" and second != "none")))
    ]
    assert all(any(holds(row, pair) for row in ROWS) for pair in pairs)
    assert all(allowed(row) for row in ROWS)


def test_a_pair_that_is_not_allowed_stands_in_no_row() -> None:
    rows = covering({"a": [1, 2], "b": [1, 2], "c": [1, 2]}, lambda row: not (row["a"] == 1 and row["c"] == 2))
    assert not any(row["a"] == 1 and row["c"] == 2 for row in rows)
    assert {(row["a"], row["b"]) for row in rows} == {(1, 1), (1, 2), (2, 1), (2, 2)}
