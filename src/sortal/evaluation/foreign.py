"""Predictions from elsewhere: a Parquet file that anyone may have written, read with all that is wrong with it told at once.

Two forms are understood: that of `predictions.parquet`, and a plain table with `source`, `label`, if you like `split`, and for
each class a column of its probabilities that is named like the class.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.evaluation.metrics import SUM_TOLERANCE
from sortal.predictions import UNKNOWN, Predictions

SHOWN = 5
COLUMNS = ("source", "label", "split")


def read(path: Path) -> Predictions:
    """The predictions of a file; raises `DataError` with every problem of it, each with the images that have it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except PermissionError as error:
        raise DataError(f"no permission to read {path}", hint=f"chmod u+r {path}") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is not a Parquet file: {error}", hint="name a run, or a Parquet file of predictions"
        ) from error
    ours = b"sortal" in (table.schema.metadata or {})
    return _ours(path, table) if ours else _plain(path, table)


def _ours(path: Path, table: Any) -> Predictions:
    """A file of our form; whoever changed it may have left anything in it."""
    try:
        classes = [str(name) for name in json.loads(table.schema.metadata[b"sortal"])["classes"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not hold predictions of sortal: {error!r}") from error
    several = "labels" in table.column_names
    problems = _missing(table, ["source", "split", "probabilities", *(["labels", "said"] if several else ["label"])])
    if not problems:
        sources = _sources(table)
        problems = _of_sources(sources) + _of_classes(classes)
        named = table["labels"].to_pylist() if several else [[label] for label in table["label"].to_pylist()]
        problems += _of_labels(named, classes, sources)
        lists = table["probabilities"].to_pylist()
        wrong = [row for row, values in enumerate(lists) if values is None or len(values) != len(classes) or None in values]
        problems += _told(wrong, sources, f"there are not {len(classes)} probabilities")
        if not wrong:
            problems += _of_probabilities(np.array(lists, dtype=np.float64).reshape(-1, len(classes)), sources, several)
    _refuse(path, problems)
    return Predictions.load(path)


def _plain(path: Path, table: Any) -> Predictions:
    """A table with a column for each class."""
    import pyarrow as pa

    classes = tuple(name for name in table.column_names if name not in COLUMNS)
    kinds = {name: table.schema.field(name).type for name in classes}
    words = [name for name, kind in kinds.items() if not (pa.types.is_floating(kind) or pa.types.is_integer(kind))]
    problems = _missing(table, ["source", "label"])
    problems += [f"column {name!r} holds {kinds[name]}, not the probabilities of a class" for name in words]
    if len(classes) < 2:
        problems.append(f"there are {len(classes)} columns of probabilities: give one for each class, named like it")
    if problems:
        _refuse(path, problems)
    sources = _sources(table)
    labels = [None if label is None else str(label) for label in table["label"].to_pylist()]
    columns = [table[name].to_numpy(zero_copy_only=False) for name in classes]
    probs_NK = np.stack(columns, axis=1).astype(np.float64) if len(table) else np.zeros((0, len(classes)))
    problems = _of_sources(sources) + _of_classes(table.column_names)
    problems += _of_labels([[label] for label in labels], classes, sources) + _of_probabilities(
        probs_NK, sources, several=False
    )
    _refuse(path, problems)
    index = {name: k for k, name in enumerate(classes)} | {None: UNKNOWN}
    splits = table["split"].to_pylist() if "split" in table.column_names else [None] * len(table)
    return Predictions(
        sources=tuple(sources),
        classes=classes,
        probs_NK=probs_NK.astype(np.float32),
        labels_N=np.array([index[label] for label in labels], dtype=np.int64),
        splits_N=tuple("data" if split is None else str(split) for split in splits),
    )


def _missing(table: Any, names: Sequence[str]) -> list[str]:
    return [f"there is no column {name!r}" for name in names if name not in table.column_names]


def _sources(table: Any) -> list[str]:
    return ["" if source is None else str(source) for source in table["source"].to_pylist()]


def _of_sources(sources: Sequence[str]) -> list[str]:
    counts = Counter(sources)
    twice = [f"{source!r} ({count} times)" for source, count in counts.items() if count > 1 and source]
    nameless = [f"{counts['']:,} rows have no source"] if counts[""] else []
    return ([f"sources that stand there more than once: {_first(twice)}"] if twice else []) + nameless


def _of_classes(classes: Sequence[str]) -> list[str]:
    twice = [repr(name) for name, count in Counter(classes).items() if count > 1]
    return [f"classes that stand there more than once: {_first(twice)}"] if twice else []


def _of_labels(labels: Sequence[Sequence[str | None] | None], classes: Sequence[str], sources: Sequence[str]) -> list[str]:
    known = {*classes, None}
    strange = Counter(name for names in labels for name in names or () if name not in known)
    first = {name: row for row, names in reversed(list(enumerate(labels))) for name in names or () if name not in known}
    told = [f"{name!r} ({count:,} images, the first {sources[first[name]]})" for name, count in strange.items()]
    return [f"labels of classes that have no probabilities: {_first(told)}"] if told else []


def _of_probabilities(probs_NK: NDArray[np.float64], sources: Sequence[str], several: bool) -> list[str]:
    finite_N = np.isfinite(probs_NK).all(axis=1)
    problems = _told(np.flatnonzero(~finite_N).tolist(), sources, "probabilities that are not finite (NaN, null or infinite)")
    low, high = -SUM_TOLERANCE, 1 + SUM_TOLERANCE
    outside_N = finite_N & ((probs_NK < low) | (probs_NK > high)).any(axis=1)
    problems += _told(np.flatnonzero(outside_N).tolist(), sources, "probabilities outside 0 to 1")
    if not several:
        sums_N = np.where(finite_N, probs_NK.sum(axis=1, where=np.isfinite(probs_NK)), 1.0)
        off_N = ~outside_N & (np.abs(sums_N - 1) > SUM_TOLERANCE)
        problems += _told(
            np.flatnonzero(off_N).tolist(),
            sources,
            "probabilities that do not sum to 1",
            lambda row: f" (sum {sums_N[row]:.4g})",
        )
    return problems


def _told(rows: Sequence[int], sources: Sequence[str], what: str, more: Callable[[int], str] = lambda row: "") -> list[str]:
    return [f"{what}: {_first([f'{sources[row]}{more(row)}' for row in rows])}"] if rows else []


def _first(named: Sequence[str]) -> str:
    return ", ".join(named[:SHOWN]) + (f" and {len(named) - SHOWN:,} more" if len(named) > SHOWN else "")


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if problems:
        raise DataError(
            "\n  ".join([f"{path} has problems:", *problems]),
            hint="columns are source, label, split if you like, and the probabilities of each class, named like it",
        )
