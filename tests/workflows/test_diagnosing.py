"""A run's diagnosis is made of what the run left behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sortal.engines.torch.engine import ENGINE
from sortal.recipe import Recipe, Split
from sortal.workflows import train
from sortal.workflows.diagnosing import _warnings

Make = Callable[..., Path]


@pytest.mark.slow
def test_weights_that_see_far_smaller_pictures_than_they_were_trained_on_are_found_in_a_real_run(
    coloured: Make, tmp_path: Path
) -> None:
    recipe = Recipe(strategy="features", epochs=2, image_size=32, resize=32, runtime="onnx", split=Split(val=0.3))
    run = train(coloured(), recipe=recipe, out=tmp_path / "run").run
    told = {row["kind"]: row for row in json.loads(run.report_json.read_text())["diagnosis"]}
    assert told["wrong-preprocessing"]["evidence"] == "the network sees 32 pixels a side, its weights were trained on 224"
    assert told["wrong-preprocessing"]["change"] == {"image_size": 224, "resize": 0}
    assert "36 training" not in told["no-augmentation"]["evidence"]  # those of the validation split do not count


def test_an_engine_knows_what_its_weights_were_trained_on() -> None:
    assert ENGINE.expects(Recipe(image_size=64)).trained == 224
    assert ENGINE.expects(Recipe(image_size=64, weights="none")).trained == 0


@pytest.mark.parametrize("end", ["", '{"event": "Note", "sever'])
def test_warnings_are_read_from_the_events_also_where_a_kill_cut_the_last_line(tmp_path: Path, end: str) -> None:
    events = tmp_path / "events.jsonl"
    lines = [
        {"event": "Note", "text": "out of memory in epoch 1: from here on 4 go through", "severity": "warning"},
        {"event": "Note", "text": "no warning", "severity": "note"},
        {"event": "EpochDone", "epoch": 1},
    ]
    events.write_text("\n".join(map(json.dumps, lines)) + "\n" + end)
    assert list(_warnings(events)) == ["out of memory in epoch 1: from here on 4 go through"]
    assert list(_warnings(tmp_path / "none.jsonl")) == []
