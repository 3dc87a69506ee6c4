"""A web export in a real browser: headless Chromium asks a server on this machine for pixels and sends probabilities back."""

import contextlib
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import NotSupported, ParityError
from sortal.exports.kind import Told

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
SECONDS = 120.0
"""Without a word from the browser; the runtime alone is 14 MB to compile, and the machine may be busy."""
POLL = 5.0
AT_ONCE = 64
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'"
"""What code of the page may reach: this server and nothing else. The runtime beside a page may be anybody's."""
PAGE = Path(__file__).parent / "page"
HARNESS = ("proof.html", "proof.js")


def program() -> str:
    """The browser that `SORTAL_BROWSER` names, or a Chromium; raises `NotSupported` where there is none."""
    found = os.environ.get("SORTAL_BROWSER") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise NotSupported(
            "an export for the web is proved in a browser, and no Chromium is here",
            hint="install one (Debian: apt install chromium), or name its program in SORTAL_BROWSER",
        )
    return found


@contextlib.contextmanager
def running(folder: Path, classes: int, *, novelty: bool) -> Iterator["Work"]:
    """The export of this folder in a browser; its rows hold probabilities and, where the model measures it, novelty."""
    work = Work(classes, novelty)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(folder, work))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}/proof.html"
    try:
        with _browser(address):
            yield work
    finally:
        work.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Work:
    """What the browser is to do next, and what it said."""

    def __init__(self, classes: int, novelty: bool) -> None:
        self.classes, self.numbers = classes, classes + novelty
        self.asked: queue.Queue[NDArray[np.uint8] | bytes] = queue.Queue()
        self.said: queue.Queue[NDArray[np.float32] | str] = queue.Queue()
        self.over = threading.Event()

    def answers(self, images_NRRC: NDArray[np.uint8]) -> Told:
        """Of stored pixels, uint8 (N, R, R, C)."""
        starts = range(0, len(images_NRRC), AT_ONCE)
        return self._told(np.concatenate([self._said(images_NRRC[start : start + AT_ONCE]) for start in starts]))

    def of_file(self, data: bytes) -> Told | None:
        """Of the bytes of an image file, decoded by the browser; None where it cannot."""
        rows_NR = self._said(data)
        return self._told(rows_NR) if len(rows_NR) else None

    def _said(self, asked: NDArray[np.uint8] | bytes) -> NDArray[np.float32]:
        self.asked.put(asked)
        try:
            found = self.said.get(timeout=SECONDS)
        except queue.Empty as error:
            raise ParityError(
                f"the browser said nothing for {SECONDS:.0f} s", hint="try again when the machine is less busy"
            ) from error
        if isinstance(found, str):
            raise ParityError(f"the export does not run in the browser: {found}", hint="nothing was left behind")
        return found

    def _told(self, rows_NR: NDArray[np.float32]) -> Told:
        return Told(rows_NR[:, : self.classes], rows_NR[:, -1] if self.numbers > self.classes else None)


def _handler(folder: Path, work: Work) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.partition("?")[0].lstrip("/")
            if name == "proof/next":
                self._next()
                return
            place = PAGE / name if name in HARNESS else folder / name
            # Names are those of the folder's own files, so that no address leads out of it.
            if name not in {*HARNESS, *os.listdir(folder)} or not place.is_file():
                self.send_error(404)
                return
            self._send(place.read_bytes(), TYPES.get(place.suffix, "application/octet-stream"))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/proof/answers":
                work.said.put(np.frombuffer(body, dtype="<f4").reshape(-1, work.numbers))
            else:
                work.said.put(body.decode(errors="replace")[:500])
            self._send(b"", "text/plain")

        def _next(self) -> None:
            try:
                asked = work.asked.get(timeout=POLL)
            except queue.Empty:
                self.send_response(410 if work.over.is_set() else 204)
                self.end_headers()
                return
            if isinstance(asked, bytes):
                self._send(asked, "application/octet-stream")
                return
            count, side, _, channels = asked.shape
            self._send(np.ascontiguousarray(asked).tobytes(), "application/octet-stream", shape=f"{count},{side},{channels}")

        def _send(self, body: bytes, kind: str, shape: str = "") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", POLICY)
            if shape:
                self.send_header("X-Shape", shape)
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the browser has gone
                super().handle()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    return Handler


@contextlib.contextmanager
def _browser(address: str) -> Iterator[None]:
    """A headless browser at an address, with a profile of its own; nothing of it stays."""
    root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [program(), *FLAGS, *root, f"--user-data-dir={profile}", address]
        running = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
