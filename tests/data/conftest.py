"""Small pictures, and trees of them."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sortal.data.facts import Facts
from sortal.data.store import Cache
from sortal.manifest import SCHEMA, Manifest

Picture = Callable[..., bytes]


@pytest.fixture
def picture() -> Picture:
    """The bytes of a picture of noise; equal seeds give equal bytes."""

    def make(seed: int = 0, width: int = 12, height: int = 8, kind: str = "PNG") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        return file.getvalue()

    return make


@pytest.fixture
def write_tree(tmp_path: Path, picture: Picture) -> Callable[..., Path]:
    """Write files below a folder: a picture of its own for each name, or the bytes that are given for it."""

    def write(*names: str, root: str = "photos", contents: Mapping[str, bytes] = MappingProxyType({})) -> Path:
        files = {name: picture(number) for number, name in enumerate(names)} | dict(contents)
        for name, data in files.items():
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path / root

    return write


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", limit=100 << 20)


@pytest.fixture
def facts(cache: Cache) -> Iterator[Facts]:
    with Facts(cache.facts) as facts:
        yield facts


@pytest.fixture
def make_manifest() -> Callable[..., Manifest]:
    """A manifest from columns; contents and groups may be any short text, labels one letter each."""

    def make(labels: str, *, given: tuple[str, ...] = (), root: str = "/photos", **columns: list[str | int | None]) -> Manifest:
        count = len(labels)
        contents = columns.pop("content", [f"image {number}" for number in range(count)])
        rows = {
            "source": [f"{number}.jpg" for number in range(count)],
            "content": [hashlib.sha256(str(content).encode()).hexdigest() for content in contents],
            "labels": [[label] for label in labels],
            **columns,
        }
        arrays = [pa.array(rows.get(field.name, [None] * count), type=field.type) for field in SCHEMA]
        return Manifest(pa.Table.from_arrays(arrays, schema=SCHEMA), tuple(sorted(set(labels))), root, given)

    return make
