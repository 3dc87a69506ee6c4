import json

import numpy as np
import pytest

from sortal.errors import DataError
from sortal.evaluation.scores import score
from sortal.evaluation.text import classification_report
from sortal.predictions import Predictions

CLASSES = ("a", "b", "c")


def predictions(labels: list[int], splits: list[str], probs: list[list[float]] | None = None) -> Predictions:
    rows = probs or [[0.7, 0.2, 0.1]] * len(labels)
    sources = tuple(f"{number}.png" for number in range(len(labels)))
    return Predictions(sources, CLASSES, np.array(rows, dtype=np.float32), np.array(labels), tuple(splits))


def test_each_split_is_scored_by_itself() -> None:
    found = score(predictions([0, 1, 0], ["val", "val", "test"]))
    assert {split: row["accuracy"] for split, row in found.metrics.items()} == {"val": 0.5, "test": 1.0}
    assert found.confusion["val"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_images_without_a_known_label_are_left_out_and_so_is_a_split_of_only_such() -> None:
    found = score(predictions([0, -1, -1], ["val", "val", "test"]))
    assert found.metrics["val"]["images"] == 1
    assert "test" not in found.metrics


def test_predictions_without_any_label_are_refused() -> None:
    with pytest.raises(DataError, match="none of 2 predictions"):
        score(predictions([-1, -1], ["val", "val"]))


def test_probabilities_before_calibration_must_be_of_the_same_images() -> None:
    ours = predictions([0, 1], ["val", "val"])
    assert score(ours, before=ours).metrics["val"]["calibration_error_before"] == pytest.approx(0.2)
    with pytest.raises(DataError, match="other images"):
        score(ours, before=predictions([0], ["val"]))


def test_scores_become_the_contracts_json() -> None:
    found = score(predictions([0, 1], ["val", "val"]), images={"a": 4, "b": 4, "c": 1}).to_json()
    assert set(found) == {"metrics", "per_class", "confusion", "classes"}
    assert found["per_class"]["val"][2]["reason"] == "its only image is used for training"
    json.dumps(found, allow_nan=False)


def test_the_classification_report_ends_with_accuracy_and_averages() -> None:
    found = score(predictions([0, 0, 1], ["val"] * 3, [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]))
    report = classification_report(found.per_class["val"], found.metrics["val"])
    assert [row.name for row in report.classes] == ["a", "b", "c"]
    assert [row.name for row in report.totals] == ["accuracy", "macro average", "weighted average"]
    assert [row.f1 for row in report.totals] == [1.0, 1.0, 1.0]
    assert report.classes[2].f1 is None
    assert report.classes[2].note
    assert "2 classes with images, 1 without" in report.totals[1].note


def test_averages_agree_with_the_rows_by_hand() -> None:
    # a: 2 of 2 right, also said once of b. b: 1 of 2 right.
    probs = [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]
    found = score(predictions([0, 0, 1, 1], ["val"] * 4, probs))
    _, macro, weighted = classification_report(found.per_class["val"], found.metrics["val"]).totals
    assert macro.precision == pytest.approx((2 / 3 + 1) / 2)
    assert macro.recall == pytest.approx((1 + 1 / 2) / 2)
    assert weighted.f1 == pytest.approx((2 * 0.8 + 2 * (2 / 3)) / 4)


def several(labels: list[list[int]]) -> Predictions:
    labels_NK = np.array(labels)
    rows = len(labels)
    return Predictions(
        tuple(f"{row}.png" for row in range(rows)), CLASSES, np.full((rows, 3), 0.4, np.float32), labels_NK, ("val",) * rows,
        said_NK=labels_NK > 0, thresholds_K=(0.5, 0.5, 0.5),
    )  # fmt: skip


def test_several_labels_are_scored_as_such_and_unknown_rows_left_out() -> None:
    found = score(several([[1, 0, 1], [-1, -1, -1]]))
    assert found.task == "multi_label"
    assert (found.metrics["val"]["images"], found.metrics["val"]["subset_accuracy"]) == (1, 1.0)
    assert json.loads(json.dumps(found.to_json()))["confusion"]["val"][0] == [[0, 0], [0, 1]]


def test_the_report_of_several_labels_totals_micro_and_macro() -> None:
    found = score(several([[1, 0, 1], [0, 0, 0]]))
    told = classification_report(found.per_class["val"], found.metrics["val"])
    assert [row.name for row in told.totals] == ["exactly right", "micro average", "macro average"]
    assert told.classes[1].note == "no images of it here"
    nothing = score(several([[0, 0, 0]]))
    assert [row.name for row in classification_report(nothing.per_class["val"], nothing.metrics["val"]).totals] == [
        "exactly right",
        "micro average",
    ]
