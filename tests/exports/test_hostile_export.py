"""An export from a stranger: whatever was changed in it is refused with a BundleError, before any of it is parsed or run."""

import contextlib
import json
import os
import pickle
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sortal import sealed
from sortal.errors import BundleError
from sortal.exports import browser, describe, torchserve, web
from sortal.exports.code import imported, require_arithmetic, require_ours
from sortal.exports.model import Export, seal
from sortal.preprocess import Preprocess

ABOUT = {
    "kind": "safetensors",
    "precision": "float32",
    "classes": ["ant", "bee"],
    "preprocess": Preprocess(size=8, resize=9).to_dict(),
    "model": ["model.safetensors"],
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "loader.py").write_text("raise SystemExit('executed')")
    seal(folder, ABOUT)
    return folder


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    about = json.loads((path / "export.json").read_text())
    change(about)
    (path / "export.json").write_text(json.dumps(about))


def refused(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Export.load(path)
    assert caught.value.hint, "an error says what to do about it"
    return str(caught.value)


def test_an_export_that_nobody_touched_is_checked_and_none_of_it_runs(good: Path) -> None:
    found = Export.load(good)
    assert (found.kind, found.classes, found.preprocess) == ("safetensors", ("ant", "bee"), Preprocess(size=8, resize=9))


@pytest.mark.parametrize("member", ["model.safetensors", "loader.py"])
def test_one_changed_byte_is_refused(good: Path, member: str) -> None:
    data = bytearray((good / member).read_bytes())
    data[3] ^= 1
    (good / member).write_bytes(data)
    assert "SHA-256" in refused(good)


@pytest.mark.parametrize("member", ["model.safetensors", "loader.py"])
@pytest.mark.parametrize("how", ["missing", "truncated", "longer", "link", "folder", "pipe"])
def test_a_member_that_is_not_the_file_that_was_written_is_refused(good: Path, tmp_path: Path, member: str, how: str) -> None:
    place = good / member
    if how == "truncated":
        os.truncate(place, 3)
    elif how == "longer":
        place.write_bytes(place.read_bytes() + b"x")
    else:
        shutil.move(place, tmp_path / "elsewhere")
        make = {
            "link": lambda: place.symlink_to(tmp_path / "elsewhere"), "folder": place.mkdir, "pipe": lambda: os.mkfifo(place),
            "missing": lambda: None,
        }  # fmt: skip
        make[how]()
    assert member in refused(good)


@pytest.mark.parametrize(
    "name", ["code.py", ".hidden", "model.safetensors.bak", "__pycache__/loader.cpython-311.pyc", "preprocess.py"]
)
def test_a_file_that_is_not_listed_is_refused_by_name(good: Path, name: str) -> None:
    (good / name).parent.mkdir(exist_ok=True)
    (good / name).write_bytes(b"")
    assert name.split("/")[0] in refused(good)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "a\0b", "export.json"])
def test_a_listed_name_that_is_a_path_is_refused_before_it_is_looked_at(good: Path, name: str) -> None:
    rewrite(good, lambda about: about["members"].update({name: {"bytes": 1, "sha256": ""}}))
    refused(good)


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling link"])
def test_an_export_json_that_is_no_file_is_refused(good: Path, kind: str) -> None:
    about = good / "export.json"
    about.unlink()
    {"pipe": os.mkfifo, "folder": os.mkdir, "dangling link": lambda path: path.symlink_to("nowhere")}[kind](about)
    refused(good)


def test_an_export_json_larger_than_any_of_ours_is_refused_unread(good: Path) -> None:
    os.truncate(good / "export.json", sealed.LARGEST_ABOUT + 1)  # sparse: takes no room
    assert "larger" in refused(good)


@pytest.mark.parametrize(
    "data",
    [b"[" * 200_000, b'{"a":' * 100_000, b"", b"{", b"null", b"[]", b"7", b'"x"', b"\x00", b"{}", b"\xff\xfe\x00", b"9" * 5000],
    ids=[
        "deep list",
        "deep object",
        "empty",
        "unfinished",
        "null",
        "list",
        "number",
        "string",
        "zero",
        "no keys",
        "utf-16",
        "digits",
    ],
)
def test_an_export_json_that_describes_no_export_is_refused(good: Path, data: bytes) -> None:
    (good / "export.json").write_bytes(data)
    refused(good)


