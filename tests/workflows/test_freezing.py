"""Trainings in which a part of the network stays frozen, from end to end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sortal import recipe as recipes
from sortal.bundle import Bundle
from sortal.errors import MachineFailed, NotSupported, RecipeError, SortalError, UnknownName
from sortal.events import CheckpointSaved, Decision, Event
from sortal.recipe import Augment, Recipe, Schedule, Split, Thaw
from sortal.training import features as features_module
from sortal.training import fit as fit_module
from sortal.workflows import load, train

Make = Callable[..., Path]

BASE = Recipe(
    model="resnet10t",
    weights="none",
    strategy="last_layers",
    image_size=32,
    resize=32,
    epochs=3,
    batch_size=8,
    learning_rate=0.02,
    precision="float32",
    layout="nchw",
    runtime="onnx",
    augment=Augment(views=2, flip=0.5),
    split=Split(val=0.2),
)
PIXELS = {"frozen": "pixels", "runtime": "torch"}
ARCHITECTURES = [
    pytest.param({}, id="last_layers-stored"),
    pytest.param(PIXELS, id="last_layers-pixels", marks=pytest.mark.slow),
    pytest.param({"thaw": Thaw(names=("layer4",)), "runtime": "torch"}, id="last_layers-names", marks=pytest.mark.slow),
    pytest.param(
        {"strategy": "progressive", "runtime": "torch", "thaw": Thaw(epochs=((1, 0), (2, 1), (3, "all")))}, id="progressive"
    ),
    pytest.param(
        {"strategy": "progressive", "thaw": Thaw(epochs=((1, 0), (2, 1)))}, id="progressive-stored", marks=pytest.mark.slow
    ),
    pytest.param(
        {"strategy": "staged", "thaw": Thaw(stages=1), "schedule": Schedule(head_only=0.4)},
        id="staged-stored",
        marks=pytest.mark.slow,
    ),
]


def changed(change: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(BASE.model_dump() | change)


def weights(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load as arrays

    return arrays((path / "bundle" / "weights.safetensors").read_bytes())


@pytest.mark.parametrize("change", ARCHITECTURES)
def test_a_run_that_was_interrupted_ends_with_the_same_bytes(
    coloured: Make, tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "SECONDS_BETWEEN_EPOCHS", 0.0)
    data, recipe = coloured(), changed(change)
    train(data, recipe=recipe, out=tmp_path / "whole")

    def kill(event: Event) -> None:
        if isinstance(event, CheckpointSaved) and event.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, recipe=recipe, out=tmp_path / "run", observe=kill)
    resumed = train(out=tmp_path / "run", resume=True)
    assert resumed.to_json()["work"]["features_computed"] == 0
    files = [(tmp_path / name / "bundle" / "weights.safetensors").read_bytes() for name in ("whole", "run")]
    assert files[0] == files[1]


def test_what_stays_frozen_is_computed_once_and_the_bundle_is_one_whole_network(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    events: list[Event] = []
    first = train(data, recipe=BASE, out=tmp_path / "first", observe=events.append)
    work = first.to_json()["work"]
    images, training = 36, first.to_json()["splits"]["train"]
    assert work["features_computed"] == images + training * BASE.augment.views
    again = train(data, recipe=BASE, out=tmp_path / "again").to_json()
    assert (again["work"]["decoded"], again["work"]["features_computed"]) == (0, 0)
    assert again["metrics"] == first.to_json()["metrics"]
    # Another cut has stores of its own.
    two = train(data, recipe=changed({"thaw": Thaw(stages=2)}), out=tmp_path / "two").to_json()
    assert two["work"]["features_computed"] == work["features_computed"]
    about = Bundle.load(first.run.bundle).about
    assert about["parity"]["flips"] == 0
    found = weights(first.run.path)
    assert {name.split(".")[2] for name in found if name.startswith("body.")} == {
        "conv1",
        "bn1",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
    }
    assert len(load(first.run.path).predict_proba([data / "red" / "000.png"])) == 1


def test_the_frozen_layers_of_a_bundle_are_those_that_it_started_from(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    runs = {"one": {}, "longer": {"epochs": 4}, "pixels": PIXELS}
    found = {name: weights(train(data, recipe=changed(change), out=tmp_path / name).run.path) for name, change in runs.items()}
    frozen = [name for name in found["one"] if name.startswith("body.net.") and "layer4" not in name]
    assert len(frozen) > 20
    for name in frozen:
        assert found["one"][name].tobytes() == found["longer"][name].tobytes() == found["pixels"][name].tobytes()
    learnt = [name for name in found["one"] if "layer4" in name and name.endswith("weight")]
    assert all((found["one"][name] != found["longer"][name]).any() for name in learnt)


def test_trainable_and_total_parameters_are_told_and_kept(coloured: Make, tmp_path: Path) -> None:
    events: list[Event] = []
    result = train(coloured(), recipe=BASE, out=tmp_path / "run", observe=events.append).to_json()
    told = {event.key: event for event in events if isinstance(event, Decision)}
    work = result["work"]
    total = sum(
        array.size for name, array in weights(tmp_path / "run").items() if "running" not in name and "num_batches" not in name
    )
    assert 0 < work["trainable_parameters"] < work["parameters"] == total
    assert told["trainable"].value == f"{work['trainable_parameters']:,} of {work['parameters']:,} parameters"
    assert told["trainable"].reason == "the head and layer4"
    assert "trainable" in {reason["key"] for reason in result["reasons"]}
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["work"]["trainable_parameters"] == work["trainable_parameters"]


@pytest.mark.parametrize(
    ("change", "became", "why"),
    [
        ({}, "stored", "computed once for 2 augmented views"),
        ({"augment": Augment(mixup=0.2)} | {"runtime": "torch"}, "pixels", "images are mixed"),
        ({"store": {"limit": 200_000}} | {"runtime": "torch"}, "pixels", "more than the stores may take"),
        ({"thaw": Thaw(names=("conv1.0",))} | {"runtime": "torch"}, "pixels", "nothing before them to store"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whether_outputs_are_stored_is_decided_told_and_written_into_the_run(
    coloured: Make, tmp_path: Path, change: dict[str, Any], became: str, why: str
) -> None:
    events: list[Event] = []
    result = train(coloured(), recipe=changed(change), out=tmp_path / "run", observe=events.append).to_json()
    told = {event.key: event for event in events if isinstance(event, Decision)}
    assert told["frozen"].value == became
    assert why in told["frozen"].reason
    assert recipes.read(tmp_path / "run" / "recipe.toml").frozen == became
    assert (result["work"]["features_computed"] > 0) == (became == "stored")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"frozen": "stored", "store": {"limit": 200_000}}, RecipeError, "more than the stores may take"),
        ({"frozen": "stored", "thaw": Thaw(names=("conv1.0",))}, NotSupported, "nothing before them to store"),
        ({"thaw": Thaw(names=("layer5",))}, UnknownName, "layer5"),
        ({"thaw": Thaw(stages=5)}, RecipeError, "the network has 5"),
        ({"split": Split(folds=3), "thaw": Thaw(names=("conv1.0",))}, RecipeError, "cross-validation trains on stored outputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_before_training_and_leaves_nothing(
    coloured: Make, tmp_path: Path, change: dict[str, Any], error: type[SortalError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        train(coloured(), recipe=changed(change), out=tmp_path / "run")
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_last_layers_are_cross_validated_on_stored_outputs(coloured: Make, tmp_path: Path) -> None:
    result = train(coloured(), recipe=changed({"split": Split(folds=3)}), out=tmp_path / "run").to_json()
    assert result["metrics"]["cross_validation"]["images"] == 36
    assert result["work"]["features_computed"] == 36 * (1 + BASE.augment.views)


def test_outputs_that_do_not_fit_into_memory_are_read_from_the_disk_with_the_same_result(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coloured()
    train(data, recipe=BASE, out=tmp_path / "memory")
    monkeypatch.setattr(features_module, "free_memory", lambda: 0)
    train(data, recipe=BASE, out=tmp_path / "disk")
    files = [(tmp_path / name / "bundle" / "weights.safetensors").read_bytes() for name in ("memory", "disk")]
    assert files[0] == files[1]


def test_outputs_for_which_there_is_no_room_any_more_are_the_machines_failure(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coloured()
    monkeypatch.setattr(features_module, "free_memory", lambda: 0)
    with monkeypatch.context() as full:
        full.setattr(features_module.Cache, "make_room", lambda self, wanted: not wanted)
        full.setattr("sortal.data.pixels.free_memory", lambda: 1 << 40)
        with pytest.raises(MachineFailed, match="neither the stores nor the memory") as caught:
            train(data, recipe=BASE, out=tmp_path / "run")
    assert "--resume" in caught.value.hint
    assert train(out=tmp_path / "run", resume=True).run.finished
