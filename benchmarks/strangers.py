"""Exports as a stranger opens them, without sortal: by the program in their README, in the real server, in a browser."""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks import torchserve
from benchmarks.harness import CommandFailed, ran

Said = tuple[str, ...]
"""The labels that are said of an image, sorted; none where the model is silent."""


class NotRun(Exception):
    """An export that cannot be opened here; the message says why."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What an export said of image files in a runtime of its own."""

    by: str
    """What opened it: a package and its version, a server, a browser."""
    said: Mapping[str, Said]
    """By name of the file; what could not be read there is absent."""


@dataclass(frozen=True, slots=True)
class Runtimes:
    """What there is to open exports with, besides the Python that runs the benchmark; None where it was not named."""

    bare: Path | None = None
    """The Python of an environment with PyTorch, for its own two formats."""
    litert: Path | None = None
    """The Python of an environment with ai-edge-litert."""
    torchserve: Path | None = None
    """The program `torchserve` of an environment that has what a handler needs."""


def opened(kind: str, folder: Path, images: Sequence[Path], runtimes: Runtimes) -> Opened:
    """What an export of this kind says of image files; raises `NotRun` with the reason."""
    return OPENERS[kind](folder, images, runtimes)


# The program is the export's own, run where it lies, as its README says; that sortal cannot be imported is made sure of here,
# since some of these environments have it to write exports.
LAUNCH = (
    "import runpy, sys; sys.modules['sortal'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def _by_program(folder: Path, images: Sequence[Path], python: Path, package: str) -> Opened:
    """`example.py` of an export in a Python that has a package."""
    # Neither is our checkout on its path.
    outside = {"PYTHONPATH": ""}
    asking = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    try:
        version = ran([python, "-c", asking, package], environment=outside).stdout.strip()
    except (CommandFailed, OSError) as error:
        raise NotRun(f"{python} has no {package}") from error
    words = [python, "-W", "ignore", "-c", LAUNCH, "example.py", *images]
    done = subprocess.run(
        [*map(str, words)], cwd=folder, env={**os.environ, **outside}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise CommandFailed(f"{folder.name}/example.py ended with {done.returncode}: {done.stderr[-2000:]}")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return Opened(f"{package} {version}", {Path(row["source"]).name: told(row["said"]) for row in rows})


def _named(python: Path | None, option: str) -> Path:
    if python is None:
        raise NotRun(f"{option} names no environment to open it in")
    return python


def _here(package: str) -> Callable[[Path, Sequence[Path], Runtimes], Opened]:
    return lambda folder, images, _: _by_program(folder, images, Path(sys.executable), package)


def _bare(folder: Path, images: Sequence[Path], runtimes: Runtimes) -> Opened:
    return _by_program(folder, images, _named(runtimes.bare, "--bare"), "torch")


def _litert(folder: Path, images: Sequence[Path], runtimes: Runtimes) -> Opened:
    return _by_program(folder, images, _named(runtimes.litert, "--litert"), "ai-edge-litert")


def _torchserve(folder: Path, images: Sequence[Path], runtimes: Runtimes) -> Opened:
    """Every file over HTTP, one after the other."""
    program = _named(runtimes.torchserve, "--torchserve")
    if shutil.which(program) is None:
        raise NotRun(f"{program} is no program")
    if shutil.which("java") is None:
        raise NotRun("TorchServe needs Java, and there is none")
    said = {}
    with (
        tempfile.TemporaryDirectory(prefix="torchserve-") as place,
        torchserve.serving(program, folder, Path(place)) as address,
    ):
        for path in images:
            status, body = torchserve.asked(address, path.read_bytes())
            if status == 200:
                answer = json.loads(body)
                said[path.name] = told(answer["labels"] if "labels" in answer else [answer["label"]])
            elif status != 400:
                raise CommandFailed(f"TorchServe answered {path.name} with {status}: {body[:300]!r}")
    return Opened("TorchServe, over HTTP", said)


PAGE = """<!doctype html>
<meta charset="utf-8">
<title>A stranger's page</title>
<script type="module">
import { classify, decide, open, pixelsOf } from "./classify.js";

const tell = (path, found) => fetch(path, { method: "POST", body: JSON.stringify(found) });
async function all() {
  const model = await open();
  const said = {};
  for (const name of await (await fetch("photographs.json")).json()) {
    const pixels = await pixelsOf(await (await fetch(`photographs/${name}`)).blob()).catch(() => null);
    if (pixels === null) continue; // this browser does not read it
    const found = decide(model.about, await classify(model, pixels));
    said[name] = model.about.classes.filter((_, k) => found[k]);
  }
  return said;
}
all().then((said) => tell("said", said), (error) => tell("failed", `${error.message || error}`));
</script>
"""
BROWSED = 900.0
"""Seconds for all images in a browser, at most."""


def _web(folder: Path, images: Sequence[Path], runtimes: Runtimes) -> Opened:
    """The export on a plain web server, in a page of one's own as its README shows it, in headless Chromium."""
    from sortal.errors import NotSupported
    from sortal.exports.browser import FLAGS, program

    try:
        browser = program()
    except NotSupported as error:
        raise NotRun(str(error)) from error
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="web-", ignore_cleanup_errors=True) as place:
        site = Path(place) / "site"
        shutil.copytree(folder, site)
        (site / "photographs").mkdir()
        for path in images:
            shutil.copyfile(path, site / "photographs" / path.name)
        (site / "photographs.json").write_text(json.dumps([path.name for path in images]))
        (site / "stranger.html").write_text(PAGE)
        with _site(site) as (address, answers):
            words = [browser, *FLAGS, *root, f"--user-data-dir={place}/profile", f"{address}/stranger.html"]
            running = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                if not answers.come.wait(BROWSED):
                    raise CommandFailed(f"the browser did not finish in {BROWSED:.0f} s")
            finally:
                running.terminate()
                running.wait(20)
    if "said" not in answers.found:
        raise CommandFailed(f"the page failed: {answers.found}")
    return Opened("Chromium", {name: told(labels) for name, labels in answers.found["said"].items()})


class Answers:
    """What the page told, and whether it has."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.come = threading.Event()


class Site(SimpleHTTPRequestHandler):
    """Files, and what the page posts."""

    def __init__(self, *words: Any, answers: Answers, **more: Any) -> None:
        self.answers = answers
        super().__init__(*words, **more)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answers.found[self.path.strip("/")] = json.loads(body)
        self.send_response(204)
        self.end_headers()
        self.answers.come.set()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        pass


@contextlib.contextmanager
def _site(folder: Path) -> Iterator[tuple[str, Answers]]:
    answers = Answers()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Site, answers=answers, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


OPENERS: Mapping[str, Callable[[Path, Sequence[Path], Runtimes], Opened]] = {
    "onnx": _here("onnxruntime"),
    "openvino": _here("openvino"),
    "safetensors": _here("safetensors"),
    "torchscript": _bare,
    "torch-export": _bare,
    "litert": _litert,
    "torchserve": _torchserve,
    "web": _web,
}


def told(labels: Sequence[str | None]) -> Said:
    """Labels without an order, and None for nothing."""
    return tuple(sorted(label for label in labels if label is not None))


def photographs(run: Path, place: Path, most: int) -> list[Path]:
    """The files of a run's validation images, `most` of them at most, evenly taken; each under a name of its own in `place`."""
    from sortal.data.sources import open_source
    from sortal.manifest import Manifest

    manifest = Manifest.load(run / "manifest.parquet").used.split("val")
    sources = manifest.sources[:: max(1, -(-len(manifest.sources) // most))]
    found = []
    with contextlib.closing(open_source(Path(manifest.root))) as source:
        for number, name in enumerate(sources):
            path = place / f"{number:05d}{Path(name).suffix or '.png'}"
            path.write_bytes(source.read(name))
            found.append(path)
    return found


def predicted(command: Sequence[str], images: Sequence[Path]) -> dict[str, Said]:
    """What `sortal predict` says of each file that it can read."""
    answer = ran([*command, *images], codes=(0, 1)).answer()
    return {
        Path(row["source"]).name: told(row["labels"] if "labels" in row else [row["label"]]) for row in answer["predictions"]
    }
