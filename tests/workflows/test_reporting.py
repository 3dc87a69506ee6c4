"""A report written anew: what `sortal check` finds of the run is in it, and what follows from that is diagnosed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sortal.recipe import Recipe, Split
from sortal.workflows import check, report, train

for library in ("usearch", "cleanlab"):
    pytest.importorskip(library)

Make = Callable[..., Path]

RECIPE = Recipe(
    model="lenet5", weights="none", strategy="scratch", image_size=16, epochs=2, batch_size=8, learning_rate=0.02,
    precision="float32", layout="nchw", threads=1, split=Split(val=0.2, test=0.2),
)  # fmt: skip


def test_what_check_finds_of_a_run_stands_in_its_report_and_is_diagnosed(coloured: Make, tmp_path: Path) -> None:
    run = train(coloured(each=24), recipe=RECIPE, out=tmp_path / "run").run
    assert "shortcut" not in {row["kind"] for row in json.loads(run.report_json.read_text())["findings"]}
    health = check(run.path)
    report(run.path)
    told = json.loads(run.report_json.read_text())
    assert told["findings"] == [finding.to_json() for finding in health.findings]
    assert told["findings"] == json.loads(run.findings.read_text())
    # Each class of these pictures is one colour, which a look at the mean tells.
    assert "shortcut" in {row["kind"] for row in told["findings"]}
    assert "shortcut" in {row["kind"] for row in told["diagnosis"]}
    (finding, *_) = (row for row in told["findings"] if row["kind"] == "shortcut")
    assert finding["detail"].partition(":")[0] in run.model_card.read_text()
    assert "the border alone tells" in run.report_html.read_text()
