"""Predictions as a table to read, CSV, JSON or Parquet: each format is a function from predictions to pieces of output.

A prediction is the contract's: source, label (None where the model abstains), probability, top (label, probability), and where
the bundle has them set and novelty; where an image may have several labels: source, labels, top.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sortal.cli.plain import json_text, printable

Prediction = Mapping[str, Any]
Errors = Sequence[Mapping[str, Any]]
FURTHER = ("set", "novelty")
"""What some bundles say besides."""
Format = Callable[[Iterator[Prediction], Errors], Iterator[bytes]]
"""From predictions, and a list that fills up with errors while they are drawn, to pieces of output."""


def table(predictions: Iterator[Prediction], errors: Errors) -> Iterator[bytes]:
    """One line an image as soon as it is known: label, probability, source, and the next labels in brackets."""
    width = 0
    for prediction in predictions:
        label, probability, others = _told(prediction)
        # Later labels may be longer; waiting for them all would hold back the first line.
        width = max(width, len(label))
        ranked = ", ".join(f"{printable(other['label'])} {other['probability']:.3f}" for other in others)
        line = f"{label:<{width}}{probability}  {printable(prediction['source'])}"
        yield _bytes(line + (f"  ({ranked})" if ranked else "") + "\n")


def _told(prediction: Prediction) -> tuple[str, str, Sequence[Mapping[str, Any]]]:
    """What a line says first, the probability of it, and the labels that stand in brackets."""
    if "labels" in prediction:
        return ", ".join(map(printable, prediction["labels"])) or "(none)", "", prediction["top"]
    label = printable(prediction["label"]) if prediction["label"] is not None else "(not sure)"
    return label, f"  {prediction['probability']:.3f}", prediction["top"][1:]


def as_csv(predictions: Iterator[Prediction], errors: Errors) -> Iterator[bytes]:
    """Columns source, label (empty if abstained), probability, then label_2, probability_2 and so on, then set ('|' between
    its labels) and novelty where there are some; of several labels source, labels (likewise), then label_1, probability_1
    and so on.
    """
    head_due = True
    for prediction in predictions:
        several = "labels" in prediction
        own, others = (["labels"], prediction["top"]) if several else (["label", "probability"], prediction["top"][1:])
        if head_due:
            ranks = range(1 if several else 2, len(prediction["top"]) + 1)
            more = (f"{name}_{rank}" for rank in ranks for name in ("label", "probability"))
            further = [key for key in FURTHER if key in prediction]  # the bundle's, so that all have them or none
            yield _row(["source", *own, *more, *further])
            head_due = False
        told = [_cell(prediction[key]) for key in own]
        ranked = (other[key] for other in others for key in ("label", "probability"))
        yield _row([prediction["source"], *told, *ranked, *(_cell(prediction[key]) for key in further)])
    if head_due:
        yield _row(["source", "label", "probability"])


def as_json(predictions: Iterator[Prediction], errors: Errors) -> Iterator[bytes]:
    """The contract's object: predictions and errors."""
    found = list(predictions)  # drawing them fills `errors`
    yield _bytes(json_text({"predictions": found, "errors": errors}) + "\n")


def as_parquet(predictions: Iterator[Prediction], errors: Errors) -> Iterator[bytes]:
    """Columns source, label, probability and top (a list of label and probability), then set and novelty where there are some;
    of several labels source, labels, top.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    label: list[tuple[str, pa.DataType]] = [("label", pa.string()), ("probability", pa.float32())]
    rows = [{**prediction, "source": _unicode(prediction["source"])} for prediction in predictions]
    several = any("labels" in row for row in rows)
    own = [("labels", pa.list_(pa.string()))] if several else label
    types = {"set": pa.list_(pa.string()), "novelty": pa.float32()}
    further = [(key, types[key]) for key in FURTHER if any(key in row for row in rows)]
    schema = pa.schema([("source", pa.string()), *own, ("top", pa.list_(pa.struct(label))), *further])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    yield sink.getvalue()


FORMATS: dict[str, Format] = {"table": table, "csv": as_csv, "json": as_json, "parquet": as_parquet}


def _cell(value: object) -> object:
    return "|".join(value) if isinstance(value, list | tuple) else value


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
