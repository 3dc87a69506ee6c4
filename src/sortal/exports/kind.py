"""A kind of export: how its files are written, and how they are opened again in the runtime that they are for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.engines.protocol import Engine
from sortal.events import Observer, ignore
from sortal.exports.describe import Usage


class Told(NamedTuple):
    """What a model tells of N images."""

    probs_NK: NDArray[np.float32]
    distances_N: NDArray[np.float32] | None = None
    """How unlike the familiar images each is (`Bundle.novelty`); None where the model does not measure it."""

    @classmethod
    def of(cls, outputs: Sequence[NDArray[np.float32]]) -> Self:
        """From probabilities, and novelty behind them if there is any."""
        return cls(outputs[0], outputs[1].reshape(-1) if len(outputs) > 1 else None)

    @classmethod
    def named(cls, outputs: Mapping[str, NDArray[np.float32]]) -> Self:
        """From a graph's outputs."""
        return cls.of([outputs[name] for name in ("probabilities", "novelty") if name in outputs])

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Several of the same model, one behind the other."""
        return cls.of([np.concatenate(outputs) for outputs in zip(*(part.outputs for part in parts), strict=True)])

    @property
    def outputs(self) -> list[NDArray[np.float32]]:
        return [self.probs_NK, *([] if self.distances_N is None else [self.distances_N])]

    def rows(self, rows_M: NDArray[np.int64]) -> "Told":
        """Of some of the images."""
        return Told.of([each[rows_M] for each in self.outputs])


Answers = Callable[[NDArray[np.uint8]], Told]
"""From stored pixels, uint8 (N, R, R, C), to what is told of them."""

AnySize = Callable[[bytes], Told | None]
"""From the bytes of an image file of any size to what is told of it, N being 1; None where it cannot read the format."""

FLOAT32, FLOAT16, BFLOAT16, INT8 = "float32", "float16", "bfloat16", "int8"
CALIBRATION_IMAGES = 256
"""Training images that int8 is calibrated and chosen with, at most."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be exported."""

    bundle: Bundle
    precision: str
    about: Mapping[str, Any]
    """What every export says of itself; see `describe.about`."""
    engine: Callable[[], Engine]
    """The engine that the bundle came from, loaded when it is asked for."""
    training: Callable[[], NDArray[np.uint8]]
    """Some training images as stored pixels, the same ones each time; raises `NotSupported` where there are none."""
    runtime: Path | None = None
    """Where the user keeps a runtime that goes into the export (of `web`); None to look for it elsewhere."""
    observe: Observer = ignore


class Kind(Protocol):
    """One format."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions it can be written in, the default first."""

    @property
    def holds_code(self) -> bool:
        """Whether a file of the format can make its runtime do anything but arithmetic, so that no stranger's may be opened."""

    @property
    def usage(self) -> Usage:
        """What the README says of how the export is used."""

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        """Write all files of the format into an empty folder; returns what else there is to say of them.

        Under the key 'model' stand the names of the files that a runtime loads.
        """

    def open(self, folder: Path, about: Mapping[str, Any]) -> AbstractContextManager[Answers]:
        """The written files in their own runtime; `about` is what `export.json` says. The files have been checked."""

    def open_any_size(self, folder: Path, about: Mapping[str, Any]) -> AbstractContextManager[AnySize] | None:
        """The form that takes an image of any size; None where the kind has none."""
