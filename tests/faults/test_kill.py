"""A run that is killed at any moment, and resumed, ends with the same bytes as one that nothing interrupted."""

from pathlib import Path

import pytest

from benchmarks import kills


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
