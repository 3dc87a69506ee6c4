"""Checkpoints: all that a resume needs in one safetensors file, replaced whole, so that there is always a good one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sortal.errors import BundleError
from sortal.files import write_bytes

Arrays = Mapping[str, NDArray[Any]]


def write(path: Path, state: Arrays, best: Arrays, loop: Mapping[str, Any]) -> None:
    """Save a session's state, the best weights so far and the loop's own numbers (JSON), replacing what stood there."""
    tensors = {f"state/{name}": np.asarray(array, order="C") for name, array in state.items()}
    tensors |= {f"best/{name}": np.asarray(array, order="C") for name, array in best.items()}
    write_bytes(path, save(tensors, metadata={"loop": json.dumps(loop)}))


def read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], dict[str, Any]]:
    """State, best weights and loop of a checkpoint; raises `BundleError` if the file is damaged."""
    state: dict[str, NDArray[Any]] = {}
    best: dict[str, NDArray[Any]] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            loop = json.loads(file.metadata()["loop"])
            for name in file.keys():  # noqa: SIM118 - not a mapping: it has keys() and no iterator
                kind, _, rest = name.partition("/")
                {"state": state, "best": best}[kind][rest] = file.get_tensor(name)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{path} is damaged: {error}", hint="delete that file, then --resume starts the training anew"
        ) from error
    return state, best, loop
