"""Predictions that anyone may have written: what is wrong with them is told by image, all of it at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortal import workflows
from sortal.errors import DataError
from sortal.evaluation.foreign import read
from sortal.predictions import Predictions

GOOD: dict[str, Any] = {
    "source": ["a.jpg", "b.jpg", "c.jpg"],
    "label": ["ant", "bee", None],
    "ant": [0.9, 0.4, 0.5],
    "bee": [0.1, 0.6, 0.5],
}


def table(folder: Path, **changes: Any) -> Path:
    values = {name: column for name, column in (GOOD | changes).items() if column is not None}
    pq.write_table(pa.table(values), folder / "p.parquet")
    return folder / "p.parquet"


def problems(path: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.hint
    return str(caught.value).splitlines()[1:]


def test_a_plain_table_with_a_column_for_each_class_is_scored(tmp_path: Path) -> None:
    found = read(table(tmp_path))
    assert (found.classes, found.labels_N.tolist(), found.splits_N) == (("ant", "bee"), [0, 1, -1], ("data",) * 3)
    scores = workflows.evaluate(table(tmp_path))
    assert scores.metrics["data"]["accuracy"] == 1.0
    assert scores.metrics["data"]["images"] == 2


def test_everything_that_is_wrong_is_told_at_once_and_by_image(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        source=["a.jpg", "b.jpg", "c.jpg", "d.jpg", "a.jpg", None],
        label=["ant", "wasp", "bee", "ant", "ant", "bee"],
        ant=[0.9, 0.4, float("nan"), 0.9, 1.5, None],
        bee=[0.1, 0.6, 0.5, 0.3, -0.5, 0.5],
    )
    told = "\n".join(problems(path))
    assert "'a.jpg' (2 times)" in told
    assert "1 rows have no source" in told
    assert "'wasp' (1 images, the first b.jpg)" in told
    assert "not finite (NaN, null or infinite): c.jpg" in told
    assert "do not sum to 1: d.jpg (sum 1.2)" in told
    assert "outside 0 to 1: a.jpg" in told
    assert len(problems(path)) == 6


def test_many_images_with_the_same_problem_are_counted_after_the_first(tmp_path: Path) -> None:
    many = 40
    path = table(
        tmp_path, source=[f"{row}.jpg" for row in range(many)], label=["ant"] * many, ant=[0.5] * many, bee=[0.2] * many
    )
    (told,) = problems(path)
    assert "4.jpg (sum 0.7) and 35 more" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source": None}, "no column 'source'"),
        ({"label": None}, "no column 'label'"),
        ({"bee": None}, "1 columns of probabilities"),
        ({"bee": ["x", "y", "z"]}, "column 'bee' holds string"),
    ],
)
def test_columns_that_are_missing_or_of_another_kind_are_named(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    assert any(told in line for line in problems(table(tmp_path, **changes)))


def test_a_file_of_ours_that_somebody_changed_is_told_the_same_way(tmp_path: Path) -> None:
    probs_NK = np.array([[0.9, 0.1], [0.4, 0.9], [0.5, 0.5]], dtype=np.float32)
    ours = Predictions(("a", "a", "c"), ("ant", "bee"), probs_NK, np.array([0, 1, 1]), ("test",) * 3)
    ours.save(tmp_path / "p.parquet")
    told = "\n".join(problems(tmp_path / "p.parquet"))
    assert "'a' (2 times)" in told
    assert "do not sum to 1: a (sum 1.3)" in told


def test_a_label_that_the_classes_of_our_file_do_not_have_is_named(tmp_path: Path) -> None:
    ours = Predictions(("a", "b"), ("ant", "bee"), np.full((2, 2), 0.5, np.float32), np.array([0, 1]), ("test",) * 2)
    ours.save(tmp_path / "p.parquet")
    changed = pq.read_table(tmp_path / "p.parquet")
    changed = changed.set_column(changed.column_names.index("label"), "label", pa.array(["ant", "wasp"]))
    pq.write_table(changed, tmp_path / "p.parquet")
    assert "'wasp'" in problems(tmp_path / "p.parquet")[0]


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"not a table")
    with pytest.raises(DataError, match="is not a Parquet file"):
        read(tmp_path / "p.parquet")
