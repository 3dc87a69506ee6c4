"""The web: a folder with a page, the graph and onnxruntime-web, for any web server; no image leaves the visitor's machine."""

import base64
import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sortal.data.download import fetch
from sortal.data.official import OfficialFile
from sortal.data.store import Cache
from sortal.errors import DataError
from sortal.exports import browser, describe
from sortal.exports.code import require_ours
from sortal.exports.graphs import IMAGE, described, of_any_size
from sortal.exports.kind import FLOAT32, INT8, Answers, AnySize, Order
from sortal.exports.onnx import model_of

VERSION = "1.30.0"
PACKAGE = OfficialFile(
    f"onnxruntime-web-{VERSION}.tgz",
    "7677e2cac4b2d0a14154aef901cdab13",
    (f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz",),
)
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""SHA-512 of that file as the registry publishes it, in base64."""
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
PAGES = ("index.html", "page.js", "classify.js", "style.css")
MODEL, ABOUT = "model.onnx", "model.json"
LARGEST = 64 << 20
"""Bytes of one file of the runtime, at most."""


BEFORE = (
    "Put the folder on any web server; a page opened as a file cannot load the runtime. `onnxruntime-web` {runtime[version]} "
    "(MIT, Microsoft) lies beside the page, nothing is loaded from elsewhere, and the content security policy of `index.html` "
    "lets nothing out. Below the commands is a page of your own: put it beside `classify.js`, in a copy of the folder, since "
    "sortal opens no export to which a file was added."
)


def _interface(about: Mapping[str, Any]) -> list[str]:
    return [
        f"`index.html` takes any image file that the browser reads. `pixelsOf` in `classify.js` decodes it; the `{IMAGE}` of "
        f"`{MODEL}` {describe.of_any_size(about)}"
    ]


class Web:
    """`index.html` classifies what is dropped on it; everything it needs lies beside it."""

    precisions = (FLOAT32, INT8)
    holds_code = False
    usage = describe.Usage(
        examples=("web.console", "web.html"),
        before=BEFORE,
        interface=_interface,
        decided_by="`decide` in `classify.js` reads it",
        proved="The page's own code was run in headless Chromium",
        ours="The page, its style and its scripts, but not `onnxruntime-web`,",
    )

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        browser.program()  # raises where there is none to prove it in
        version = _runtime(folder, order)
        model, decided = model_of(order)
        (folder / MODEL).write_bytes(described(of_any_size(model, order.bundle.preprocess), order.about))
        (folder / ABOUT).write_text(json.dumps(order.about, ensure_ascii=False, indent=2), encoding="utf-8")
        for name in PAGES:
            (folder / name).write_bytes((browser.PAGE / name).read_bytes())
        return {
            "model": [MODEL],
            "runtime": {"name": "onnxruntime-web", "version": version, "licence": "MIT"},
            **decided,
        }

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        with _opened(folder, about) as work:
            yield work.answers

    @contextmanager
    def open_any_size(self, folder: Path, about: Mapping[str, Any]) -> Iterator[AnySize]:
        """Files through the page's own decoding."""
        with _opened(folder, about) as work:
            yield work.of_file


@contextmanager
def _opened(folder: Path, about: Mapping[str, Any]) -> Iterator[browser.Work]:
    for name in PAGES:
        require_ours(folder / name, (browser.PAGE / name).read_bytes().decode())
    with browser.running(folder, len(about["classes"]), novelty=about.get("novelty") is not None) as work:
        yield work


def _runtime(folder: Path, order: Order) -> str:
    """Put onnxruntime-web into the folder: the user's own, or that of the registry, kept in the cache; returns its version."""
    given = order.runtime
    if given is None:
        given = _downloaded(order)
    try:
        files = _of_folder(given) if given.is_dir() else _of_archive(given)
        version = str(json.loads(files.pop("package.json"))["version"])
    except (OSError, KeyError, ValueError, tarfile.TarError, EOFError) as error:
        raise DataError(
            f"{given} is not the package onnxruntime-web: {error}",
            hint=f"name what `npm pack onnxruntime-web@{VERSION}` wrote, or node_modules/onnxruntime-web",
        ) from error
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return version


def _downloaded(order: Order) -> Path:
    place = Cache.default().root / "runtimes"
    try:
        path = fetch([PACKAGE], place, observe=order.observe) / PACKAGE.name
    except DataError as error:
        raise DataError(
            f"{error}", hint=f"without a network, run `npm pack onnxruntime-web@{VERSION}` elsewhere and name it with --runtime"
        ) from error
    with path.open("rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if found != INTEGRITY:
        raise DataError(f"{path} is not the published file: its SHA-512 differs", hint="remove it, and it is downloaded again")
    return path


def _of_folder(package: Path) -> dict[str, bytes]:
    return {"package.json": (package / "package.json").read_bytes()} | {
        name: (package / "dist" / name).read_bytes() for name in RUNTIME
    }


def _of_archive(package: Path) -> dict[str, bytes]:
    """Only the members that are wanted, by their names, and never onto the disk."""
    wanted = {"package/package.json": "package.json"} | {f"package/dist/{name}": name for name in RUNTIME}
    found = {}
    with tarfile.open(package, "r:gz") as archive:
        for member in archive:
            if member.name in wanted and member.isfile() and member.size <= LARGEST:
                content = archive.extractfile(member)
                assert content is not None
                found[wanted[member.name]] = content.read()
    missing = set(wanted.values()) - set(found)
    if missing:
        raise KeyError(f"it has no {' and no '.join(sorted(missing))}")
    return found


WEB = Web()
