"""The real TorchServe with one archive in it, from when its model is ready until it is ended."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

READY = 240.0
"""Seconds until its model answers, at most: Java and PyTorch start slowly where others work as well."""
ANSWER = 60.0
STOP = 30.0


@contextlib.contextmanager
def serving(program: str | Path, store: Path, place: Path) -> Iterator[str]:
    """The address that takes images for `store`/classifier.mar; raises `RuntimeError` with the end of its log.

    `program` is `torchserve` of an environment; `place` is an empty folder for its settings, its log and its temporary files.
    """
    ports = free_ports(3)
    names = ("inference", "management", "metrics")
    lines = [f"{name}_address=http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)]
    (place / "config.properties").write_text("\n".join([*lines, "default_workers_per_model=1", ""]))
    words = [
        str(program), "--start", "--foreground", "--ncs", "--disable-token-auth",
        "--ts-config", str(place / "config.properties"),
        "--model-store", str(store), "--models", "classifier=classifier.mar",
    ]  # fmt: skip
    # Its workers start the Python that stands first on the path; and nothing of ours is importable there.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(place)}
    with (place / "log").open("wb") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log, cwd=place, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + READY
        while b"READY" not in asked(f"http://127.0.0.1:{ports[1]}/models/classifier")[1]:
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"TorchServe did not get ready: {_why(place / 'log')}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{ports[0]}/predictions/classifier"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(STOP)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def _why(log: Path) -> str:
    """The end of what its workers said; what it answered and counted would fill the log by itself."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if "MODEL_LOG" in line or "ERROR" in line)[-2000:]


def asked(address: str, data: bytes | None = None, kind: str = "application/octet-stream") -> tuple[int, bytes]:
    """Status and body of an answer; status 0 where nobody answers."""
    request = urllib.request.Request(address, data=data, headers={"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
