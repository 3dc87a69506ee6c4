"""A small bundle made by hand, a server for it as a process of its own, and raw connections to that."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.harness import surroundings
from sortal import bundle
from sortal.bundle import Bundle
from sortal.preprocess import Preprocess

CLASSES = ("red", "green", "blue")
SIDE = 8
SECONDS = 90.0
"""Until a server has started; the machine may be busy."""


def graph(
    *, classes: int = 3, side: int = SIDE, sharpness: float = 8.0, opset: int = 17, extra: Mapping[str, Any] | None = None
) -> bytes:
    """An ONNX graph that says of which colour an image has most: (N, S, S, 3) uint8 to (N, K) float32."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.eye(3, classes, dtype=np.float32) * sharpness / 255
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    made = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", side, side, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model.SerializeToString()


def about(**changes: Any) -> dict[str, Any]:
    """What `bundle.json` says of that graph."""
    values = {
        "classes": list(CLASSES),
        "preprocess": Preprocess(size=SIDE, resize=SIDE).to_dict(),
        "temperature": 1.0,
        "task": "multi-class",
    }
    return {**values, **changes}


def colour_bundle(path: Path, **changes: Any) -> Bundle:
    """Write it."""
    return bundle.write(path, graph=graph(), weights=b"none", about=about(**changes))


def picture(colour: str = "red", kind: str = "PNG", size: tuple[int, int] = (20, 16), **options: Any) -> bytes:
    """One picture of one colour as a file's bytes."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


class Served:
    """A server that runs, and how to speak to it byte by byte."""

    def __init__(self, port: int, process: "subprocess.Popen[str]", lines: list[str]) -> None:
        self.port, self.process, self.lines = port, process, lines

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """What it wrote to standard error so far."""
        return "".join(self.lines)

    def connect(self, seconds: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def exchange(self, request: bytes, *, seconds: float = 10.0, half: bool = False) -> bytes:
        """Send bytes as they are, close our half if asked to, and give all that comes back until the answer is whole."""
        with self.connect(seconds) as connection:
            connection.sendall(request)
            if half:
                connection.shutdown(socket.SHUT_WR)
            return answer(connection)

    def memory(self) -> int:
        """Resident bytes of the server and its decoders."""
        pids = [self.process.pid, *children(self.process.pid)]
        return sum(resident(pid) for pid in pids)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


def answer(connection: socket.socket) -> bytes:
    """One answer's bytes: its head, and as much body as the head says; less where the connection is closed."""
    data = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return data
            data += part
        length = re.search(rb"\r\ncontent-length: *(\d+)", data, re.IGNORECASE)
        wanted = data.index(b"\r\n\r\n") + 4 + int(length[1] if length else 0)
        while len(data) < wanted:
            part = connection.recv(65536)
            if not part:
                break
            data += part
    return data


def status(data: bytes) -> int:
    """The status of an answer; 0 where there is none."""
    found = re.match(rb"HTTP/1\.1 (\d{3})", data)
    return int(found[1]) if found else 0


def post(path: str, body: bytes, kind: str = "image/png", headers: Mapping[str, str] | None = None, **changes: str) -> bytes:
    """The bytes of a request."""
    fields = {"host": "localhost", "content-type": kind, "content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@contextlib.contextmanager
def served(*words: object, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """`sortal serve` with these words, as a process of its own, on a port that is free."""
    command = [sys.executable, "-m", "sortal.cli.main", "serve", *map(str, words), "--port", "0"]
    process = subprocess.Popen(command, env=surroundings(environment), stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda stream: lines.extend(iter(stream.readline, "")), args=(process.stderr,))
    reader.start()
    try:
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"serving on http://\S+:(\d+)", "".join(lines))):
            assert process.poll() is None, "".join(lines)
            assert time.monotonic() < deadline, "".join(lines)
            time.sleep(0.02)
        yield Served(int(found[1]), process, lines)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


def children(pid: int) -> list[int]:
    """Processes that this one started."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 for one that has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
