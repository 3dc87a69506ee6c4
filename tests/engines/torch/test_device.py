"""The device that torch computes on, and the memory that a training on the processor keeps."""

import ctypes
from pathlib import Path

import pytest
import torch

from sortal.engines.torch import device


def test_a_training_on_the_processor_keeps_what_it_has_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    called = list[tuple[int, int]]()
    library = type("Library", (), {"mallopt": staticmethod(lambda *words: called.append(words))})
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(device.sys, "platform", "linux")
    device.keep_memory(torch.device("cuda"))
    assert not called
    device.keep_memory(torch.device("cpu"))
    assert called == [(device.MMAP_MAX, 0), (device.TRIM_THRESHOLD, 2**31 - 1)]


def test_a_c_library_without_that_word_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    device.keep_memory(torch.device("cpu"))


def test_what_is_called_float32_is_float32_on_an_accelerator_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "accelerator", lambda: "cuda")
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        device.make_repeatable(False)
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark = before


def test_a_processor_is_told_by_its_name_and_its_instructions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    monkeypatch.setattr(device, "CPUINFO", told)
    monkeypatch.setattr(device, "accelerator", lambda: "")
    found = []
    for flags in ("fma avx2", "fma avx2 amx_bf16"):
        told.write_text(f"processor\t: 0\nmodel name\t: A Processor\nflags\t\t: {flags}\n")
        found.append(device.machine())
    assert [machine.name for machine in found] == ["A Processor"] * 2
    assert found[0].instructions != found[1].instructions
    told.unlink()
    assert device.machine().name
