"""safetensors: weights as data, the network as plain PyTorch code written out by torch.export, and a loader of thirty lines."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.exports import describe
from sortal.exports.kind import FLOAT32, Answers, AnySize, Order
from sortal.preprocess import Preprocess, network_pixels

WEIGHTS, CODE, LOADER = "model.safetensors", "network.py", "loader.py"
AT_ONCE = 32


class Safetensors:
    """`model.safetensors` opens everywhere; `network.py` says what to compute with it, and `loader.py` joins the two."""

    precisions = (FLOAT32,)
    example = "safetensors.py"

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        order.engine().export(order.bundle, folder, "code", json.dumps(order.about, ensure_ascii=False))
        (folder / LOADER).write_text(describe.example("loader.py"), encoding="utf-8")
        describe.write_modules(folder)
        return {
            "model": [WEIGHTS, CODE, LOADER],
            "before": ["PyTorch and safetensors are needed, and no library of networks.", ""],
        }

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        """By the export's own loader, which is code of this export: whoever opens it has checked its bytes."""
        model = imported(folder / LOADER).load(folder)
        preprocess = Preprocess.from_dict(about["preprocess"])

        def answers(images_NRRC: NDArray[np.uint8]) -> NDArray[np.float32]:
            images_NSSC = network_pixels(images_NRRC, preprocess)
            parts = [model(images_NSSC[start : start + AT_ONCE])[0] for start in range(0, len(images_NSSC), AT_ONCE)]
            return np.concatenate(parts)

        yield answers

    def open_any_size(self, folder: Path) -> AnySize | None:
        return None


def imported(path: Path, *, beside: bool = False) -> ModuleType:
    """A module of an export, whose bytes have been checked; with `beside`, what it imports may stand beside it.

    Nothing stays of it in Python's tables, so that two exports in one process do not get each other's modules.
    """
    module = ModuleType(f"sortal_export_{path.stem}")
    module.__file__ = str(path)
    written, places, before = sys.dont_write_bytecode, list(sys.path), set(sys.modules)
    sys.dont_write_bytecode = True
    if beside:
        sys.path.insert(0, str(path.parent))
    try:
        # Not by Python's importer: it would take a compiled file beside the source for the source, whoever put it there.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    finally:
        sys.dont_write_bytecode, sys.path[:] = written, places
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(path.parent)):
                del sys.modules[name]
    return module


SAFETENSORS = Safetensors()
