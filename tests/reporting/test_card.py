"""The model card: its block parses, its figures are those of report.json, and no name becomes markup."""

import re
from dataclasses import replace

import numpy as np
import pytest

from sortal.evaluation.scores import score
from sortal.predictions import Predictions
from sortal.reporting.card import card
from sortal.reporting.model import Report, build

yaml = pytest.importorskip("yaml", reason="comes with the hub's client")


def block(text: str) -> dict:
    """The metadata, read by another library."""
    _, found, _ = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(found)


@pytest.fixture(params=["two_classes", "everything", "hundred_classes", "several_labels"])
def report(request: pytest.FixtureRequest) -> Report:
    return request.getfixturevalue(request.param)


def test_the_block_has_what_the_hub_asks_for_and_its_values_are_those_of_the_report(report: Report) -> None:
    found = block(card(report))
    assert found["license"] == "unknown"
    assert found["pipeline_tag"] == "image-classification"
    assert {"sortal", "image-classification"} <= set(found["tags"])
    (model,) = found["model-index"]
    assert model["name"] == report.name
    (result,) = model["results"]
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"]["split"] == report.headline.split
    metrics = report.metrics[report.headline.split]
    titles = {"Accuracy": "accuracy", "Macro F1": "macro_f1", "Mean average precision": "mean_average_precision"}
    titles |= {"Micro F1": "micro_f1", "Subset accuracy": "subset_accuracy"}
    assert {titles[each["name"]]: each["value"] for each in result["metrics"]} == {
        key: metrics[key] for key in titles.values() if metrics.get(key) is not None
    }
    assert set(found["metrics"]) == {each["type"] for each in result["metrics"]}


def test_the_tables_say_the_numbers_of_the_report(two_classes: Report) -> None:
    text = card(two_classes)
    split = two_classes.metrics["cross_validation"]
    low, high = split["accuracy_interval"]
    assert f"| Accuracy | {split['accuracy']:.4f} ({low:.4f} to {high:.4f}) |" in text
    assert f"| Log loss | {split['log_loss']:.4f} (" in text
    for row in two_classes.per_class["cross_validation"]:
        assert f"| {row['class']} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['support']} |" in text
    assert f"{two_classes.headline.answer} {two_classes.headline.basis}" in text


def test_what_is_known_to_be_wrong_is_told_and_nothing_where_nothing_was_looked_for(
    two_classes: Report, everything: Report
) -> None:
    told = card(everything)
    assert "- **Overfitting** (warning): The loss on validation images rose" in told
    assert "- **Copies across splits** (severe): 9 images" in told
    assert "**brightness: very dark**" in told
    assert "**brightness: usual**" not in told
    assert "What to know" not in card(two_classes)


HOSTILE = 'a: "b" # {c}\n---\n- |x<script>`*_[x](y)\u2028\x85\u202e\U000e0001 %YAML'


def test_hostile_names_are_text_in_the_block_and_in_the_body() -> None:
    probs = np.array([[0.9, 0.1], [0.1, 0.9]], dtype=np.float32)
    given = Predictions(("a", "b"), (HOSTILE, "2. b"), probs, np.array([0, 1]), ("test",) * 2)
    found = build(
        name=HOSTILE, created=HOSTILE, scores=score(given), predictions=given, chosen={}, command=f"```\n{HOSTILE}",
        versions={HOSTILE: HOSTILE},
    )  # fmt: skip
    text = card(replace(found, diagnosis=({"kind": HOSTILE, "severity": HOSTILE, "evidence": HOSTILE},)))
    assert block(text)["model-index"][0]["name"] == HOSTILE
    assert "<script" not in re.sub(r"````.*?````", "", text, flags=re.DOTALL).split("---\n", 2)[2]
    assert "\u202e" not in text
    assert "| 2\\. b |" in text
    tables = [line for line in text.splitlines() if line.startswith("| a: ")]
    assert tables
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 6 for line in tables)


@pytest.mark.parametrize("value", [1e-5, 0.0, 1.0, 1e-17])
def test_small_numbers_are_numbers_for_yaml_too(two_classes: Report, value: float) -> None:
    metrics = {"cross_validation": dict(two_classes.metrics["cross_validation"]) | {"accuracy": value}}
    found = block(card(replace(two_classes, metrics=metrics)))
    assert found["model-index"][0]["results"][0]["metrics"][0]["value"] == value
