"""The page of a web export in headless Chromium: a file is dropped, the answer is read, on a telephone and on a desk."""

import base64
import contextlib
import functools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from sortal import workflows
from sortal.run import Run
from tests.chromium import CHROMIUM, SIZES, chromium
from tests.exports.test_exporting import blocks, skip_without_runtime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
LOOK = os.environ.get("SORTAL_SCREENSHOTS")
"""A folder for pictures of the pages, for whoever wants to look at them."""
DROP = """(async () => {
  const bytes = Uint8Array.from(atob("%s"), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "photo.png", { type: "image/png" }));
  const drop = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer });
  document.getElementById("drop").dispatchEvent(drop);
})()"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def page(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "out"
    workflows.export(trained.path, to="web", out=folder, **skip_without_runtime("web", "float32"))
    return folder


@pytest.mark.parametrize("size", SIZES)
def test_a_dropped_file_is_classified_and_nothing_leaves_the_machine(
    trained: Run, squares: Path, page: Path, tmp_path: Path, size: str
) -> None:
    path = squares / "red" / "002.png"
    with served(page) as address, chromium(tmp_path / "profile") as browser:
        browser.open(address, SIZES[size])
        browser.until("document.body.dataset.ready")
        browser.value(DROP % base64.b64encode(path.read_bytes()).decode())
        said = browser.until("document.querySelector('#answers .said .name')?.textContent")
        share = browser.value("document.querySelector('#answers .said .share').textContent")
        wide = browser.value("document.documentElement.scrollWidth")
        if LOOK:
            browser.screenshot(Path(LOOK) / f"web-{size}.png")
        browser.value(DROP % base64.b64encode(b"no image").decode())
        wrong = browser.until("document.querySelector('#status.wrong')?.textContent")
        asked = browser.requested
    expected = workflows.load(trained.path).predict_proba(path)[0]
    assert said == "red"
    assert abs(float(share.rstrip(" %")) - 100 * expected.max()) < 1
    assert wide <= SIZES[size][0], "nothing sticks out"
    assert wrong == "this is no image that the browser can read"
    assert asked
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
    assert json.loads((page / "model.json").read_text())["classes"] == ["blue", "green", "red"]


def test_the_page_of_ones_own_that_the_readme_shows_says_the_label(squares: Path, page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(page, copy)
    (html,) = blocks(page / "README.md", "html")
    (copy / "own.html").write_text(html)
    with served(copy) as address, chromium(tmp_path / "profile") as browser:
        browser.open(f"{address}own.html", SIZES["desk"])
        root = browser("DOM.getDocument")["root"]["nodeId"]
        node = browser("DOM.querySelector", nodeId=root, selector="input")["nodeId"]
        browser("DOM.setFileInputFiles", nodeId=node, files=[str(squares / "red" / "002.png")])
        assert browser.until("document.querySelector('output').textContent") == "red"


def test_the_readme_says_what_the_graph_takes_and_gives(page: Path) -> None:
    text = " ".join((page / "README.md").read_text().split())
    session = onnxruntime.InferenceSession(str(page / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [each.shape for each in session.get_inputs()] == [["H", "W", 3]]
    assert "the `image` of `model.onnx` is bytes (uint8) of shape (H, W, 3)" in text
    assert "probabilities, float32 of shape (1, 3)" in text
    assert "preprocess.py" not in text
    assert "decision.py" not in text
