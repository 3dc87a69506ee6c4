"""Studies from end to end, on pictures and networks so small that a run takes a second."""

import fcntl
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from PIL import Image

from sortal.errors import DataError, Diverged, MachineFailed, NotSupported, RecipeError, RunExists
from sortal.events import Begun, Event, Note
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.workflows import study, studying
from sortal.workflows.settling import settled

Make = Callable[..., Path]

BASE = {
    "model": "lenet5", "weights": "none", "strategy": "scratch", "image_size": 16, "epochs": 2, "batch_size": 16,
    "learning_rate": 0.02, "precision": "float32", "layout": "nchw",
}  # fmt: skip
STUDY: dict[str, Any] = {
    "title": "Two <rows>",
    "recipe": "small_compact",
    "base": BASE,
    "rows": {"plain": {"augment": {"flip": 0.0}}, "mixed": {"augment": {"mixup": 0.4}}},
    "seeds": [0, 1],
    "images": {"val": 12, "test": 12},
    "show": {"errors": "chosen", "mixed": "mixed"},
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(**changes: Any) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(tomli_w.dumps(STUDY | changes))
        return path

    return written


def without_times(numbers: dict[str, Any]) -> dict[str, Any]:
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in numbers["rows"]]
    return {key: value for key, value in numbers.items() if key != "created"} | {"rows": rows}


def numbers(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "study.json").read_text()))