@pytest.mark.parametrize("size", [float("inf"), float("nan"), -1, None, [], {}, "seven", pytest.param(10**400, id="huge")])
def test_a_size_that_is_no_size_is_refused(good: Path, size: object) -> None:
    rewrite(good, lambda about: about["members"]["loader.py"].update(bytes=size))
    refused(good)


@pytest.mark.parametrize(
    "members", [None, [], "loader.py", {}, {"loader.py": {}}, {"loader.py": None}, {str(n): {} for n in range(999)}]
)
def test_another_list_of_members_is_refused(good: Path, members: object) -> None:
    rewrite(good, lambda about: about.update(members=members))
    refused(good)


@pytest.mark.parametrize("key", ["format", "kind", "precision", "classes", "preprocess", "model", "members"])
@pytest.mark.parametrize("value", ["missing", None, 7, [], {}, "x", [None], [["a"]]], ids=str)
def test_a_key_that_is_missing_or_of_another_type_is_refused(good: Path, key: str, value: object) -> None:
    rewrite(good, lambda about: about.pop(key) if value == "missing" else about.update({key: value}))
    refused(good)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "onxx"}, {"precision": "int4"}, {"kind": "web", "precision": "float16"}, {"classes": ["a", "a"]},
        {"model": ["other.bin"]}, {"preprocess": {**ABOUT["preprocess"], "resize": 10**9}},  # type: ignore[dict-item]
        {"preprocess": {**ABOUT["preprocess"], "std": [0, 1, 1]}}, {"format": 2},  # type: ignore[dict-item]
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_values_that_none_of_ours_has_are_refused(good: Path, change: dict[str, Any]) -> None:
    rewrite(good, lambda about: about.update(change))
    refused(good)


