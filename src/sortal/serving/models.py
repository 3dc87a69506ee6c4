"""Models: which are served under which name and version, checked before they answer, and replaced while they are in use."""

import asyncio
import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import GRAPH, MEMBERS, Bundle
from sortal.engines.inspection import inspect
from sortal.errors import BundleError, DataError, SortalError
from sortal.run import find_bundle
from sortal.serving.batching import Lanes, Queue
from sortal.serving.refused import Refused
from sortal.serving.runtimes import Warm, opened

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
LOOK_EVERY = 1.0
"""Seconds between two looks at the folders."""

logger = logging.getLogger("sortal.serving")


@dataclass(frozen=True, slots=True)
class Place:
    """What is to be served: a name, a version, and the run or bundle where it lies."""

    name: str
    version: str
    path: Path


def places(words: Sequence[str]) -> tuple[Place, ...]:
    """Places from the command line's `[NAME[@VERSION]=]PATH`; raises `DataError` for what cannot be told apart.

    Without a name it is that of the run's folder; without a version they are counted, from 1, for each name.
    """
    found: list[Place] = []
    for word in words:
        left, equals, right = word.partition("=")
        # A path may hold an equals sign; one that leads somewhere is no name.
        named = bool(equals) and not Path(word).exists()
        name, _, version = left.partition("@") if named else ("", "", "")
        path = Path(right if named else word)
        name = name or _folder_name(path)
        version = version or str(1 + sum(place.name == name for place in found))
        if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
            raise DataError(
                f"{name}@{version} cannot stand in an address",
                hint="name it with letters, digits, '.', '_' and '-': NAME@VERSION=PATH",
            )
        if any((place.name, place.version) == (name, version) for place in found):
            raise DataError(f"{name} has two versions {version}", hint="give each its own: NAME@VERSION=PATH")
        found.append(Place(name, version, path))
    if not found:
        raise DataError("there is nothing to serve", hint="name a run or a bundle")
    return tuple(found)


def _folder_name(path: Path) -> str:
    path = path.absolute()
    return path.parent.name if path.name == "bundle" else path.name


