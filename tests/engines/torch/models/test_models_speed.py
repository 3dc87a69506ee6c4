"""Measuring networks on this machine."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from sortal.engines.torch.models import listing, speed
from sortal.errors import UnknownName

KEYS = {
    "training_images_per_second",
    "inference_images_per_second",
    "training_memory",
    "inference_memory",
    "batch_size",
    "image_size",
    "precision",
    "device",
}


def test_speeds_and_memory_are_measured():
    found = speed.measure("lenet5")
    assert set(found) == KEYS
    assert found["inference_images_per_second"] > found["training_images_per_second"] > 0
    assert found["training_memory"] >= found["inference_memory"] > 1_000_000
    assert (found["batch_size"], found["image_size"]) == (128, 32)


def test_a_process_that_is_killed_or_fails_is_an_error_in_the_row(monkeypatch):
    def ends_with(code, err):
        monkeypatch.setattr(subprocess, "run", lambda *a, **o: SimpleNamespace(returncode=code, stdout="", stderr=err))
        return speed.in_own_process("lenet5")

    assert ends_with(-9, "")["error"].startswith("ended by signal 9")
    assert ends_with(1, "noise\nout of memory\n") == {"error": "out of memory"}
    assert ends_with(1, "") == {"error": "ended without a word"}


def test_progress_is_told_and_an_unknown_name_is_an_error(monkeypatch):
    monkeypatch.setattr(speed, "in_own_process", lambda name: {"of": name})
    seen = []
    assert listing.measured(["lenet5", "compact"], seen.append) == {"lenet5": {"of": "lenet5"}, "compact": {"of": "compact"}}
    assert [(event.done, event.total) for event in seen] == [(0, 2), (1, 2), (2, 2)]
    with pytest.raises(UnknownName):
        listing.measured(["lenet6"], seen.append)


@pytest.mark.slow
def test_each_network_has_a_process_of_its_own():
    small, large = speed.in_own_process("lenet5"), speed.in_own_process("vgg11")
    assert small["training_memory"] + 1e9 < large["training_memory"], "130 million weights, their gradients and two moments"
    json.dumps([small, large])
