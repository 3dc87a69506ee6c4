"""A kind of export: how its files are written, and how they are opened again in the runtime that they are for."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.engines.protocol import Engine
from sortal.events import Observer, ignore

Answers = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From stored pixels, uint8 (N, R, R, C), to probabilities, float32 (N, K)."""

AnySize = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From one RGB image of any size, uint8 (H, W, 3), to probabilities, float32 (K,)."""

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
    def example(self) -> str:
        """The file of ours beside this module that shows how the export is used, as a complete program."""

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        """Write all files of the format into an empty folder; returns what else there is to say of them.

        Under the key 'model' stand the names of the files that a runtime loads.
        """

    def open(self, folder: Path, about: Mapping[str, Any]) -> AbstractContextManager[Answers]:
        """The written files in their own runtime; `about` is what `export.json` says. The files have been checked."""

    def open_any_size(self, folder: Path) -> AnySize | None:
        """The form that takes an image of any size; None where the kind has none."""
