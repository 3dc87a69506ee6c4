"""A bundle: a trained model that needs nothing else. Members are checked by list, size and SHA-256 before they are parsed."""

import hashlib
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal import sealed
from sortal.decision import ALWAYS_THE_LIKELIEST, Conformal, DecisionRule, Novelty
from sortal.errors import BundleError
from sortal.files import full_disk_explained, sync, unfinished_name, write_bytes
from sortal.preprocess import Preprocess
from sortal.sealed import Seal

FORMAT = 1
GRAPH = "model.onnx"
WEIGHTS = "weights.safetensors"
ABOUT = "bundle.json"
MEMBERS = {GRAPH, WEIGHTS}
METHODS = ("none", "temperature", "vector", "isotonic")
"""Words for how probabilities were calibrated, from the simplest to the most flexible; the graph does it."""
SEAL = Seal("bundle", ABOUT, "sortal train")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that has been checked.

    Attributes:
        path: its folder.
        classes: names in index order.
        preprocess: how an image becomes what the graph takes.
        temperature: what logits are divided by before the softmax or sigmoid (inside the graph); 1 where another calibration
            was chosen, or none.
        task: 'multi-class' or 'multi-label'.
        thresholds: of several labels an image, the probability from which each is said; empty for one label an image.
        about: all of `bundle.json`: recipe, provenance, parity, scores.
        decision: when a label is said, and which; see `labels`.
        conformal: sets of classes that hold the true one with a wanted frequency; None where nothing was held out.
        novelty: what the graph's output `novelty` means; None where the graph has none.
    """

    path: Path
    classes: tuple[str, ...]
    preprocess: Preprocess
    temperature: float
    task: str
    thresholds: tuple[float, ...]
    about: Mapping[str, Any]
    decision: DecisionRule = ALWAYS_THE_LIKELIEST
    conformal: Conformal | None = None
    novelty: Novelty | None = None

    def labels(
        self, probs_NK: NDArray[np.floating[Any]], distances_N: NDArray[np.floating[Any]] | None = None
    ) -> list[str | None]:
        """What is said of N images with one label each: a class, or None where the model abstains.

        `distances_N` is the graph's output `novelty`; without it nothing counts as novel.
        """
        shares_N = None if self.novelty is None or distances_N is None else self.novelty.shares(distances_N)
        return self.decision.labels(probs_NK, self.classes, shares_N)

    @property
    def graph(self) -> Path:
        return self.path / GRAPH

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    @classmethod
    def load(cls, path: Path) -> "Bundle":
        """Open and check a bundle; raises `BundleError` if a member is missing, extra or changed."""
        about = SEAL.read(path)
        try:
            if about["format"] != FORMAT:
                raise BundleError(
                    f"{path} has bundle format {about['format']!r}", hint="use the version of sortal that wrote it"
                )
            if set(about["members"]) != MEMBERS:
                raise BundleError(f"{path / ABOUT} lists other members than {sorted(MEMBERS)}", hint=SEAL.cure)
            SEAL.check(path, about["members"])
            classes = _classes(about["classes"])
            conformal = _calibration(about.get("calibration"))
            return cls(
                path=path,
                classes=classes,
                preprocess=Preprocess.from_dict(about["preprocess"]),
                temperature=_temperature(about["temperature"]),
                task=_task(about.get("task", "multi-class")),
                thresholds=_thresholds(about.get("thresholds", []), len(classes) if about.get("task") == "multi-label" else 0),
                about=about,
                decision=DecisionRule.parse(about["decision"], classes=len(classes))
                if "decision" in about
                else ALWAYS_THE_LIKELIEST,
                conformal=None if conformal is None else Conformal.parse(conformal),
                novelty=None if about.get("novelty") is None else Novelty.parse(about["novelty"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"{path / ABOUT} is damaged: {error!r}", hint=SEAL.cure) from error


def write(path: Path, *, graph: bytes, weights: bytes, about: Mapping[str, Any]) -> Bundle:
    """Write a bundle, whole or not at all: into a folder beside `path` that is renamed when all of it is on the disk.

    `about` gives classes, preprocess (as a dict), temperature and whatever else is to be known.
    """
    members = {GRAPH: graph, WEIGHTS: weights}
    # Of what was to be written, not of what was: so the check at the end notices a disk that lost some of it.
    listed = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()}
    part = unfinished_name(path)
    with full_disk_explained(path):
        try:
            for name, data in members.items():
                write_bytes(part / name, data)
            write_bytes(part / ABOUT, sealed.text({"format": FORMAT, **about}, listed))
            if path.exists():  # an unfinished run's bundle, written by the attempt that was interrupted
                shutil.rmtree(path)
            os.replace(part, path)
            sync(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return Bundle.load(path)


def _classes(names: Any) -> tuple[str, ...]:
    strings = isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)
    if not strings or len(set(names)) != len(names):
        raise ValueError(f"classes must be a list of different names, got {str(names)[:200]}")
    return tuple(names)


def _temperature(value: Any) -> float:
    temperature = float(value)
    if not (isinstance(value, int | float) and math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be a number above zero, got {value!r}")
    return temperature


def _task(value: Any) -> str:
    if value not in ("multi-class", "multi-label"):
        raise ValueError(f"task must be multi-class or multi-label, got {str(value)[:200]!r}")
    return str(value)


def _thresholds(values: Any, count: int) -> tuple[float, ...]:
    numbers = isinstance(values, list) and all(type(value) in (int, float) and 0 <= value <= 1 for value in values)
    if not numbers or len(values) != count:
        raise ValueError(f"thresholds must be {count} numbers from 0 to 1, got {str(values)[:200]}")
    return tuple(map(float, values))


def _calibration(value: Any) -> Any:
    """What stands under `conformal` in a description of the calibration; bundles of older versions have none."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("method") not in METHODS:
        raise ValueError(f"calibration.method must be one of {', '.join(METHODS)}")
    return value.get("conformal")
