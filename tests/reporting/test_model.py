import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sortal.errors import DataError
from sortal.evaluation.scores import score
from sortal.predictions import Predictions
from sortal.reporting.model import MOST_MISTAKES, Report, build


def predictions(labels: list[int], splits: list[str], sure: list[float]) -> Predictions:
    """Two classes; every image is taken for the first, so sure."""
    probs = np.array([[p, 1 - p] for p in sure], dtype=np.float32)
    return Predictions(tuple(f"{n}.png" for n in range(len(labels))), ("a", "b"), probs, np.array(labels), tuple(splits))


def report_of(given: Predictions, **options: object) -> Report:
    values = {"name": "x", "created": "2031-01-01", "scores": score(given), "predictions": given, "chosen": {}} | options
    return build(**values)  # type: ignore[arg-type]


def test_the_headline_is_two_sentences_with_the_numbers_beside_them(two_classes: Report) -> None:
    head = two_classes.headline
    assert head.split == "cross_validation"
    assert head.answer.startswith(f"{100 * head.accuracy:.1f}%")
    assert "5-fold" in head.basis
    assert (head.images, head.accuracy) == (245, two_classes.metrics["cross_validation"]["accuracy"])
    assert head.baseline == pytest.approx(max(row["support"] for row in two_classes.per_class["cross_validation"]) / 245)


def test_mistakes_go_from_the_most_confident_and_the_headlines_split_first() -> None:
    given = predictions([1, 1, 0, 1, 1], ["val", "test", "test", "test", "train"], [0.99, 0.6, 0.9, 0.8, 0.95])
    found = report_of(given)
    assert [mistake["source"] for mistake in found.mistakes] == ["3.png", "1.png", "0.png"]
    assert found.mistakes[0] == {
        "source": "3.png", "split": "test", "label": "b", "predicted": "a", "probability": pytest.approx(0.8),
    }  # fmt: skip


def test_images_without_a_label_are_no_mistakes() -> None:
    assert report_of(predictions([0, -1], ["test", "test"], [0.9, 0.9])).mistakes_total == 0


def test_a_thousand_mistakes_are_counted_and_the_first_hundred_listed() -> None:
    found = report_of(predictions([1] * 1000, ["test"] * 1000, [0.9] * 1000))
    assert (len(found.mistakes), found.mistakes_total) == (MOST_MISTAKES, 1000)


def test_data_facts_name_what_was_set_aside_and_what_has_a_note(two_classes: Report) -> None:
    facts = two_classes.data
    assert facts["images"] == 398
    assert sum(facts["classes"].values()) == 398
    assert facts["splits"] == {"train": 245, "val": 153}
    assert facts["excluded"] == [{"source": "train/bad.jpg", "reason": "the file is truncated"}]
    assert (facts["excluded_total"], facts["notes_total"]) == (1, 1)
    assert facts["notes"][0]["note"] == "transparency drawn on white"


def test_history_rows_keep_scores_apart_from_the_loss(two_classes: Report) -> None:
    assert set(two_classes.curves[0]) == {"epoch", "loss", "rate", "scores"}
    assert set(two_classes.curves[0]["scores"]) == {"accuracy", "log_loss"}


def test_the_json_has_null_where_a_loss_was_not_finite(tmp_path: Path) -> None:
    history = [{"epoch": 1, "loss": float("nan"), "rate": 0.1}, {"epoch": 2, "loss": np.float32(0.5), "rate": 0.1}]
    found = report_of(predictions([0], ["test"], [0.9]), history=history)
    found.save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert [row["loss"] for row in saved["curves"]] == [None, 0.5]
    assert saved == found.to_json()


def test_what_was_saved_is_loaded_again(tmp_path: Path, two_classes: Report) -> None:
    known = replace(
        two_classes,
        findings=(
            {"kind": "copies", "severity": "warning", "images": ["a.png", "b.png"], "detail": "2 copies", "cure": "none"},
        ),
        diagnosis=({"kind": "overfitting", "severity": "warning", "evidence": "e", "cure": "c", "change": {"epochs": 5}},),
        slices=({"by": "width", "value": "small", "images": 9, "accuracy": 0.5, "accuracy_interval": [0.25, 0.75]},),
        coverage=({"threshold": 0.9, "coverage": 0.8, "accuracy": 0.99, "accuracy_interval": [0.9, 1.0]},),
        learning_curve=({"images": 100, "accuracy": 0.8, "accuracy_interval": [0.7, 0.9]},),
        robustness=({"corruption": "blur", "strength": 3, "images": 9, "accuracy": 0.8, "accuracy_interval": [0.7, 0.9]},),
        calibration={"method": "vector", "chosen_on": "val", "candidates": [{"method": "none", "log_loss": 0.5}]},
        maps={"a.png": {"map": "data:image/png;base64,", "nearest": [{"source": "b.png", "label": "a", "similarity": 0.9}]}},
    )
    known.save(tmp_path / "report.json")
    loaded = Report.load(tmp_path / "report.json")
    assert loaded.to_json() == known.to_json()
    assert isinstance(loaded.findings, tuple)
    assert isinstance(loaded.robustness, tuple)


def test_a_report_that_an_older_version_wrote_has_the_newer_fields_empty(tmp_path: Path, two_classes: Report) -> None:
    newer = ("findings", "diagnosis", "slices", "coverage", "learning_curve", "robustness", "calibration", "maps")
    old = {key: value for key, value in two_classes.to_json().items() if key not in newer}
    (tmp_path / "report.json").write_text(json.dumps(old))
    loaded = Report.load(tmp_path / "report.json")
    assert loaded.headline == two_classes.headline
    assert [len(getattr(loaded, name)) for name in newer] == [0] * len(newer)


@pytest.mark.parametrize("spoilt", ["[]", "{", '{"format": 1}', '{"format": 2}'])
def test_another_file_is_no_report(tmp_path: Path, spoilt: str) -> None:
    (tmp_path / "report.json").write_text(spoilt)
    with pytest.raises(DataError, match=r"report\.json"):
        Report.load(tmp_path / "report.json")


def test_a_foreign_set_of_predictions_needs_no_run() -> None:
    found = report_of(predictions([0, 1], ["mine", "mine"], [0.9, 0.9])).to_json()
    assert (found["recipe"], found["data"], found["curves"], found["epoch"]) == ({}, {}, [], None)
    assert found["headline"]["split"] == "mine"


def test_a_choice_that_no_one_can_make_is_refused() -> None:
    with pytest.raises(DataError, match="nothing called luck") as caught:
        report_of(predictions([0], ["test"], [0.9]), chosen={"test": ["luck"]})
    assert "epoch" in caught.value.hint


def test_scores_of_other_predictions_are_refused() -> None:
    given = predictions([0], ["test"], [0.9])
    other = Predictions(given.sources, ("c", "d"), given.probs_NK, given.labels_N, given.splits_N)
    with pytest.raises(DataError, match="other classes"):
        report_of(given, scores=score(other))
