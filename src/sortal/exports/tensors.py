"""safetensors: weights as data, the network as plain PyTorch code written out by torch.export, and a loader of thirty lines."""

import importlib.util
import json
import sys
from collections.abc import Mapping
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
        describe.write_preprocess(folder)
        return {
            "model": [WEIGHTS, CODE, LOADER],
            "before": ["PyTorch and safetensors are needed, and no library of networks.", ""],
        }

    def open(self, folder: Path, about: Mapping[str, Any]) -> Answers:
        """By the export's own loader, which is code of this export: whoever opens it has checked its bytes."""
        model = _module(folder / LOADER).load(folder)
        preprocess = Preprocess.from_dict(about["preprocess"])

        def answers(images_NRRC: NDArray[np.uint8]) -> NDArray[np.float32]:
            images_NSSC = network_pixels(images_NRRC, preprocess)
            parts = [model(images_NSSC[start : start + AT_ONCE]) for start in range(0, len(images_NSSC), AT_ONCE)]
            return np.concatenate(parts)

        return answers

    def open_any_size(self, folder: Path) -> AnySize | None:
        return None


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"sortal_export_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    was = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a compiled file beside it would be a member that nobody listed
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = was
    return module


SAFETENSORS = Safetensors()
