"""Predictions on their way to a file and back."""

from pathlib import Path

import numpy as np
import pytest

from sortal.errors import DataError
from sortal.predictions import UNKNOWN, Predictions, concatenate

PROBS = np.array([[0.9, 0.1, 0.0], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4]], dtype=np.float32)
ONE = Predictions(("a", "b", "c"), ("x", "y", "z"), PROBS, np.array([0, 1, UNKNOWN]), ("val", "test", "test"))
SEVERAL = Predictions(
    ("a", "b", "c"),
    ("x", "y", "z"),
    PROBS,
    np.array([[1, 0, 1], [0, 0, 0], [UNKNOWN] * 3]),
    ("val", "test", "test"),
    said_NK=np.array([[True, False, False], [False, True, True], [False, False, False]]),
    thresholds_K=(0.5, 0.25, 0.1),
)


@pytest.mark.parametrize("predictions", [ONE, SEVERAL], ids=["one", "several"])
def test_what_is_saved_is_read_again(predictions: Predictions, tmp_path: Path) -> None:
    predictions.save(tmp_path / "p.parquet")
    found = Predictions.load(tmp_path / "p.parquet")
    assert (found.sources, found.classes, found.splits_N) == (predictions.sources, predictions.classes, predictions.splits_N)
    assert (found.probs_NK == predictions.probs_NK).all()
    assert (found.labels_N == predictions.labels_N).all()
    assert (found.task, found.thresholds_K) == (predictions.task, predictions.thresholds_K)
    if predictions.said_NK is not None:
        assert found.said_NK is not None
        assert (found.said_NK == predictions.said_NK).all()


@pytest.mark.parametrize("predictions", [ONE, SEVERAL], ids=["one", "several"])
def test_parts_put_together_are_the_whole(predictions: Predictions) -> None:
    whole = concatenate([predictions.split("val"), predictions.split("test")])
    assert whole.sources == predictions.sources
    assert (whole.labels_N == predictions.labels_N).all()
    assert np.array_equal(whole.said_NK, predictions.said_NK)


def test_a_file_without_its_decisions_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    SEVERAL.save(tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet").drop_columns(["said"])
    pq.write_table(table, tmp_path / "q.parquet")
    with pytest.raises(DataError, match="does not hold predictions"):
        Predictions.load(tmp_path / "q.parquet")
