"""Seeing: what the frozen network makes of every image and of its mirror, and a thumbnail; one pass, kept by content.

The network runs in ONNX Runtime. Its graph comes from the cache, so that it needs PyTorch once, on whatever machine.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
import PIL
from numpy.typing import NDArray
from PIL import Image

from sortal import engines
from sortal import recipe as recipes
from sortal.data.graphs import Graph, kept
from sortal.data.memory import free_memory
from sortal.data.parallel import ordered
from sortal.data.pixels import MEMORY_SHARE
from sortal.data.sources import Source, open_source
from sortal.data.store import Cache, RowStore
from sortal.engines.onnx import OnnxGraph
from sortal.errors import DataError, MachineFailed, UnreadableImage
from sortal.events import Observer, Progress, ignore
from sortal.health.same import SIDE, Thumbs
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess, open_rgb, squared
from sortal.recipe import presets

VERSION = 1
MANY = 5_000
SIZE, SIZE_OF_MANY = 128, 96
"""Pixels that the network sees of each image; fewer from `MANY` images on, where time begins to count."""
AT_ONCE = 256
"""Images that are decoded and then go through the network together."""
READ_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True)
class Sight:
    """A frozen network, ready to look."""

    graph: bytes
    preprocess: Preprocess
    dimensions: int
    key: str
    """Equal keys give equal features."""


def sight(images: int, cache: Cache, observe: Observer = ignore) -> Sight:
    """The network for so many images; raises `MissingExtra` without PyTorch where the cache has no graph, `WeightsError`
    without weights.
    """
    size = SIZE_OF_MANY if images >= MANY else SIZE

    def make() -> Graph:
        observe(Progress("network", 0, 1, "graphs"))
        made = _made(size)
        observe(Progress("network", 1, 1, "graphs"))
        return made

    found = kept(cache, f"frozen {VERSION}: {presets.photos().model} at {size}", make)
    preprocess = Preprocess.from_dict(found.about["preprocess"])
    seen = (found.sha256, preprocess, onnxruntime.__version__, PIL.__version__, VERSION)
    return Sight(found.onnx, preprocess, int(found.about["dimensions"]), hashlib.sha256(repr(seen).encode()).hexdigest()[:32])


def _made(size: int) -> Graph:
    """The graph, made by a process of its own unless the framework is loaded here already: what it leaves behind is most of a
    gigabyte, which the check itself never needs.
    """
    if "torch" in sys.modules or find_spec("torch") is None:
        return exported(size)
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-c", f"from sortal.workflows import seeing; seeing.export_to({name!r}, {size})"]
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False)
        if done.returncode:
            return exported(size)  # which says what is wrong, in words
        about = json.loads((Path(name) / "about.json").read_text(encoding="utf-8"))
        return Graph((Path(name) / "graph.onnx").read_bytes(), about)


def export_to(folder: str, size: int) -> None:
    """Write `graph.onnx` and `about.json` into a folder; for the process that `_made` starts."""
    graph = exported(size)
    (Path(folder) / "graph.onnx").write_bytes(graph.onnx)
    (Path(folder) / "about.json").write_text(json.dumps(graph.about), encoding="utf-8")


def exported(size: int) -> Graph:
    """The frozen part of the network that few photographs are trained on, for images of `size` pixels."""
    engine = engines.load("torch")
    recipe = engine.pinned(recipes.override(presets.photos(), [f"image_size={size}", "runtime=onnx"]))
    wanted = engine.expects(recipe)
    assert wanted.mean is not None, "pretrained weights bring their normalisation"
    assert wanted.std is not None
    preprocess = Preprocess(size=size, resize=size, interpolation=wanted.interpolation, mean=wanted.mean, std=wanted.std)
    frozen = engine.frozen(recipe, preprocess)
    about = {"preprocess": asdict(preprocess), "dimensions": frozen.shape[0], "weights_sha256": recipe.weights_sha256}
    return Graph(frozen.graph(), about)


class Pictures:
    """Features and thumbnails of N images in use, read in parts; close it, or use it in a `with`."""

    def __init__(self, used: Manifest, through: Sight, cache: Cache) -> None:
        self._used = used
        self._sight = through
        self._cache = cache
        self._contents: list[str] = used.column("content")
        self.dimensions = through.dimensions
        row_bytes = 2 * 2 * self.dimensions + SIDE * SIDE
        self._store = RowStore(cache, "features", f"seen {through.key}", (row_bytes,), np.uint8)
        self._held: dict[str, NDArray[np.uint8]] | None = None

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def __len__(self) -> int:
        return len(self._contents)

    def fill(self, observe: Observer) -> int:
        """Look at what was not looked at yet; returns how many that were.

        Raises:
            DataError: for an image that was readable when it was scanned and is not any more.
            MachineFailed: where neither the stores nor the memory have room.
        """
        missing = self._store.missing(self._contents)
        if not missing:
            return 0
        needed = len(missing) * self._store.row_bytes
        if self._cache.make_room(needed):
            self._store.append(missing, self._looked_at(missing, observe))
        elif needed <= free_memory() // MEMORY_SHARE:
            self._held = dict(zip(missing, np.concatenate(list(self._looked_at(missing, observe))), strict=True))
        else:
            raise MachineFailed(
                f"what the network sees needs {needed / 1e6:,.0f} MB, more than the stores may take and the memory has",
                hint="see `sortal cache`",
            )
        return len(missing)

    def features(self, rows: NDArray[np.int64] | None = None) -> Iterator[tuple[NDArray[np.float16], NDArray[np.float16]]]:
        """Features of the images and of their mirrors, float16 of shape (n, D) each, a few thousand at a time."""
        for part_NB in self._parts(np.arange(len(self)) if rows is None else rows):
            both = np.ascontiguousarray(part_NB[:, : 4 * self.dimensions]).view(np.float16)
            yield both[:, : self.dimensions], both[:, self.dimensions :]

    def thumbs(self) -> Thumbs:
        """Grey thumbnails of the whole pictures, shape (N, 32, 32)."""
        parts = [part_NB[:, 4 * self.dimensions :].reshape(-1, SIDE, SIDE) for part_NB in self._parts(np.arange(len(self)))]
        return np.concatenate(parts) if parts else np.empty((0, SIDE, SIDE), np.uint8)

    def _parts(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(rows), READ_AT_ONCE):
            contents = [self._contents[row] for row in rows[start : start + READ_AT_ONCE]]
            if self._held is None:
                yield self._store.read(contents)
            else:
                yield np.stack([self._held[each] if each in self._held else self._store.read([each])[0] for each in contents])

    def _looked_at(self, contents: Sequence[str], observe: Observer) -> Iterator[NDArray[np.uint8]]:
        row_of = {content: row for row, content in reversed(list(enumerate(self._contents)))}
        run = OnnxGraph(self._sight.graph).padded
        sources = self._used.sources
        with contextlib.closing(open_source(Path(self._used.root))) as source:
            decoded = ordered(lambda content: self._decode(source, sources[row_of[content]], content), contents)
            done = 0
            observe(Progress("features", 0, len(contents)))
            while part := list(islice(decoded, AT_ONCE)):
                images = np.stack([pixels for pixels, _ in part])
                both = np.concatenate([run(images), run(images[:, :, ::-1])], axis=1).astype(np.float16)
                thumbs = np.stack([thumb for _, thumb in part]).reshape(len(part), -1)
                yield np.concatenate([both.view(np.uint8), thumbs], axis=1)
                done += len(part)
                observe(Progress("features", done, len(contents)))

    def _decode(self, source: Source, name: str, content: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        preprocess = self._sight.preprocess
        try:
            data = source.read(name)
            if hashlib.sha256(data).hexdigest() != content:
                raise UnreadableImage("its bytes have changed")
            # What the scan let pass is not refused here: its limit of pixels was the user's.
            image = open_rgb(data, at_least=preprocess.size, max_pixels=2**62)[0]
        except UnreadableImage as error:
            raise DataError(
                f"{name} of {self._used.root} was readable when the data was scanned and is not now: {error}",
                hint="put it back as it was, or check the data again",
            ) from error
        thumb = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return squared(image, preprocess), np.asarray(thumb)
