"""safetensors: weights as data, the network as plain PyTorch code written out by torch.export, and a loader of thirty lines."""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.exports import describe
from sortal.exports.code import imported, require_arithmetic, require_ours
from sortal.exports.kind import FLOAT32, Answers, AnySize, Order, Told
from sortal.preprocess import Preprocess, network_pixels

WEIGHTS, CODE, LOADER = "model.safetensors", "network.py", "loader.py"
AT_ONCE = 32


class Safetensors:
    """`model.safetensors` opens everywhere; `network.py` says what to compute with it, and `loader.py` joins the two."""

    precisions = (FLOAT32,)
    holds_code = False
    usage = describe.Usage(
        examples=("safetensors.py",),
        before="PyTorch and safetensors are needed, and no library of networks; `loader.py` gives the weights to `network.py`.",
        ours="`loader.py`, `preprocess.py`, `decision.py` and the program above",
    )

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        order.engine().export(order.bundle, folder, "code", json.dumps(order.about, ensure_ascii=False))
        (folder / LOADER).write_text(describe.example("loader.py"), encoding="utf-8")
        describe.write_modules(folder)
        return {"model": [WEIGHTS, CODE, LOADER]}

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        """By the export's own loader, which must be ours; the network's code must be arithmetic and nothing else."""
        require_ours(folder / LOADER, describe.example(LOADER))
        require_arithmetic(folder / CODE)
        model = imported(folder / LOADER).load(folder)
        preprocess = Preprocess.from_dict(about["preprocess"])

        def answers(images_NRRC: NDArray[np.uint8]) -> Told:
            images_NSSC = network_pixels(images_NRRC, preprocess)
            starts = range(0, len(images_NSSC), AT_ONCE)
            return Told.joined(Told.of(model(images_NSSC[start : start + AT_ONCE])) for start in starts)

        yield answers

    def open_any_size(self, folder: Path, about: Mapping[str, Any]) -> AbstractContextManager[AnySize] | None:
        return None


SAFETENSORS = Safetensors()
