"""A model that may say nothing: from the recipe through the bundle to the answers, with what it is worth in the report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sortal import workflows
from sortal.bundle import Bundle
from sortal.cli.main import main
from sortal.errors import DataError, RecipeError
from sortal.recipe import Recipe

Make = Callable[..., Path]
SCRATCH = Recipe.model_validate(
    {
        "model": "lenet5",
        "strategy": "scratch",
        "image_size": 16,
        "epochs": 6,
        "learning_rate": 0.01,
        "split": {"val": 0.4, "test": 0.2},
        "precision": "float32",
        "layout": "nchw",
        "threads": 1,
    }
)


def trained(data: Path, out: Path, *settings: str) -> Path:
    return workflows.train(data, recipe=SCRATCH, settings=settings, out=out).run.path


@pytest.fixture
def data(coloured: Make) -> Path:
    return coloured(each=30)


def test_a_price_of_silence_below_every_mistake_makes_the_model_silent_and_one_above_makes_it_speak(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((data / "red").iterdir())
    for number, (cost, spoken) in enumerate((("1e-9", False), ("0.9", True))):
        run = trained(data, tmp_path / str(number), "decision.costs={red={blue=2.0}}", f"decision.abstain_cost={cost}")
        (prediction,) = workflows.predict(run, [image]).predictions
        assert (prediction["label"] is not None) == spoken
        assert prediction["probability"] == prediction["top"][0]["probability"]
        report = json.loads((run / "report.json").read_text())
        told = report["calibration"]["decision"]
        assert (told["coverage"] > 0.5) == spoken
        assert told["costs"] == [[0, 1, 1], [1, 0, 1], [2, 1, 0]]  # blue, green, red
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "0"), str(image)]) == 0
    assert "(not sure)" in capsys.readouterr().out


def test_a_wanted_error_rate_becomes_a_threshold_that_was_taken_on_validation(data: Path, tmp_path: Path) -> None:
    run = trained(data, tmp_path / "run", "decision.error_rate=0.1")
    bundle = Bundle.load(run / "bundle")
    assert 0 < bundle.decision.threshold <= 1
    reasons = json.loads((run / "result.json").read_text())["reasons"]
    (reason,) = [each for each in reasons if each["key"] == "decision"]
    assert "validation" in reason["reason"]
    assert json.loads((run / "bundle" / "bundle.json").read_text())["decision"]["threshold"] == bundle.decision.threshold


def test_a_novel_image_is_told_and_can_be_kept_silent_about(data: Path, tmp_path: Path) -> None:
    run = trained(data, tmp_path / "run", "decision.novelty=0.9")
    bundle = Bundle.load(run / "bundle")
    assert bundle.novelty is not None
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    familiar = workflows.predict(run, sorted((data / "red").iterdir())[:20]).predictions
    (strange,) = workflows.predict(run, [tmp_path / "stripes.png"]).predictions
    assert np.median([each["novelty"] for each in familiar]) < 0.9 < strange["novelty"]
    assert strange["label"] is None
    assert any(each["label"] == "red" for each in familiar)


def test_a_prediction_names_a_set_of_classes(data: Path, tmp_path: Path) -> None:
    run = trained(data, tmp_path / "run")
    for prediction in workflows.predict(run, sorted((data / "blue").iterdir())[:5]).predictions:
        assert set(prediction["set"]) <= {"blue", "green", "red"}
        assert prediction["label"] is not None
    told = json.loads((run / "report.json").read_text())
    assert told["calibration"]["method"] in ("none", "temperature", "vector", "isotonic")
    assert told["calibration"]["chosen_on"] == "val"
    assert 0 <= told["calibration"]["conformal"]["coverage"] <= 1
    assert told["coverage"][0]["coverage"] == 1.0
    assert {row["by"] for row in told["slices"]} == {"brightness"}  # sizes and shapes are all the same


def test_an_error_rate_that_so_few_images_cannot_show_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"error_rate = 0.001 cannot be shown with \d+ held-out images .*: it takes 999"):
        trained(data, tmp_path / "run", "decision.error_rate=0.001")
    with pytest.raises(DataError, match="cannot be shown with 0"):
        trained(data, tmp_path / "run", "decision.error_rate=0.2", "split.val=0.0")
    assert not (tmp_path / "run").exists()


def test_costs_of_classes_that_there_are_none_of_are_refused_by_name(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'purple'"):
        trained(data, tmp_path / "run", "decision.costs={purple={red=2.0}}")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["decision.error_rate=0.1", "decision.costs={a={b=1}}"], "two ways"),
        (["decision.abstain_cost=1"], "abstain_cost is compared with costs"),
        (["decision.error_rate=1.5"], "less than 1"),
        (["decision.costs={a={b=-1}}"], "greater than or equal to 0"),
        (["task=multi_label", "decision.error_rate=0.1"], "one label an image"),
    ],
)
def test_wishes_that_contradict_each_other_are_refused(data: Path, tmp_path: Path, settings: list[str], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        trained(data, tmp_path / "run", *settings)


def test_without_held_out_images_to_calibrate_on_everything_that_needs_them_is_left_out_with_the_reason(
    data: Path, tmp_path: Path
) -> None:
    run = trained(data, tmp_path / "run", "split.val=0.0")
    told = json.loads((run / "report.json").read_text())["calibration"]
    assert told["method"] == "none"
    assert "held out" in told["conformal"]["left_out"]
    assert "no validation split" in told["novelty"]["left_out"]
    (prediction,) = workflows.predict(run, [next((data / "red").iterdir())]).predictions
    assert not {"set", "novelty"} & prediction.keys()
