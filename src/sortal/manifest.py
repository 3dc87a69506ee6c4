"""The manifest: a table with one row an image, which says what it is, where it is, and to which split it belongs.

Everything downstream is told by rows of this table. Rows are never deleted: an image that cannot be used carries the reason
in `exclusion`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sortal.errors import DataError, NotSupported
from sortal.files import creating, replacing

SPLITS = ("train", "val", "test")
SET_ASIDE = "set aside by "
"""How the exclusion of an image begins that could be used and was left out by a decision."""

SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # the key: a path inside the root, or 'row:N' of a Parquet of images
        pa.field("content", pa.string()),  # SHA-256 of the file's bytes, hexadecimal; null where there are none
        pa.field("labels", pa.list_(pa.string()), nullable=False),  # one for most tasks, several for multi-label
        pa.field("split", pa.string()),  # train, val or test; null until assigned
        pa.field("fold", pa.int8()),  # cross-validation fold, counted from 0; null where there are none
        pa.field("group", pa.string()),  # rows of one group never stand on two sides of a split
        pa.field("width", pa.int32()),  # pixels, as a person sees the image (after the EXIF turn)
        pa.field("height", pa.int32()),
        pa.field("phash", pa.uint64()),  # perceptual hash; null where unreadable
        pa.field("grey", pa.bool_()),  # red, green and blue are equal everywhere; null where unreadable
        pa.field("note", pa.string()),  # what was done to make RGB of it: 'transparency drawn on white', ...
        pa.field("exclusion", pa.string()),  # null for images in use, else the reason why not
        pa.field("about", pa.map_(pa.string(), pa.string())),  # what other columns of the user's table say of it; null without
    ]
)


@dataclass(frozen=True)
class Manifest:
    """A table of images (`SCHEMA`), the class names in index order, and the root that sources are relative to."""

    table: pa.Table
    classes: tuple[str, ...]
    root: str
    """Absolute path of the folder, archive or Parquet file that holds the images."""
    given_splits: tuple[str, ...] = ()
    """The splits that the user gave, of train, val and test; the others, if any, were assigned by us."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def used(self) -> "Manifest":
        """The rows that are not excluded."""
        return replace(self, table=self.table.filter(pc.is_null(self.table["exclusion"])))

    @cached_property
    def excluded(self) -> "Manifest":
        """The rows that were set aside, each with its reason."""
        return replace(self, table=self.table.filter(pc.is_valid(self.table["exclusion"])))

    def split(self, name: str) -> "Manifest":
        """The rows in use of one split."""
        return replace(self.used, table=self.used.table.filter(pc.equal(self.used.table["split"], name)))

    def take(self, rows_N: NDArray[np.int64]) -> "Manifest":
        """The given rows, in the given order."""
        return replace(self, table=self.table.take(pa.array(rows_N)))

    def with_column(self, name: str, values: Sequence[Any] | NDArray[Any] | pa.Array) -> "Manifest":
        """The same table with one column replaced; values in row order."""
        field = SCHEMA.field(name)
        column = pa.array(values, type=field.type)
        return replace(self, table=self.table.set_column(SCHEMA.get_field_index(name), field, column))

    def column(self, name: str) -> list[Any]:
        """One column as Python values, None where null."""
        return self.table[name].to_pylist()  # type: ignore[no-any-return]

    @property
    def sources(self) -> list[str]:
        """The keys of the rows."""
        return self.column("source")

    @cached_property
    def labels_N(self) -> NDArray[np.int64]:
        """Class index of each row, shape (N,); raises `NotSupported` where a row has several labels or none."""
        index = {name: position for position, name in enumerate(self.classes)}
        firsts = pc.list_element(self._require_one_label().table["labels"], 0).to_pylist()
        return np.fromiter((index[name] for name in firsts), dtype=np.int64, count=len(self))

    @cached_property
    def labels_NK(self) -> NDArray[np.int64]:
        """1 where a row has the label, else 0, shape (N, K): any number of labels a row, also none."""
        labels_NK = np.zeros((len(self), len(self.classes)), dtype=np.int64)
        labels_NK[self.label_pairs_2P[0], self.label_pairs_2P[1]] = 1
        return labels_NK

    @cached_property
    def label_pairs_2P(self) -> NDArray[np.int64]:
        """A pair of row and class index for every label of every row, shape (2, P), in the order of the rows."""
        column = self.table["labels"].combine_chunks()
        names = pc.list_flatten(column)
        found = pc.index_in(names, value_set=pa.array(self.classes, type=pa.string()))
        return np.stack([np.asarray(part, dtype=np.int64) for part in (pc.list_parent_indices(column), found)])

    @cached_property
    def task(self) -> Literal["multi_class", "multi_label"]:
        """What these images ask for: 'multi_label' where an image in use has several labels or none."""
        counts = pc.list_value_length(self.used.table["labels"])
        return "multi_class" if pc.all(pc.equal(counts, 1), min_count=0).as_py() else "multi_label"

    @cached_property
    def keys_N(self) -> NDArray[np.uint64]:
        """The first 64 bits of each content hash, shape (N,): the identity that random draws are made for."""
        contents = (content or "0" for content in self.column("content"))
        return np.fromiter((int(content[:16], 16) for content in contents), dtype=np.uint64, count=len(self))

    def told_labels(self) -> str:
        """How many rows have several labels or none, as words; '' where every row has exactly one."""
        counts = pc.list_value_length(self.table["labels"])
        parts = []
        for rows, what in ((pc.greater(counts, 1), "several labels"), (pc.equal(counts, 0), "no label")):
            some = self.table.filter(rows)
            if some.num_rows:
                have = "image has" if some.num_rows == 1 else "images have"
                parts.append(f"{some.num_rows:,} {have} {what}, the first {some['source'][0]}")
        return "; ".join(parts)

    def _require_one_label(self) -> "Manifest":
        """The manifest itself; raises `NotSupported` where a row has several labels or none."""
        told = self.told_labels()
        if told:
            raise NotSupported(told, hint="leave one label for each image, or train with task = 'multi_label'")
        return self

    def counts(self) -> dict[str, int]:
        """Images in use by class, in index order; a class of which nothing is in use counts 0, and an image of several labels
        counts for each.
        """
        found = np.bincount(self.used.label_pairs_2P[1], minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, found, strict=True)}

    def split_counts(self) -> dict[str, int]:
        """Images in use by split, in the order train, val, test; splits without images are left out."""
        counts = {name: len(self.split(name)) for name in SPLITS}
        return {name: count for name, count in counts.items() if count}

    def save(self, path: Path, *, new: bool = False) -> None:
        """Write it as Parquet, whole or not at all; a `new` one raises `FileExistsError` where something has that name."""
        about = {"classes": list(self.classes), "root": self.root, "given_splits": list(self.given_splits)}
        table = self.table.replace_schema_metadata({"sortal": json.dumps(about, ensure_ascii=False)})
        with (creating if new else replacing)(path) as part, part.open("wb") as file:
            pq.write_table(table, file, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read what `save` wrote; raises `DataError` for anything else."""
        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[b"sortal"])
            for place, field in enumerate(SCHEMA):
                if field.nullable and field.name not in table.column_names:  # of an older version, which did not know it
                    table = table.add_column(place, field, pa.nulls(len(table), field.type))
            table = table.replace_schema_metadata(None).cast(SCHEMA)
            return cls(table, tuple(about["classes"]), about["root"], tuple(about["given_splits"]))
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is not a manifest of sortal: {error}", hint="make one with `sortal check DATA`") from error