def test_a_study_trains_every_row_for_every_seed_and_tells_the_table(coloured: Make, write: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = study(write(), coloured(each=20), out=out).to_json()
    assert set(result) == {"page", "rows"}
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["mixed-0", "mixed-1", "plain-0", "plain-1"]
    rows = result["rows"]
    assert [row["name"] for row in rows] == ["plain", "mixed"]
    assert sum(row["chosen"] for row in rows) == 1
    assert set(rows[1]) == {
        "name", "set", "chosen", "validation", "test", "to_first", "to_previous", "failures", "seconds",
    }  # fmt: skip
    assert rows[1]["set"] == {"augment.mixup": 0.4}
    assert [row["test"]["images"] for row in rows] == [12, 12]
    assert rows == numbers(out)["rows"]
    recipe = tomllib.loads((out / "runs" / "mixed-1" / "recipe.toml").read_text())
    assert (recipe["seed"], recipe["augment"]["mixup"], recipe["augment"]["flip"]) == (1, 0.4, 0.5)
    page = (out / "study.html").read_text()
    assert "Two &lt;rows&gt;" in page
    assert page.count("<img") >= 4
    assert re.search(r">(\d+% (blue|green|red), \d+% (blue|green|red)|blue|green|red)</p>", page)


def test_no_run_holds_a_test_image_and_the_choice_stands_before_one_is_read(
    coloured: Make, write: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, seen = tmp_path / "out", studying.predicted, []

    def predicted(*args: Any, **kwargs: Any) -> Any:
        seen.append(json.loads((out / "choice.json").read_text())["chosen"])
        assert not (out / "study.json").exists()
        return real(*args, **kwargs)

    monkeypatch.setattr(studying, "predicted", predicted)
    study(write(), coloured(each=20), out=out)
    assert len(seen) == 4
    assert set(seen) == {next(row["name"] for row in numbers(out)["rows"] if row["chosen"])}
    test = set(Manifest.load(out / "test_images.parquet").sources)
    assert len(test) == 12
    for run in (out / "runs").iterdir():
        assert not test & set(Manifest.load(run / "manifest.parquet").sources)
        assert Predictions.load(run / "predictions.parquet").split_names == ("val",)
        assert set(json.loads((run / "result.json").read_text())["metrics"]) == {"val"}


def test_all_runs_are_judged_on_the_same_images(coloured: Make, write: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    study(write(), coloured(each=20), out=out)
    judged = {tuple(Predictions.load(run / "predictions.parquet").sources) for run in (out / "runs").iterdir()}
    assert len(judged) == 1


def test_copies_that_are_saved_anew_stand_on_one_side(coloured: Make, write: Make) -> None:
    data = coloured(each=20)
    files = sorted((data / "red").iterdir())
    for path in files:
        with Image.open(path) as image:
            image.save(path.with_name(f"again-{path.name}"), compress_level=1)
    _, manifest = settled(write(), data, lambda event: None)
    sides = {Path(source).name: split for source, split in zip(manifest.sources, manifest.column("split"), strict=True)}
    pairs = [(sides[path.name], sides[f"again-{path.name}"]) for path in files]
    assert all(one == other for one, other in pairs)
    assert len({one for one, _ in pairs}) > 1


def test_an_interrupted_study_goes_on_and_ends_with_the_same_table(
    coloured: Make, write: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, data = write(), coloured(each=20)
    study(file, data, out=tmp_path / "whole")
    real, begun = studying.train, []

    def train(*args: Any, **kwargs: Any) -> Any:
        begun.append(kwargs["out"].name)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(studying, "train", train)
    with pytest.raises(KeyboardInterrupt):
        study(file, data, out=tmp_path / "out")
    assert not (tmp_path / "out" / "choice.json").exists()
    before = {run: (run / "result.json").stat().st_mtime_ns for run in (tmp_path / "out" / "runs").iterdir()}
    monkeypatch.setattr(studying, "train", real)
    events: list[Event] = []
    study(out=tmp_path / "out", resume=True, observe=events.append)
    assert without_times(numbers(tmp_path / "out")) == without_times(numbers(tmp_path / "whole"))
    assert {run: (run / "result.json").stat().st_mtime_ns for run in before} == before
    told = [event.text for event in events if isinstance(event, Note)]
    assert [text for text in told if text.startswith("run ")] == ["run 3 of 4: mixed, seed 0", "run 4 of 4: mixed, seed 1"]
    assert [event for event in events if isinstance(event, Begun)] == [Begun(str(tmp_path / "out"))]


def test_another_study_is_not_continued_in_its_folder(coloured: Make, write: Make, tmp_path: Path) -> None:
    data, out = coloured(each=20), tmp_path / "out"
    study(write(seeds=[0]), data, out=out)
    before = numbers(out)
    with pytest.raises(RunExists, match="another study"):
        study(write(seeds=[0]), data, out=out)
    with pytest.raises(RunExists, match="begun with another study"):
        study(write(seeds=[0, 1]), out=out, resume=True)
    with pytest.raises(RunExists, match="a study of"):
        study(write(seeds=[0]), coloured(each=20, name="others"), out=out, resume=True)
    assert numbers(out) == before


def test_all_rows_are_looked_at_before_anything_is_trained(coloured: Make, write: Make, tmp_path: Path) -> None:
    rows = {
        "fine": {},
        "unknown": {"model": "lenet55"},
        "small": {"model": "compact", "image_size": 8, "augment": {"crop": "none"}},
        "file": {"weights": "none.safetensors", "strategy": "full", "model": "resnet10t", "image_size": 32},
    }
    with pytest.raises(RecipeError) as caught:
        study(write(rows=rows, show={}), coloured(each=20), out=tmp_path / "out")
    told = str(caught.value)
    assert "rows.unknown: there is no model called 'lenet55'" in told
    assert "did you mean 'lenet5'" in told
    assert "rows.file: " in told
    assert "rows.fine" not in told
    assert not (tmp_path / "out").exists()


def test_a_mistake_in_the_file_is_told_before_the_images_are_read(coloured: Make, write: Make, tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(RecipeError, match="did you mean 'epochs'"):
        study(write(rows={"plain": {"epocs": 3}}, show={}), coloured(each=20), out=tmp_path / "out", observe=events.append)
    assert events == []
    assert not (tmp_path / "out").exists()


def test_a_recipe_file_is_relative_to_the_study_file(coloured: Make, write: Make, tmp_path: Path) -> None:
    data = coloured(each=20)
    with pytest.raises(DataError, match=r"no recipe file .*mine/r\.toml"):
        study(write(recipe="mine/r.toml"), data, out=tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "r.toml").write_text(tomli_w.dumps(BASE | {"epochs": 1, "augment": {"zoom": 0.125}}))
    study(write(recipe="mine/r.toml", base={}, seeds=[0], rows={"plain": {}}, show={}), data, out=tmp_path / "out")
    assert numbers(tmp_path / "out")["recipe"]["augment"]["zoom"] == 0.125


def test_a_row_that_diverges_is_told_and_the_others_go_on(
    coloured: Make, write: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = studying.train

    def train(*args: Any, **kwargs: Any) -> Any:
        if kwargs["out"].name == "plain-1":
            raise Diverged("the training diverged: the loss is nan in epoch 1")
        return real(*args, **kwargs)

    monkeypatch.setattr(studying, "train", train)
    out = tmp_path / "out"
    plain, mixed = study(write(), coloured(each=20), out=out).rows
    assert plain["failures"] == {"1": "the training diverged: the loss is nan in epoch 1"}
    assert mixed["chosen"]
    assert list(plain["test"]["by_seed"]) == ["0"]
    assert "the training diverged" in (out / "study.html").read_text()


def test_a_full_disk_ends_the_study_and_names_the_row(
    coloured: Make, write: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*args: Any, **kwargs: Any) -> Any:
        raise MachineFailed("the disk is full")

    monkeypatch.setattr(studying, "train", train)
    with pytest.raises(MachineFailed, match="row 'plain', seed 0: the disk is full"):
        study(write(), coloured(each=20), out=tmp_path / "out")


def test_two_studies_do_not_write_one_folder(coloured: Make, write: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunExists, match="another process is studying"):
            study(write(), coloured(each=20), out=out)
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_the_data_may_stand_in_the_file_relative_to_it(
    coloured: Make, write: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coloured(each=20)
    file = write(data=data.name, seeds=[0], rows={"plain": {}}, show={})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = study(file, observe=lambda event: None)
    assert found.page.parent.resolve() == tmp_path / "elsewhere" / "runs" / "mine"
    assert "There is one row, so nothing had to be chosen" in found.page.read_text()


def test_images_with_several_labels_are_not_studied(coloured: Make, write: Make, tmp_path: Path) -> None:
    data = coloured(each=20)
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(data.rglob("*.png"))]
    (tmp_path / "table.csv").write_text("path,label\n" + "\n".join([*rows[:-1], f"{rows[-1]}|blue"]) + "\n")
    with pytest.raises(NotSupported, match="1 images"):
        study(write(), tmp_path / "table.csv", out=tmp_path / "out")


def test_a_study_without_data_says_how_to_name_them(write: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names no data"):
        study(write())
    with pytest.raises(DataError, match="does not exist") as caught:
        study(write(data="nowhere"))
    assert "relative to that file" in caught.value.hint


def test_a_planned_study_says_why_and_repeats_its_plan_on_resume(coloured: Make, write: Make, tmp_path: Path) -> None:
    small = {"model": "resnet10t", "weights": "none", "image_size": 32, "resize": 32, "epochs": 1, "augment": {"views": 1}}
    file = write(recipe="planned", base=small, rows={"a": {}, "b": {"learning_rate": 0.01}}, seeds=[0], show={})
    out = tmp_path / "out"
    study(file, coloured(each=20), out=out)
    told = numbers(out)
    assert "strategy" in {reason["key"] for reason in told["reasons"]}
    assert told["recipe"]["strategy"] == "features"
    assert told["recipe"]["split"]["folds"] == 0
    study(file, out=out, resume=True)
    assert numbers(out)["recipe"] == told["recipe"]
    assert told["command"] == "sortal study mine.toml squares"


def test_a_study_leaves_the_divisions_of_other_trainings_alone(coloured: Make, write: Make, tmp_path: Path) -> None:
    from sortal.workflows import train

    data = coloured(each=20)
    settings = [f"{key}={value}" for key, value in BASE.items()] + ["epochs=1"]
    study(write(seeds=[0], rows={"plain": {}}, show={}), data, out=tmp_path / "out")
    after = train(data, recipe="small_compact", settings=[*settings, "split.val=0", "split.test=0.2"], out=tmp_path / "run")
    assert set(after.to_json()["splits"]) == {"train", "test"}
