"""Predictions as a table to read, CSV, JSON or Parquet: each format is a function from predictions to pieces of output.

A prediction is the contract's: source, label (None where the model abstains), probability, top (label, probability).
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sortal.cli.plain import json_text, printable

Prediction = Mapping[str, Any]
Errors = Sequence[Mapping[str, Any]]
Format = Callable[[Iterator[Prediction], Errors], Iterator[bytes]]
"""From predictions, and a list that fills up with errors while they are drawn, to pieces of output."""


def table(predictions: Iterator[Prediction], errors: Errors) -> Iterator[bytes]:
    """One line an image as soon as it is known: label, probability, source, and the next labels in brackets."""
    width = 0
    for prediction in predictions:
        label = printable(prediction["label"]) if prediction["label"] is not None else "(not sure)"
        # Later labels may be longer; waiting for them all would hold back the first line.
        width = max(width, len(label))
        others = ", ".join(f"{printable(other['label'])} {other['probability']:.3f}" for other in prediction["top"][1:])
        line = f"{label:<{width}}  {prediction['probability']:.3f}  {printable(prediction['source'])}"
        yield _bytes(line + (f"  ({others})" if others else "") + "\n")


def as_csv(predictions: Iterator[Prediction], errors: Errors) -> Iterator[bytes]:
    """Columns source, label (empty if abstained), probability, then label_2, probability_2 and so on."""
    head_due = True
    for prediction in predictions:
        if head_due:
            ranks = range(2, len(prediction["top"]) + 1)
            more = (f"{name}_{rank}" for rank in ranks for name in ("label", "probability"))
            yield _row(["source", "label", "probability", *more])
            head_due = False
        others = [other[key] for other in prediction["top"][1:] for key in ("label", "probability")]
        yield _row([prediction["source"], prediction["label"], prediction["probability"], *others])
    if head_due:
        yield _row(["source", "label", "probability"])


def as_json(predictions: Iterator[Prediction], errors: Errors) -> Iterator[bytes]:
    """The contract's object: predictions and errors."""
    found = list(predictions)  # drawing them fills `errors`
    yield _bytes(json_text({"predictions": found, "errors": errors}) + "\n")


def as_parquet(predictions: Iterator[Prediction], errors: Errors) -> Iterator[bytes]:
    """Columns source, label, probability and top (a list of label and probability)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    label: list[tuple[str, pa.DataType]] = [("label", pa.string()), ("probability", pa.float32())]
    schema = pa.schema([("source", pa.string()), *label, ("top", pa.list_(pa.struct(label)))])
    rows = [{**prediction, "source": _unicode(prediction["source"])} for prediction in predictions]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    yield sink.getvalue()


FORMATS: dict[str, Format] = {"table": table, "csv": as_csv, "json": as_json, "parquet": as_parquet}


def _row(values: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return _bytes(line.getvalue())


def _unicode(name: str) -> str:
    # Parquet holds nothing else: undecodable bytes of a file's name are spelt out.
    return name.encode("utf-8", "backslashreplace").decode()


def _bytes(text: str) -> bytes:
    # File names that are not UTF-8 leave with the bytes that they came with.
    return text.encode("utf-8", "surrogateescape")
