"""Predictions: sources, classes, probabilities and labels as plain arrays; all scores and reports are made from them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError
from sortal.files import replacing

UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model said of N images and K classes.

    Attributes:
        sources: the key of each image, N of them.
        classes: K class names, in index order.
        probs_NK: float32 probabilities, rows sum to one.
        labels_N: int64 index of the true class, -1 where it is not known.
        splits_N: the split that each image belongs to, or 'cross_validation' for out-of-fold predictions.
    """

    sources: tuple[str, ...]
    classes: tuple[str, ...]
    probs_NK: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    splits_N: tuple[str, ...]

    def __post_init__(self) -> None:
        n, k = len(self.sources), len(self.classes)
        assert self.probs_NK.shape == (n, k), (self.probs_NK.shape, n, k)
        assert self.labels_N.shape == (n,), self.labels_N.shape
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
            splits_N=tuple(self.splits_N[row] for row in rows),
        )

    def split(self, name: str) -> "Predictions":
        """The rows of one split."""
        return self.where(np.array([split == name for split in self.splits_N], dtype=bool))

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that occur, each once, in order of appearance."""
        return tuple(dict.fromkeys(self.splits_N))

    def save(self, path: Path) -> None:
        """Write as Parquet with columns source, split, label (null where unknown) and probabilities (list of K)."""
        import pyarrow as pa  # a second to import, and `predict` does not need it
        import pyarrow.parquet as pq

        names = [None if label == UNKNOWN else self.classes[label] for label in self.labels_N]
        flat = pa.array(self.probs_NK.ravel(), type=pa.float32())
        table = pa.table(
            {
                "source": pa.array(self.sources, type=pa.string()),
                "split": pa.array(self.splits_N, type=pa.string()),
                "label": pa.array(names, type=pa.string()),
                "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(self.classes)),
            },
            metadata={"sortal": json.dumps({"classes": list(self.classes)}, ensure_ascii=False)},
        )
        with replacing(path) as part, part.open("wb") as file:
            pq.write_table(table, file, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read what `save` wrote; raises `DataError` for anything else."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            classes = tuple(json.loads(table.schema.metadata[b"sortal"])["classes"])
            index = {name: position for position, name in enumerate(classes)} | {None: UNKNOWN}
            values = table["probabilities"].combine_chunks()
            return cls(
                sources=tuple(table["source"].to_pylist()),
                classes=classes,
                probs_NK=np.asarray(values.flatten(), dtype=np.float32).reshape(-1, len(classes)),
                labels_N=np.array([index[name] for name in table["label"].to_pylist()], dtype=np.int64),
                splits_N=tuple(table["split"].to_pylist()),
            )
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} does not hold predictions of sortal: {error}") from error


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Several sets of predictions of the same classes as one."""
    assert len({part.classes for part in parts}) == 1, "predictions of different classes"
    return Predictions(
        sources=tuple(source for part in parts for source in part.sources),
        classes=parts[0].classes,
        probs_NK=np.concatenate([part.probs_NK for part in parts]),
        labels_N=np.concatenate([part.labels_N for part in parts]),
        splits_N=tuple(split for part in parts for split in part.splits_N),
    )
