"""Tables that say what images are: a CSV or Parquet of paths, a Parquet that holds the images, or a manifest of ours."""

import csv
import json
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sortal.data.layout import SPLIT_NAMES, Listing
from sortal.data.sources import FolderSource, ParquetSource, open_source
from sortal.errors import DataError
from sortal.manifest import Manifest

SHOWN = 5
OPTIONAL = ("split", "group")
TYPO = 0.75
"""How much a column's name must be like one of ours to be a mistake; 'lable' and 'splits' are, 'site' is not."""


def read_csv(path: Path) -> Listing:
    """`path,label[,split,group]`, UTF-8, with a header; paths are relative to the table's folder.

    Several labels stand with '|' between; in a table that has such rows, an empty label says that the image has none. Other
    columns say more of an image: scores are told for their values too. A name that is nearly one of ours is a mistake.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_columns(path, header, "path")
            rows = _Rows(path, "line")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    rows.complain(reader.line_num, f"{len(cells)} cells, the header has {len(header)}")
                    continue
                row = dict(zip(header, cells, strict=True))
                about = {name: row[name].strip() for name in header if name not in ("path", "label", *OPTIONAL)}
                labels = row["label"].split("|")
                rows.add(reader.line_num, row["path"], labels, row.get("split"), row.get("group"), about=about)
    except PermissionError as error:
        raise DataError(f"no permission to read {path}", hint=f"chmod u+r {path}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}", hint="save the table as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}", hint="quotes and commas must be those of a CSV") from error
    return rows.listing()


def read_parquet(path: Path) -> Listing:
    """`image,label[,split,group]` with encoded images, `path,label[,split,group]`, or a manifest of ours.

    Several labels are a list, or text with '|' between as in a CSV; a list may be empty.
    """
    try:
        file = pq.ParquetFile(path)
    except PermissionError as error:
        raise DataError(f"no permission to read {path}", hint=f"chmod u+r {path}") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a Parquet file: {error}") from error
    with file:
        schema = file.schema_arrow
        if b"sortal" in (schema.metadata or {}):
            return read_manifest(path)
        key = "image" if "image" in schema.names else "path"
        _check_columns(path, schema.names, key)
        if key == "image":
            _check_image_type(path, schema.field("image").type)
        wanted = [name for name in schema.names if name != "image"]
        _check_others(path, schema, [name for name in wanted if name not in (key, "label", *OPTIONAL)])
        class_names = _class_names(schema)
        rows = _Rows(path, "row", lists=_is_list(schema.field("label").type))
        number = 0
        for batch in file.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                name = f"row:{number}" if key == "image" else _text(row["path"])
                labels = _labels(row["label"], class_names)
                about = {name: _text(row[name]) or "" for name in wanted if name not in (key, "label", *OPTIONAL)}
                split, group = _text(row.get("split")), _text(row.get("group"))
                rows.add(number, name, labels, split, group, inside=key == "image", about=about)
                number += 1
    return rows.listing(ParquetSource(path) if key == "image" else None)


def read_manifest(path: Path) -> Listing:
    """What `Manifest.save` wrote: labels, splits, folds and what was set aside stay; the images are opened again."""
    manifest = Manifest.load(path)
    root = Path(manifest.root)
    source = open_source(root)
    if isinstance(source, FolderSource):
        problems: list[str] = []
        _complain_of_missing(problems, root, manifest.sources)
        if problems:
            raise DataError(_told(path, problems), hint=f"its images belong below {root}")
    exclusions = [
        None if reason is None else (content, reason)
        for content, reason in zip(manifest.column("content"), manifest.column("exclusion"), strict=True)
    ]
    return Listing(
        source=source,
        root=root,
        names=manifest.sources,
        labels=[tuple(labels) for labels in manifest.column("labels")],
        splits=manifest.column("split"),
        groups=manifest.column("group"),
        given_splits=manifest.given_splits,
        folds=manifest.column("fold"),
        exclusions=exclusions,
        about=[dict(pairs) if pairs else None for pairs in manifest.column("about")],
    )


@dataclass
class _Rows:
    """Rows as they are read, and everything that is wrong with them."""

    path: Path
    unit: str
    """What a place in the table is called: 'line' of a CSV (from 1), 'row' of a Parquet (from 0)."""
    names: list[str] = field(default_factory=list)
    labels: list[tuple[str, ...]] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    empty_labels: list[int] = field(default_factory=list)
    lists: bool = False
    """Whether labels come as lists, of which one may be empty."""
    empty_paths: list[int] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    about: list[dict[str, str]] = field(default_factory=list)

    def complain(self, place: int, what: str) -> None:
        self.problems.append(f"{self.unit} {place:,}: {what}")

    def add(
        self,
        place: int,
        name: str | None,
        labels: Iterable[str],
        split: str | None,
        group: str | None,
        *,
        inside: bool = False,
        about: Mapping[str, str],
    ) -> None:
        """One row; `inside` if the image is in the table itself."""
        names = tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))
        if not names:
            self.empty_labels.append(place)
        if not name or not name.strip():
            self.empty_paths.append(place)
            return
        if not inside:
            name = posixpath.normpath(name.strip())
            if name in self.places:
                self.complain(place, f"{name} stands already in {self.unit} {self.places[name]:,}")
                return
            self.places[name] = place
        split = (split or "").strip().lower() or None
        if split is not None and split not in SPLIT_NAMES:
            near = get_close_matches(split, SPLIT_NAMES, n=1)
            guess = f", did you mean {near[0]!r}?" if near else "; splits are train, val and test"
            self.complain(place, f"unknown split {split!r}{guess}")
            split = None
        self.names.append(name)
        self.labels.append(names)
        self.splits.append(SPLIT_NAMES[split] if split else None)
        self.groups.append((group or "").strip() or None)
        self.about.append({column: value for column, value in about.items() if value})

    def listing(self, source: ParquetSource | None = None) -> Listing:
        """What was read; raises `DataError` with all problems."""
        root = self.path if source is not None else self.path.parent
        problems = _first(self.problems, "problem")
        # Among images of several labels one without any says that it shows none of them; elsewhere a label was forgotten.
        forgotten = [] if self.lists or any(len(names) > 1 for names in self.labels) else self.empty_labels
        for places, what in ((forgotten, "empty label"), (self.empty_paths, "empty path")):
            if places:
                shown = ", ".join(f"{place:,}" for place in places[:SHOWN]) + (", ..." if len(places) > SHOWN else "")
                problems.append(f"{what} in {len(places):,} {self.unit}{'s' if len(places) > 1 else ''}: {shown}")
        if source is None:
            _complain_of_missing(problems, root, self.names)
        if problems:
            raise DataError(_told(self.path, problems), hint="correct the table; nothing was done")
        if not self.names:
            raise DataError(f"{self.path} has no rows", hint="give one row an image: path,label")
        given = tuple(split for split in ("train", "val", "test") if split in self.splits)
        about = self.about if any(self.about) else None
        where = source or FolderSource(root)
        return Listing(where, root, self.names, self.labels, self.splits, self.groups, given, about=about)


def _check_columns(path: Path, columns: Sequence[str], key: str) -> None:
    known = [key, "label", *OPTIONAL]
    problems = []
    missing = [name for name in (key, "label") if name not in columns]
    for name in columns:
        if name not in known and (name.lower() in known or get_close_matches(name.lower(), known, n=1, cutoff=TYPO) or missing):
            near = get_close_matches(name.lower(), known, n=1)
            problems.append(f"unknown column {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
        elif not name.strip():
            problems.append("a column has no name")
    problems += [f"there is no column {name!r}" for name in missing]
    problems += [f"column {name!r} stands there twice" for name in dict.fromkeys(columns) if list(columns).count(name) > 1]
    if problems:
        separated = len(columns) == 1 and any(mark in columns[0] for mark in ";\t")
        hint = (
            "separate the columns by commas"
            if separated
            else f"columns are {key}, label and, if you like, split and group; others say more of an image"
        )
        raise DataError(_told(path, problems), hint=hint)


def _check_image_type(path: Path, kind: pa.DataType) -> None:
    def is_binary(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))

    if is_binary(kind):
        return
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and is_binary(kind.field("bytes").type):
        return
    raise DataError(
        f"{path}: column 'image' is {kind}", hint="it must hold encoded images: binary, or a struct with binary 'bytes'"
    )


def _check_others(path: Path, schema: pa.Schema, names: Sequence[str]) -> None:
    """Other columns say something of an image, in a word or a number."""

    def is_word(kind: pa.DataType) -> bool:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        return bool(text or number or pa.types.is_temporal(kind) or pa.types.is_null(kind))

    odd = [f"column {name!r} is {schema.field(name).type}" for name in names if not is_word(schema.field(name).type)]
    if odd:
        raise DataError(_told(path, odd), hint="leave out columns that are neither text nor numbers")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _class_names(schema: pa.Schema) -> list[str] | None:
    """Names of numbered classes, where the `datasets` library left them in the table's metadata."""
    try:
        feature = json.loads(schema.metadata[b"huggingface"])["info"]["features"]["label"]
        return [str(name) for name in feature["names"]] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None


def _labels(value: Any, class_names: list[str] | None) -> list[str]:
    """One cell as labels: text with '|' between, a number, or a list of either."""
    if isinstance(value, list):
        return [label for item in value for label in _labels(item, class_names)]
    if class_names is not None and isinstance(value, int) and 0 <= value < len(class_names):
        return [class_names[value]]
    return (_text(value) or "").split("|")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _complain_of_missing(problems: list[str], root: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not os.path.exists(root / name)]
    if missing:
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        problems.append(f"{len(missing):,} of {len(names):,} files are missing below {root}: {shown}")


def _first(problems: Sequence[str], what: str) -> list[str]:
    more = len(problems) - SHOWN
    return [*problems[:SHOWN], *([f"... and {more:,} more {what}{'s' if more > 1 else ''} like these"] if more > 0 else [])]


def _told(path: Path, problems: Sequence[str]) -> str:
    return "\n  ".join([f"{path} has problems:", *problems])
