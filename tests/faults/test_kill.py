"""A run that is killed at any moment, and resumed, ends with the same bytes as one that nothing interrupted."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kills
from sortal.errors import RunExists
from sortal.run import Run


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def begun(path: Path) -> Run:
    """A run that has begun and that nobody holds any more."""
    run = Run(path)
    with run.begun({"data": "x"}):
        return run


def test_what_a_killed_process_left_half_written_goes_when_the_run_is_opened_again(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    (run.path / ".checkpoint.safetensors.123-0badcafe.part").write_bytes(b"half")
    (run.path / ".bundle.123-0badcafe.part").mkdir()
    (run.path / ".bundle.123-0badcafe.part" / ".model.onnx.123-0badcafe.part").write_bytes(b"half")
    (run.path / ".thesis.part").write_bytes(b"the user's own")
    with run.locked():
        assert names(run.path) == [".lock", ".thesis.part", "run.json"]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with run.locked():
        (run.path / ".checkpoint.safetensors.123-0badcafe.part").write_bytes(b"half")
        with pytest.raises(RunExists, match="another process"), run.locked():
            pytest.fail("two processes held the run at once")
        assert ".checkpoint.safetensors.123-0badcafe.part" in names(run.path)


def test_two_that_begin_a_run_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    first, second = Run(tmp_path / "run"), Run(tmp_path / "run")
    with first.begun({"data": "first"}):
        with pytest.raises(RunExists), second.begun({"data": "second"}):
            pytest.fail("two processes began a run in one folder")
        assert first.read_about()["data"] == "first"


def test_a_run_can_begin_where_a_process_was_killed_before_it_had_written_anything(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".run.json.123-0badcafe.part").write_bytes(b"half")
    run = begun(tmp_path / "run")
    assert names(run.path) == [".lock", "run.json"]


def test_a_folder_of_hidden_files_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".notes.part").write_text("years of work")
    with pytest.raises(RunExists, match="other files"), Run(tmp_path / "mine").begun({"data": "x"}):
        pytest.fail("a run began among the user's files")
    assert names(tmp_path / "mine") == [".notes.part"]


def test_a_lock_on_a_folder_that_was_taken_away_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run")
    real, moments = fcntl.flock, []

    def flock(file: Any, how: int) -> None:
        real(file, how)
        moments.append(how)
        if len(moments) == 1:  # between opening the lock and holding it, whoever held it removed the folder
            shutil.rmtree(run.path)

    monkeypatch.setattr(fcntl, "flock", flock)
    with run.begun({"data": "x"}):
        assert names(run.path) == [".lock", "run.json"]
        with pytest.raises(RunExists), Run(run.path).locked():
            pytest.fail("two processes held the run at once")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["features", "scratch"])
def test_a_killed_and_resumed_run_has_the_same_bytes(
    strategy: str, small_pictures: Path, photographs: Path, tmp_path: Path
) -> None:
    recipe = {
        "features": kills.Recipe("features", photographs),
        "scratch": kills.Recipe(
            "scratch", small_pictures, "small_images", ("epochs=6", "image_size=16", "batch_size=16", "split.val=0.2")
        ),
    }[strategy]
    result = kills.trial(recipe, tmp_path / "trial", kills=2, seed=0)
    assert result.ours == 2, result.runs
    assert result.numbers["kills"] >= 2
    assert result.numbers["another_seed_gives_other_bytes"], "else equal bytes would prove nothing"
    assert result.numbers["runs_with_temporary_files_left"] == 0, result.runs
