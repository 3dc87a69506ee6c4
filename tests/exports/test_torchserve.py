"""The archive in the real TorchServe, with Java: image files go in over HTTP, labels come out as `predict` says them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.torchserve import asked, serving
from sortal import workflows
from sortal.manifest import Manifest
from sortal.run import Run

TORCHSERVE = os.environ.get("SORTAL_TORCHSERVE") or shutil.which("torchserve")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        TORCHSERVE is None or shutil.which("java") is None,
        reason="needs Java and TorchServe (docs/exports.md): apt install default-jre-headless, pip install torchserve, "
        "on PATH or named in SORTAL_TORCHSERVE",
    ),
]


def test_torchserve_says_of_all_validation_images_what_predict_says(trained: Run, squares: Path, tmp_path: Path) -> None:
    workflows.export(trained.path, to="torchserve", out=tmp_path / "store")
    classifier = workflows.load(trained.path)
    paths = [squares / source for source in Manifest.load(trained.manifest).split("val").sources]
    (tmp_path / "ts").mkdir()
    assert TORCHSERVE is not None
    with serving(TORCHSERVE, tmp_path / "store", tmp_path / "ts") as address:
        answers = [asked(address, path.read_bytes()) for path in paths]
        refused = asked(address, b"no image")
        parsed = [asked(address, body, "application/json")[0] for body in (b"1000000000000", b"[137, 80, 78]", b"{}", b"{")]
    assert [status for status, _ in answers] == [200] * len(paths)
    found = [json.loads(body) for _, body in answers]
    assert [answer["label"] for answer in found] == classifier.predict(paths)
    likeliest_N = classifier.predict_proba(paths).max(axis=1)
    assert [answer["probability"] for answer in found] == pytest.approx(likeliest_N.tolist(), abs=1e-5)
    assert refused[0] == 400
    assert json.loads(refused[1]) == {"error": "not an image"}
    assert parsed == [400] * 4
