"""Formats of the framework that a bundle was trained in: its engine writes and opens them, and this room does not know it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sortal import engines
from sortal.exports import describe
from sortal.exports.kind import FLOAT32, Answers, AnySize, Order, Told
from sortal.preprocess import Preprocess, network_pixels


@dataclass(frozen=True, slots=True)
class OfFramework:
    """One file, written by the engine."""

    kind: str
    file: str
    usage: describe.Usage
    holds_code: bool
    precisions: tuple[str, ...] = (FLOAT32,)

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        engine = order.engine()
        engine.export(order.bundle, folder / self.file, self.kind, json.dumps(order.about, ensure_ascii=False))
        describe.write_modules(folder)
        return {"model": [self.file], "engine": order.bundle.about["recipe"]["engine"]}

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        run = engines.load(str(about["engine"])).exported(folder / self.file, self.kind)
        preprocess = Preprocess.from_dict(about["preprocess"])
        yield lambda images_NRRC: Told.of(run(network_pixels(images_NRRC, preprocess)))

    def open_any_size(self, folder: Path, about: Mapping[str, Any]) -> AbstractContextManager[AnySize] | None:
        return None


# torch.jit runs a program, and torch.export.load unpickles weights and constants with `weights_only=False` (PyTorch 2.15).
TORCHSCRIPT = OfFramework(
    "torchscript",
    "model.ts",
    describe.Usage(
        ("torchscript.py",), "PyTorch alone opens it, in Python and in C++. Like a program, open it only from whom you trust."
    ),
    holds_code=True,
)
TORCH_EXPORT = OfFramework(
    "torch-export",
    "model.pt2",
    describe.Usage(
        ("torch_export.py",),
        "PyTorch alone opens it, of the same or a later version. Like a program, open it only from whom you trust.",
    ),
    holds_code=True,
)
LITERT = OfFramework(
    "litert",
    "model.tflite",
    describe.Usage(
        ("litert.py",),
        "On a telephone any LiteRT interpreter opens `model.tflite`; one image at once.",
        interface=partial(describe.prepared, rows="1"),
    ),
    holds_code=False,
)
