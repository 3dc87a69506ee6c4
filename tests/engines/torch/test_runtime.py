"""Choosing the runtime of a frozen part: the fastest of those that agree, in a second of measuring."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from sortal.engines import openvino
from sortal.engines.torch import device as devices
from sortal.engines.torch import runtime
from sortal.errors import NotSupported


class Made:
    """A frozen part whose runtimes take as long, and are as far off, as they are told to be."""

    image_shape = (224, 224, 3)

    class recipe:  # noqa: N801 - stands for a field
        threads = 1

    def __init__(self, seconds: dict[str, float], *, off: float = 0.0, missing: tuple[str, ...] = ()) -> None:
        self.seconds, self.off, self.missing = seconds, off, missing
        self.runs: list[str] = []

    def made(self, name: str) -> runtime.Run:
        if name in self.missing:
            raise NotSupported(f"{name} has no word for it")

        def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            self.runs.append(name)
            time.sleep(self.seconds[name])
            return np.full((len(images), 4), 1 + (self.off if name.endswith("bf16") else 0), np.float32)

        return run


@pytest.fixture(autouse=True)
def both_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "installed", lambda: True)
    monkeypatch.setattr(openvino, "computes_bf16", lambda: True)
    monkeypatch.setattr(devices, "accelerator", lambda: "")


def chosen(made: Made) -> tuple[str, str]:
    return runtime.fastest_runtime(made)  # type: ignore[arg-type]


def test_the_fastest_runtime_is_taken_and_the_reason_has_all_rates() -> None:
    name, why = chosen(Made({"openvino": 0.02, "onnx": 0.001, "openvino_bf16": 0.02}))
    assert name == "onnx"
    assert all(f"{each} " in why for each in ("openvino", "onnx", "openvino_bf16"))


def test_bf16_is_taken_only_where_it_agrees() -> None:
    seconds = {"openvino": 0.02, "onnx": 0.02, "openvino_bf16": 0.001}
    assert chosen(Made(seconds, off=0.01))[0] == "openvino_bf16"
    name, why = chosen(Made(seconds, off=0.03))
    assert name != "openvino_bf16"
    assert "openvino_bf16 was left out: its outputs are up to 3.0% from those in float32" in why


def test_what_cannot_be_a_graph_runs_in_torch_and_the_reason_says_why() -> None:
    name, why = chosen(Made({"torch": 0.001}, missing=("openvino", "onnx")))
    assert (name, "onnx has no word for it" in why) == ("torch", True)


def test_on_an_accelerator_only_torch_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "accelerator", lambda: "cuda")
    made = Made({"torch": 0.002, "torch_bf16": 0.001})
    assert chosen(made)[0] == "torch_bf16"
    assert set(made.runs) == {"torch", "torch_bf16"}


def test_measuring_ends_when_its_second_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "SECONDS", 0.05)
    made = Made({"openvino": 0.06, "onnx": 0.001, "openvino_bf16": 0.001})
    name, why = chosen(made)
    assert name == "openvino"
    assert "onnx was not tried" in why
    assert made.runs.count("openvino") <= 2  # once for the clock, once as what bf16 is compared with


def test_one_that_is_far_behind_is_run_once() -> None:
    made = Made({"openvino": 0.002, "onnx": 0.1, "openvino_bf16": 0.002})
    assert chosen(made)[0].startswith("openvino")
    assert made.runs.count("onnx") == 1


def test_the_distance_is_that_of_the_worst_image() -> None:
    exact = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32)
    assert runtime.furthest(exact + np.array([[0, 0], [0, 0.5]], np.float32), exact) == pytest.approx(0.25)
