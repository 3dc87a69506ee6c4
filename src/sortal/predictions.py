"""Predictions: sources, classes, probabilities and labels as plain arrays; all scores and reports are made from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.files import replacing

UNKNOWN = -1


def right(
    probs_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64], said_NK: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Which images are right, shape (N,): the likeliest class is the label; where labels are said, exactly the image's own."""
    if said_NK is None:
        return np.asarray(probs_NK.argmax(axis=1) == labels_N)
    return np.asarray((said_NK == (labels_N > 0)).all(axis=1))


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model said of N images and K classes.

    Attributes:
        sources: the key of each image, N of them.
        classes: K class names, in index order.
        probs_NK: float32 probabilities, rows sum to one; of several labels an image, each for itself.
        labels_N: int64 index of the true class, -1 where it is not known; of several labels an image 0 and 1 of shape (N, K),
            rows of -1 where they are not known.
        splits_N: the split that each image belongs to, or 'cross_validation' for out-of-fold predictions.
        said_NK: of several labels an image, which the model says; None where it says the likeliest class.
        thresholds_K: the probability from which each label is said. Out-of-fold decisions were made by thresholds that the
            image had no part in, so `said_NK` is not always what these give.
    """

    sources: tuple[str, ...]
    classes: tuple[str, ...]
    probs_NK: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    splits_N: tuple[str, ...]
    said_NK: NDArray[np.bool_] | None = None
    thresholds_K: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        n, k = len(self.sources), len(self.classes)
        assert self.probs_NK.shape == (n, k), (self.probs_NK.shape, n, k)
        assert self.labels_N.shape == ((n,) if self.said_NK is None else (n, k)), self.labels_N.shape
        assert self.said_NK is None or (self.said_NK.shape == (n, k) and len(self.thresholds_K) == k)
        assert len(self.splits_N) == n

    def __len__(self) -> int:
        return len(self.sources)

    def where(self, mask_N: NDArray[np.bool_]) -> "Predictions":
        """The rows for which the mask holds."""
        rows = np.flatnonzero(mask_N)
        return replace(
            self,
            sources=tuple(self.sources[row] for row in rows),
            probs_NK=self.probs_NK[rows],
            labels_N=self.labels_N[rows],
            said_NK=None if self.said_NK is None else self.said_NK[rows],
            splits_N=tuple(self.splits_N[row] for row in rows),
        )

    def split(self, name: str) -> "Predictions":
        """The rows of one split."""
        return self.where(np.array([split == name for split in self.splits_N], dtype=bool))

    @property
    def task(self) -> Literal["multi_class", "multi_label"]:
        """Whether each image has one label or any number of them."""
        return "multi_class" if self.said_NK is None else "multi_label"

    @property
    def right_N(self) -> NDArray[np.bool_]:
        """Whether each image was sorted correctly; of several labels, whether it got exactly its own."""
        return right(self.probs_NK, self.labels_N, self.said_NK)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that occur, each once, in order of appearance."""
        return tuple(dict.fromkeys(self.splits_N))

    def save(self, path: Path) -> None:
        """Write as Parquet with columns source, split, label (null where unknown) and probabilities (list of K).

        Of several labels an image: labels and said, which are lists, in place of label.
        """
        import pyarrow as pa  # a second to import, and `predict` does not need it
        import pyarrow.parquet as pq

        about: dict[str, Any] = {"classes": list(self.classes)}
        columns: dict[str, Any]
        if self.said_NK is None:
            names = [None if label == UNKNOWN else self.classes[label] for label in self.labels_N]
            columns = {"label": pa.array(names, type=pa.string())}
        else:
            about["thresholds"] = list(self.thresholds_K)
            lists = {"labels": self._lists(self.labels_N), "said": self._lists(self.said_NK.astype(np.int64))}
            columns = {name: pa.array(values, type=pa.list_(pa.string())) for name, values in lists.items()}
        flat = pa.array(self.probs_NK.ravel(), type=pa.float32())
        table = pa.table(
            {
                "source": pa.array(self.sources, type=pa.string()),
                "split": pa.array(self.splits_N, type=pa.string()),
                **columns,
                "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(self.classes)),
            },
            metadata={"sortal": json.dumps(about, ensure_ascii=False)},
        )
        with replacing(path) as part, part.open("wb") as file:
            pq.write_table(table, file, compression="zstd")

    def _lists(self, values_NK: NDArray[np.int64]) -> list[list[str] | None]:
        """The names of each row's ones; None where the row is unknown."""
        return [
            None if UNKNOWN in row else [name for name, value in zip(self.classes, row, strict=True) if value]
            for row in values_NK.tolist()
        ]

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read what `save` wrote; raises `DataError` for anything else."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[b"sortal"])
            classes = tuple(about["classes"])
            index = {name: position for position, name in enumerate(classes)} | {None: UNKNOWN}
            values = table["probabilities"].combine_chunks()
            return cls(
                sources=tuple(table["source"].to_pylist()),
                classes=classes,
                probs_NK=np.asarray(values.flatten(), dtype=np.float32).reshape(-1, len(classes)),
                splits_N=tuple(table["split"].to_pylist()),
                **(_several(table, index, about["thresholds"]) if "thresholds" in about else _one(table, index)),
            )
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} does not hold predictions of sortal: {error}") from error


def _one(table: Any, index: Mapping[str | None, int]) -> dict[str, Any]:
    return {"labels_N": np.array([index[name] for name in table["label"].to_pylist()], dtype=np.int64)}


def _several(table: Any, index: Mapping[str | None, int], thresholds: Sequence[float]) -> dict[str, Any]:
    """Fields of several labels an image, from lists of names."""

    def ones(column: str) -> NDArray[np.int64]:
        found_NK = np.zeros((len(table), len(thresholds)), dtype=np.int64)
        for row, names in enumerate(table[column].to_pylist()):
            found_NK[row, :] = UNKNOWN if names is None else 0
            found_NK[row, [index[name] for name in names or ()]] = 1
        return found_NK

    return {"labels_N": ones("labels"), "said_NK": ones("said") > 0, "thresholds_K": tuple(map(float, thresholds))}


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Several sets of predictions of the same classes as one."""
    assert len({(part.classes, part.thresholds_K) for part in parts}) == 1, "predictions of different classes or thresholds"
    return Predictions(
        sources=tuple(source for part in parts for source in part.sources),
        classes=parts[0].classes,
        probs_NK=np.concatenate([part.probs_NK for part in parts]),
        labels_N=np.concatenate([part.labels_N for part in parts]),
        said_NK=None
        if parts[0].said_NK is None
        else np.concatenate([part.said_NK for part in parts if part.said_NK is not None]),
        thresholds_K=parts[0].thresholds_K,
        splits_N=tuple(split for part in parts for split in part.splits_N),
    )
