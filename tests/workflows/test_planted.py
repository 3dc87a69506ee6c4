"""Check finds what is planted into real photographs, as the benchmark `planted` demands: copies, wrong labels, broken files, a
border.

Drawn pictures are too easy, and no photographs come with the project. The planting, the counting and the targets are the
benchmark's, so that there is one of each.
"""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import planted
from benchmarks.harness import Result
from benchmarks.planting import KINDS

PHOTOGRAPHS = Path(os.environ.get("SORTAL_PHOTOGRAPHS", "/nowhere"))

LIBRARIES = ("torch", "onnx", "onnxruntime", "usearch", "cleanlab")

pytestmark = [
    pytest.mark.slow,
    # Asked for, not imported: the commands that use them are processes of their own.
    pytest.mark.skipif(not all(map(find_spec, LIBRARIES)), reason=f"needs {', '.join(LIBRARIES)}"),
    pytest.mark.skipif(
        not PHOTOGRAPHS.exists(),
        reason="needs photographs: name a folder, or a zip of one, with train/ and val/ and photographs by class in "
        "SORTAL_PHOTOGRAPHS, such as the hymenoptera_data.zip of PyTorch's tutorial on transfer learning",
    ),
]


@pytest.fixture(scope="module")
def result() -> Result:
    """What the benchmark found, with its own defaults and seed."""
    parser = argparse.ArgumentParser()
    planted.arguments(parser)
    (found,) = planted.run(parser.parse_args(["--photographs", str(PHOTOGRAPHS)]))
    return found


@pytest.mark.parametrize(
    "about",
    [
        *(f"{kind} copies: recall" for kind in KINDS),
        "copies: precision",
        "wrong labels: recall",
        "wrong labels: precision",
        "broken files",
        "the border on",
        "no shortcut is found",
    ],
)
def test_each_target_of_the_planting_is_reached(result: Result, about: str) -> None:
    told = [claim for claim in result.claims if claim.text.startswith(about)]
    assert len(told) == 1
    assert [claim.text for claim in told if not claim.holds] == []


def test_no_target_is_left_unasked_and_something_was_planted(result: Result) -> None:
    assert len(result.claims) == len(KINDS) + 6
    assert result.numbers["copies"]["planted"] == 200
    assert result.numbers["labels"]["planted"] > 0
    assert result.numbers["broken"]["planted"] == 50
