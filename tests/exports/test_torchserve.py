"""The archive in the real TorchServe, with Java: image files go in over HTTP, labels come out as `predict` says them."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sortal import workflows
from sortal.manifest import Manifest
from sortal.run import Run

TORCHSERVE = os.environ.get("SORTAL_TORCHSERVE") or shutil.which("torchserve")
SECONDS = 240.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        TORCHSERVE is None or shutil.which("java") is None,
        reason="needs Java and TorchServe (docs/exports.md): apt install default-jre-headless, pip install torchserve, "
        "on PATH or named in SORTAL_TORCHSERVE",
    ),
]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def asked(address: str, data: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


@contextlib.contextmanager
def serving(store: Path, place: Path) -> Iterator[str]:
    assert TORCHSERVE is not None
    ports = free_ports(3)
    names = ("inference", "management", "metrics")
    lines = [f"{name}_address=http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)]
    (place / "config.properties").write_text("\n".join([*lines, "default_workers_per_model=1", ""]))
    words = [
        TORCHSERVE, "--start", "--foreground", "--ncs", "--disable-token-auth", "--ts-config", str(place / "config.properties"),
        "--model-store", str(store), "--models", "classifier=classifier.mar",
    ]  # fmt: skip
    # Its workers start the Python that stands first on the path.
    environment = {**os.environ, "PATH": f"{Path(TORCHSERVE).parent}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(place)}
    with (place / "log").open("wb") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log, cwd=place, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + SECONDS
        while b"READY" not in asked(f"http://127.0.0.1:{ports[1]}/models/classifier")[1]:
            assert running.poll() is None, (place / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, (place / "log").read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{ports[0]}/predictions/classifier"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def test_torchserve_says_of_all_validation_images_what_predict_says(trained: Run, squares: Path, tmp_path: Path) -> None:
    workflows.export(trained.path, to="torchserve", out=tmp_path / "store")
    classifier = workflows.load(trained.path)
    paths = [squares / source for source in Manifest.load(trained.manifest).split("val").sources]
    (tmp_path / "ts").mkdir()
    with serving(tmp_path / "store", tmp_path / "ts") as address:
        answers = [asked(address, path.read_bytes()) for path in paths]
        refused = asked(address, b"no image")
    assert [status for status, _ in answers] == [200] * len(paths)
    found = [json.loads(body) for _, body in answers]
    assert [answer["label"] for answer in found] == classifier.predict(paths)
    likeliest_N = classifier.predict_proba(paths).max(axis=1)
    assert [answer["probability"] for answer in found] == pytest.approx(likeliest_N.tolist(), abs=1e-5)
    assert refused[0] == 400
    assert json.loads(refused[1]) == {"error": "not an image"}