def test_a_compiled_file_beside_a_module_is_not_taken_for_it(tmp_path: Path) -> None:
    """Python's own importer would run what lies in __pycache__ if its stamp fits; ours reads the source that was checked."""
    import importlib.util
    import py_compile

    evil, path = tmp_path / "evil.py", tmp_path / "module.py"
    path.write_text("value = 'good'")
    evil.write_text("value = 'evil'")
    stamp = path.stat()
    os.utime(evil, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    py_compile.compile(str(evil), cfile=importlib.util.cache_from_source(str(path)))
    assert imported(path).value == "good"


def test_modules_beside_an_export_do_not_stay_in_the_process(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import beside_it\nvalue = beside_it.value")
    (tmp_path / "beside_it.py").write_text("value = 7")
    assert imported(tmp_path / "handler.py", beside=True).value == 7
    assert "beside_it" not in sys.modules
    assert str(tmp_path) not in sys.path
    assert not (tmp_path / "__pycache__").exists()


GOOD = """import torch
from torch import device, inf, nan

def answers(weights, images):
    w = weights['head.weight']
    to = torch.ops.aten.to.dtype(images, torch.float32)
    clamp = torch.ops.aten.clamp.default(to, -inf, 6.0)
    linear = torch.ops.aten.linear.default(clamp, w, None, device = device(type='cpu'))
    return (linear,)
"""


def test_a_networks_code_that_is_arithmetic_on_tensors_passes(tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text(GOOD)
    require_arithmetic(tmp_path / "network.py")


@pytest.mark.parametrize(
    "line",
    [
        "import os", "open('/tmp/x', 'w')", "torch.load('x.pt')", "torch.ops.load_library('x.so')", "exec('1')", "eval('1')",
        "__import__('os')", "weights.__class__", "().__class__", "torch.ops.aten.from_file.default('/etc/passwd')",
        "torch.hub.load('a', 'b')", "[x for x in (1,)]", "lambda: 1", "torch.ops.aten.to(open('x'))", "f'{images}'",
        "w: open('x') = 1", "torch.ops.aten.to.dtype(images, torch.load('x'))", "globals()", "del images", "assert images",
        "torch.ops.aten.linear.default.__globals__", "while True: pass", "with images: pass", "yield images", "def f(): pass",
        "print(images)", "(x := 1)", "torch.ops.sortal.evil(images)", "try:\n        pass\n    except: pass",
        "torch.ops.aten.add(1)(2)",
        "match images:\n        case 1: pass", "torch.ops.aten.linear[open('x')](1)", "images.numpy()", "w = torch.ops.aten",
    ],
)  # fmt: skip
def test_a_networks_code_that_could_do_anything_else_is_refused_unrun(tmp_path: Path, line: str) -> None:
    code = GOOD.replace("    return", f"    {line}\n    return")
    (tmp_path / "network.py").write_text(code)
    with pytest.raises(BundleError) as caught:
        require_arithmetic(tmp_path / "network.py")
    assert caught.value.hint


@pytest.mark.parametrize(
    "code",
    [
        "", "\0", "def answers(:", "(" * 5000, GOOD + "\nopen('x')", "import os\n" + GOOD,
        GOOD.replace("import torch\n", "import torch as os\n"),
        GOOD.replace("images):", "images=open('x')):"), GOOD.replace("def answers", "@open\ndef answers"),
        GOOD.replace("images):", "images) -> open('x'):"), GOOD.replace("images):", "images: open('x')):"), GOOD + GOOD,
        GOOD.replace("def answers", "def other"), GOOD.replace("def answers", "async def answers"), GOOD + "\nclass A: pass",
    ],
    ids=range(15),
)  # fmt: skip
def test_code_around_a_network_is_refused_unrun(tmp_path: Path, code: str) -> None:
    (tmp_path / "network.py").write_text(code)
    with pytest.raises(BundleError):
        require_arithmetic(tmp_path / "network.py")


def test_a_loader_that_is_not_ours_is_refused_though_its_hash_is_listed(good: Path) -> None:
    """A stranger can list whatever he wrote; so what is code must be ours to the byte before it is run."""
    (good / "network.py").write_text(GOOD)
    (good / "export.json").unlink()
    export = seal(good, ABOUT)
    with pytest.raises(BundleError, match=r"loader\.py"), export.open():
        pass
    with pytest.raises(BundleError):
        require_ours(good / "loader.py", "other")


def test_a_handler_that_is_not_ours_is_refused_though_its_hash_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    with zipfile.ZipFile(folder / "classifier.mar", "w") as archive:
        for name in ("handler.py", "preprocess.py", "decision.py", "model.onnx"):
            archive.writestr(name, "raise SystemExit('executed')")
    export = seal(folder, {**ABOUT, "kind": "torchserve", "model": ["classifier.mar"]})
    with pytest.raises(BundleError, match=r"handler\.py"), export.open():
        pass


@pytest.mark.parametrize(("kind", "file"), [("torch-export", "model.pt2"), ("torchscript", "model.ts")])
def test_a_file_that_can_hold_code_is_opened_only_for_whom_one_trusts(tmp_path: Path, kind: str, file: str) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / file).write_bytes(b"whatever")
    export = seal(folder, {**ABOUT, "kind": kind, "model": [file], "engine": "torch"})
    with pytest.raises(BundleError, match="can hold code") as caught, export.open():
        pass
    assert "trusted" in caught.value.hint


def test_what_pytorch_unpickles_of_a_program_is_why(tmp_path: Path) -> None:
    """A weight's bytes in a .pt2 are a pickle that runs; the day this fails, `torch-export` may be opened for anybody."""
    torch = pytest.importorskip("torch")

    class Touches:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "hacked"),)

    class Scaled(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2))

        def forward(self, x: Any) -> Any:
            return x * self.weight

    program = torch.export.export(Scaled(), (torch.ones(2),))
    torch.export.save(program, str(tmp_path / "good.pt2"))
    pickled = pickle.dumps(Touches())
    with zipfile.ZipFile(tmp_path / "good.pt2") as good, zipfile.ZipFile(tmp_path / "evil.pt2", "w") as evil:
        for info in good.infolist():
            data = good.read(info)
            if info.filename.endswith("_config.json"):
                data = data.replace(b'"use_pickle": false', b'"use_pickle": true')
            evil.writestr(info.filename, pickled if "/weights/weight" in info.filename else data)
    with contextlib.suppress(Exception):
        torch.export.load(str(tmp_path / "evil.pt2"))
    assert (tmp_path / "hacked").exists()


