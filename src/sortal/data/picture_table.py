"""A data set as one Parquet file: a row a picture, with its file's bytes, its label and its split if it has one."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sortal.errors import RunExists
from sortal.files import replacing

ROW_GROUP = 1_000  # pictures; a reader holds one group at a time

COLUMNS: list[tuple[str, pa.DataType]] = [("image", pa.binary()), ("label", pa.string()), ("split", pa.string())]
SCHEMA = pa.schema(COLUMNS)

Rows = tuple[Sequence[bytes], Sequence[str] | Sequence[Sequence[str]], Sequence[str | None]]


def write(
    to: Path, groups: Iterable[Rows], *, about: Mapping[str, str] | None = None, level: int = 1, several: bool = False
) -> Path:
    """Write groups of (image files, labels, splits) as they come, whole or not at all; each becomes a row group.

    `about` becomes the file's metadata; `level` is zstd's, 1 to 22; with `several`, labels are lists of any length. Raises
    `RunExists` where `to` exists.
    """
    if to.exists():
        raise RunExists(f"{to} already exists", hint="choose another name, or remove it first")
    columns = [(name, pa.list_(kind) if several and name == "label" else kind) for name, kind in COLUMNS]
    schema = pa.schema(columns).with_metadata(dict(about or {}))
    with (
        replacing(to) as part,
        part.open("wb") as file,
        # Every picture is another, so a dictionary of pictures would only be thrown away; labels and splits want one.
        pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=level,
            use_dictionary=["label", "split"],
        ) as writer,
    ):
        for images, labels, splits in groups:
            writer.write_table(_table(schema, (images, labels, splits)), row_group_size=max(1, len(images)))
    return to


def holds(path: Path, groups: Iterable[Rows]) -> bool:
    """Whether a file is what `write` would make of these groups, compared row by row; damaged ones are not."""
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for rows in groups:
                if number == file.num_row_groups or not _table(SCHEMA, rows).equals(file.read_row_group(number)):
                    return False
                number += 1
            return number == int(file.num_row_groups)
    except (pa.ArrowException, OSError):
        return False


def _table(schema: pa.Schema, rows: Rows) -> pa.Table:
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for values, field in zip(rows, schema, strict=True)], schema=schema
    )