@dataclass(frozen=True, slots=True)
class Checked:
    """A bundle that was checked and whose graph has run."""

    bundle: Bundle
    digest: str
    """SHA-256 of the graph, in hexadecimal."""
    warm: Warm


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model that answers."""

    place: Place
    bundle: Bundle
    digest: str
    runtime: str
    queue: Queue
    since: float = field(default_factory=time.time)

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def version(self) -> str:
        return self.place.version

    async def row(self, pixels_SSC: NDArray[np.uint8], deadline: float) -> NDArray[np.float32]:
        """What the network says of one image; see `split`."""
        return await self.queue.row(pixels_SSC, deadline)

    def split(self, row_R: NDArray[np.float32]) -> tuple[NDArray[np.float32], float | None]:
        """The probabilities (K), and the novelty where the graph tells it."""
        count = len(self.bundle.classes)
        return row_R[:count], float(row_R[count]) if len(row_R) > count else None


def check(path: Path, *, runtime: str = "auto", lanes: int = 1) -> Checked:
    """Check a bundle, member by member, then its graph, then what the graph says; raises `BundleError` or `DataError`."""
    bundle = Bundle.load(find_bundle(path))
    # The bytes that were checked are the bytes that are opened, whatever happens to the file meanwhile.
    graph = bundle.graph.read_bytes()
    digest = hashlib.sha256(graph).hexdigest()
    if digest != bundle.about["members"][GRAPH]["sha256"]:
        raise BundleError(f"{bundle.graph} changed while it was read", hint="it is looked at again when it is whole")
    inspect(graph, bundle.graph, bundle.preprocess)
    size, channels = bundle.preprocess.size, bundle.preprocess.channels
    warm = opened(graph, (size, size, channels), runtime=runtime, lanes=lanes)
    _check_answers(warm.rows_NR, bundle)
    return Checked(bundle, digest, warm)


def _check_answers(rows_NR: NDArray[np.float32], bundle: Bundle) -> None:
    count = len(bundle.classes)
    good = rows_NR.ndim == 2 and rows_NR.shape[1] == count + (bundle.novelty is not None)
    good = good and rows_NR.dtype == np.float32 and bool(np.isfinite(rows_NR).all())
    probs_NK = rows_NR[:, :count] if good else rows_NR
    good = good and float(probs_NK.min()) >= 0 and float(probs_NK.max()) <= 1 + 1e-4
    if good and bundle.task == "multi-class":
        good = bool(np.allclose(probs_NK.sum(axis=1), 1, atol=1e-3))
    if not good:
        raise BundleError(
            f"{bundle.graph} does not give {count} probabilities for an image",
            hint="make the bundle again with `sortal train`",
        )


class Models:
    """All that is served. What stands here has passed its check; a folder that changes is checked beside it first."""

    def __init__(
        self,
        wanted: Sequence[Place],
        lanes: Lanes,
        *,
        runtime: str = "auto",
        observe: Callable[[Place, int, float], None] = lambda place, size, seconds: None,
        changed: Callable[[Place, Bundle], None] = lambda place, bundle: None,
    ) -> None:
        self.wanted, self.lanes, self.runtime = tuple(wanted), lanes, runtime
        self.observe, self.changed = observe, changed
        self.answering: dict[tuple[str, str], Model] = {}
        self.refused: dict[tuple[str, str], str] = {}
        """Why what lies in a folder now is not what answers."""
        self._seen: dict[Place, object] = {}

    async def start(self) -> None:
        """Check and warm all of them; raises what is wrong with the first that cannot be served."""
        for place in self.wanted:
            self._seen[place] = state(place.path)
            self._answer(place, await self._check(place))

    async def watch(self) -> None:
        """Look at the folders for ever; what changed is checked, and takes its place only if it passes."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for place in self.wanted:
                await self.look(place)

    async def look(self, place: Place) -> None:
        """Look at one folder once."""
        now = await asyncio.to_thread(state, place.path)
        if now == self._seen[place]:
            return
        self._seen[place] = now
        key = (place.name, place.version)
        try:
            checked = await self._check(place)
        except (SortalError, OSError) as error:  # a folder may be taken away while it is read
            why = error.message if isinstance(error, SortalError) else str(error)
            self.refused[key] = why
            logger.warning("%s version %s stays as it was: %s", place.name, place.version, why)
            return
        self.refused.pop(key, None)
        if checked.digest != self.answering[key].digest or checked.bundle.about != self.answering[key].bundle.about:
            self._answer(place, checked)
            logger.warning("%s version %s was replaced", place.name, place.version)

    def get(self, name: str, version: str | None = None) -> Model:
        """A model by name, its newest version where none is said; raises `Refused` (404)."""
        if version is not None:
            found = self.answering.get((name, version))
        else:
            found = next((self.answering[key] for key in reversed(self.answering) if key[0] == name), None)
        if found is None:
            what = f"model {name}" if version is None else f"version {version!r} of the model {name}"
            raise Refused(404, f"there is no {what}", hint="GET /v2 lists what is served")
        return found

    @property
    def first(self) -> Model:
        """The newest version of what was named first: who asks for nothing else gets it."""
        return self.get(self.wanted[0].name)

    @property
    def versions(self) -> Mapping[str, tuple[str, ...]]:
        """The versions of each name, the newest last."""
        return {name: tuple(v for n, v in self.answering if n == name) for name in dict.fromkeys(n for n, _ in self.answering)}

    async def _check(self, place: Place) -> Checked:
        return await asyncio.to_thread(check, place.path, runtime=self.runtime, lanes=self.lanes.threads)

    def _answer(self, place: Place, checked: Checked) -> None:
        def observe(size: int, seconds: float) -> None:
            self.observe(place, size, seconds)

        queue = Queue(checked.warm.network, self.lanes, checked.warm.pace, observe)
        model = Model(place, checked.bundle, checked.digest, checked.warm.runtime, queue)
        before = self.answering.get((place.name, place.version))
        self.answering[place.name, place.version] = model
        self.changed(place, checked.bundle)
        if before is not None:
            before.queue.closed = True


def state(path: Path) -> object:
    """What tells that a bundle was changed: which file each member is, how large, and when it was written."""
    found: list[object] = []
    for folder in (path, path / "bundle"):
        for name in ("bundle.json", *sorted(MEMBERS)):
            with contextlib.suppress(OSError):
                about = (folder / name).stat()
                found.append((str(folder), name, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns))
    return found
