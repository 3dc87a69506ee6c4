"""Predictions leave as a table, CSV, JSON or Parquet."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest

from sortal.cli.answers import FORMATS

ANT = {
    "source": "photos/a.jpg",
    "label": "ants",
    "probability": 0.75,
    "top": [{"label": "ants", "probability": 0.75}, {"label": "bees", "probability": 0.25}],
}
UNSURE = {**ANT, "source": "photos/b.jpg", "label": None}
SINGLE = {**ANT, "top": ANT["top"][:1]}
HOSTILE = {**SINGLE, "source": "a\x1b[2J\n\udcff.jpg"}


def written(kind: str, *predictions: dict, errors: tuple[dict, ...] = ()) -> bytes:
    return b"".join(FORMATS[kind](iter(predictions), errors))


def test_a_table_has_one_line_an_image() -> None:
    assert written("table", ANT, UNSURE).decode().splitlines() == [
        "ants  0.750  photos/a.jpg  (bees 0.250)",
        "(not sure)  0.750  photos/b.jpg  (bees 0.250)",
    ]


def test_a_line_of_a_table_is_given_before_the_next_image_is_asked_for() -> None:
    def predictions():
        yield SINGLE
        raise AssertionError("asked too early")

    assert next(FORMATS["table"](predictions(), ())) == b"ants  0.750  photos/a.jpg\n"


def test_a_name_in_a_table_cannot_steer_the_terminal() -> None:
    assert written("table", HOSTILE) == b"ants  0.750  a\\x1b[2J\\n\\udcff.jpg\n"


def test_csv_has_a_column_pair_for_each_further_label() -> None:
    rows = list(csv.reader(io.StringIO(written("csv", ANT, UNSURE).decode())))
    assert rows == [
        ["source", "label", "probability", "label_2", "probability_2"],
        ["photos/a.jpg", "ants", "0.75", "bees", "0.25"],
        ["photos/b.jpg", "", "0.75", "bees", "0.25"],
    ]


SURE = {**ANT, "set": ["ants", "bees"], "novelty": 0.5}
NOVEL = {**UNSURE, "set": [], "novelty": 1.0}


def test_csv_has_the_set_and_the_novelty_that_the_bundle_gives() -> None:
    rows = list(csv.reader(io.StringIO(written("csv", SURE, NOVEL).decode())))
    assert [row[-2:] for row in rows] == [["set", "novelty"], ["ants|bees", "0.5"], ["", "1.0"]]


def test_csv_of_nothing_is_its_head() -> None:
    assert written("csv") == b"source,label,probability\n"


def test_csv_keeps_the_bytes_of_a_name_that_is_not_utf8() -> None:
    assert b"\xff.jpg" in written("csv", HOSTILE)


def test_json_is_the_contracts_object_with_the_errors_found_on_the_way() -> None:
    errors: list[dict[str, str]] = []

    def predictions():
        yield ANT
        errors.append({"source": "bad.jpg", "reason": "empty file"})

    assert json.loads(b"".join(FORMATS["json"](predictions(), errors))) == {
        "predictions": [ANT],
        "errors": [{"source": "bad.jpg", "reason": "empty file"}],
    }


def test_json_gives_any_file_name_back() -> None:
    assert json.loads(written("json", HOSTILE))["predictions"][0]["source"] == HOSTILE["source"]


@pytest.mark.parametrize("predictions", [(), (ANT, UNSURE)])
def test_parquet_gives_the_predictions_back(predictions: tuple[dict, ...]) -> None:
    table = pq.read_table(io.BytesIO(written("parquet", *predictions)))
    assert table.to_pylist() == list(predictions)
    assert table.column_names == ["source", "label", "probability", "top"]


def test_parquet_gives_the_set_and_the_novelty_back() -> None:
    table = pq.read_table(io.BytesIO(written("parquet", SURE, NOVEL)))
    assert table.to_pylist() == [SURE, NOVEL]
    assert table.column_names[-2:] == ["set", "novelty"]


def test_parquet_spells_out_a_name_that_is_not_unicode() -> None:
    table = pq.read_table(io.BytesIO(written("parquet", HOSTILE)))
    assert table["source"].to_pylist() == ["a\x1b[2J\n\\udcff.jpg"]


BOTH = {"source": "photos/a.jpg", "labels": ["ants", "bees"], "top": ANT["top"]}
NEITHER = {**BOTH, "source": "photos/b.jpg", "labels": []}


def test_several_labels_stand_side_by_side_and_none_is_said_to_be_none() -> None:
    assert written("table", BOTH, NEITHER).decode().splitlines() == [
        "ants, bees  photos/a.jpg  (ants 0.750, bees 0.250)",
        "(none)      photos/b.jpg  (ants 0.750, bees 0.250)",
    ]


def test_several_labels_in_csv_are_written_as_they_are_read() -> None:
    rows = list(csv.reader(io.StringIO(written("csv", BOTH, NEITHER).decode())))
    assert rows == [
        ["source", "labels", "label_1", "probability_1", "label_2", "probability_2"],
        ["photos/a.jpg", "ants|bees", "ants", "0.75", "bees", "0.25"],
        ["photos/b.jpg", "", "ants", "0.75", "bees", "0.25"],
    ]


def test_several_labels_in_parquet_are_lists() -> None:
    rows = pq.read_table(io.BytesIO(written("parquet", BOTH, NEITHER))).to_pylist()
    assert [row["labels"] for row in rows] == [["ants", "bees"], []]
    assert rows[0]["top"] == ANT["top"]
    assert "label" not in rows[0]
