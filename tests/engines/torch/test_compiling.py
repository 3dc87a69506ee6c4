"""Training a compiled network: the same training, to rounding, and just as repeatable."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sortal.events import CheckpointSaved, Event
from sortal.predictions import Predictions
from sortal.recipe import Recipe, Split
from sortal.training import fit as loop
from sortal.workflows import train

Make = Callable[..., Path]

RECIPE = Recipe(
    model="simple_cnn", weights="none", strategy="scratch", image_size=16, epochs=2, batch_size=8, learning_rate=0.02,
    precision="float32", layout="channels_last", threads=1, split=Split(val=0.2), compiled="on",
)  # fmt: skip


def killed(event: Event) -> None:
    if isinstance(event, CheckpointSaved):
        raise KeyboardInterrupt


def losses(run: Path) -> list[float]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [event["loss"] for event in events if event["event"] == "EpochDone"]


@pytest.mark.slow
def test_a_compiled_network_learns_as_the_plain_one_and_resumes_to_the_same_bytes(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coloured()
    plain = train(data, recipe=RECIPE.model_copy(update={"compiled": "off"}), out=tmp_path / "plain").run
    whole = train(data, recipe=RECIPE, out=tmp_path / "whole").run
    np.testing.assert_allclose(losses(whole.path), losses(plain.path), rtol=0.05)
    assert losses(whole.path) != losses(plain.path), "nothing was compiled"
    said, expected = (Predictions.load(run.predictions).probs_NK for run in (whole, plain))
    np.testing.assert_allclose(said, expected, atol=0.1)
    monkeypatch.setattr(loop, "SECONDS_WITHIN_EPOCH", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(data, recipe=RECIPE, out=tmp_path / "killed", observe=killed)
    resumed = train(out=tmp_path / "killed", resume=True).run
    for name in ("bundle/weights.safetensors", "predictions.parquet"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes(), name
