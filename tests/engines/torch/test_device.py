"""The device that torch computes on, and the memory that a training on the processor keeps."""

import ctypes

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