def graph_that(**changes: Any) -> bytes:
    from tests.faults.test_hostile_bundles import operator

    return operator("PyOp", domain="ai.onnx.contrib", **changes)


def test_a_graph_in_an_export_is_looked_at_before_a_runtime_is_given_it(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(graph_that())
    export = seal(folder, {**ABOUT, "kind": "onnx", "model": ["model.onnx"]})
    with pytest.raises(BundleError, match=r"model\.onnx uses the operator ai\.onnx\.contrib:PyOp"), export.open():
        pass


def archive(folder: Path, model: bytes) -> Export:
    """An archive whose code is ours and whose graph is another's."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "classifier.mar", "w", zipfile.ZIP_DEFLATED) as written:
        for name, text in {"handler.py": describe.example("handler.py"), **describe.modules()}.items():
            written.writestr(name, text)
        written.writestr("model.onnx", model)
    return seal(folder, {**ABOUT, "kind": "torchserve", "model": ["classifier.mar"]})


def test_a_graph_in_an_archive_is_looked_at_before_a_runtime_is_given_it(tmp_path: Path) -> None:
    with (
        pytest.raises(BundleError, match=r"uses the operator ai\.onnx\.contrib:PyOp"),
        archive(tmp_path / "e", graph_that()).open(),
    ):
        pass


@pytest.mark.parametrize("what", ["huge", "no zip", "a member less"])
def test_an_archive_that_is_none_of_ours_is_refused(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchserve, "LARGEST", 1 << 20)
    export = archive(tmp_path / "export", bytes(2 << 20) if what == "huge" else b"")
    place = export.path / "classifier.mar"
    if what == "no zip":
        place.write_bytes(b"PK")
    elif what == "a member less":
        with zipfile.ZipFile(place, "w") as empty:
            empty.writestr("handler.py", "")
    if what != "huge":
        (export.path / "export.json").unlink()
        export = seal(export.path, dict(export.about))
    with pytest.raises(BundleError, match="is no archive of ours"), export.open():
        pass


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not any(map(shutil.which, browser.PROGRAMS)), reason="needs Chromium: apt-get install chromium")
def test_a_stranger_s_runtime_of_a_page_reaches_nothing_but_our_server(tmp_path: Path) -> None:
    """The runtime beside a page of ours is somebody's: what it asks for elsewhere is never asked."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    for name in web.PAGES:
        (tmp_path / name).write_bytes((browser.PAGE / name).read_bytes())
    (tmp_path / "model.json").write_text(json.dumps({"classes": ["a", "b"]}))
    (tmp_path / "model.onnx").write_bytes(b"")
    (tmp_path / "ort.wasm.bundle.min.mjs").write_text(
        "export const env = { wasm: {} };\n"
        f'await Promise.allSettled([fetch("{address}a"), fetch("{address}b", {{ mode: "no-cors" }}), import("{address}c")]);\n'
        f'new Image().src = "{address}d"; navigator.sendBeacon("{address}e", "x");\n'
        "export class Tensor {}\n"
        "export const InferenceSession = { create: async () => ({\n"
        "  run: async () => ({ probabilities: { data: Float32Array.of(0.25, 0.75) } }) }) };\n"
    )
    try:
        with web.WEB.open(tmp_path, {"classes": ["a", "b"]}) as answers:
            assert answers(np.zeros((1, 8, 8, 3), np.uint8)).probs_NK.tolist() == [[0.25, 0.75]]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert asked == []


def test_a_page_for_the_web_with_a_script_of_another_is_not_opened(tmp_path: Path) -> None:
    for name in web.PAGES:
        (tmp_path / name).write_bytes((browser.PAGE / name).read_bytes())
    (tmp_path / "classify.js").write_text("fetch('https://elsewhere.example')")
    with (
        pytest.raises(BundleError, match=r"classify\.js of the export is not the one"),
        web.WEB.open(tmp_path, {"classes": ["a"]}),
    ):
        pass
