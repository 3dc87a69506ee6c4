"""A run that is killed at any moment, and resumed, ends with the same bytes as one that nothing interrupted."""

import os
from pathlib import Path

import pytest

from benchmarks import kills
from sortal.errors import RunExists
from sortal.run import Run


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_what_a_killed_process_left_half_written_goes_when_the_run_is_opened_again(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"data": "x"})
    (run.path / ".checkpoint.safetensors.123-abc.part").write_bytes(b"half")
    (run.path / ".bundle.123.part").mkdir()
    (run.path / ".bundle.123.part" / ".model.onnx.123-abc.part").write_bytes(b"half")
    with run.locked():
        assert names(run.path) == [".lock", "run.json"]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"data": "x"})
    with run.locked():
        (run.path / ".checkpoint.safetensors.123-abc.part").write_bytes(b"half")
        with pytest.raises(RunExists, match="another process"), run.locked():
            pytest.fail("two processes held the run at once")
        assert ".checkpoint.safetensors.123-abc.part" in names(run.path)


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
