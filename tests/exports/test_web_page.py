"""The page of a web export in headless Chromium: a file is dropped, the answer is read, on a telephone and on a desk."""

import contextlib
import functools
import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sortal import workflows
from sortal.exports.browser import PROGRAMS
from sortal.run import Run
from tests.chromium import Browser, chromium
from tests.exports.test_exporting import skip_without_runtime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(not any(map(shutil.which, PROGRAMS)), reason="needs Chromium: apt-get install chromium"),
]
SIZES = {"phone": (390, 844), "desk": (1280, 900)}
DROP = """(async () => {
  const bytes = Uint8Array.from(atob("%s"), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "photo.png", { type: "image/png" }));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
})()"""


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        self.asked.append(self.path)


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


def until(browser: Browser, expression: str) -> Any:
    deadline = time.monotonic() + 90
    while True:
        found = browser("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")
        if found:
            return found
        assert time.monotonic() < deadline, browser("Runtime.evaluate", expression="document.body.innerText")
        time.sleep(0.2)


@pytest.fixture(scope="module")
def page(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "out"
    workflows.export(trained.path, to="web", out=folder, **skip_without_runtime("web", "float32"))
    return folder


@pytest.mark.parametrize("size", SIZES)
def test_a_dropped_file_is_classified_and_nothing_leaves_the_machine(
    trained: Run, squares: Path, page: Path, tmp_path: Path, size: str
) -> None:
    import base64

    path = squares / "red" / "002.png"
    width, height = SIZES[size]
    with served(page) as address, chromium(tmp_path) as browser:
        browser("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        browser("Page.navigate", url=address)
        until(browser, "document.body && document.body.dataset.ready")
        browser("Runtime.evaluate", expression=DROP % base64.b64encode(path.read_bytes()).decode(), awaitPromise=True)
        said = until(browser, "document.querySelector('#answers .said .name')?.textContent")
        share = until(browser, "document.querySelector('#answers .said .share').textContent")
        wide = until(browser, "document.documentElement.scrollWidth")
        shot = base64.b64decode(browser("Page.captureScreenshot", format="png")["data"])
        (tmp_path / f"{size}.png").write_bytes(shot)
        browser("Runtime.evaluate", expression=DROP % base64.b64encode(b"no image").decode(), awaitPromise=True)
        wrong = until(browser, "document.querySelector('#status.wrong')?.textContent")
        asked = [
            event["params"]["request"]["url"] for event in browser.events if event.get("method") == "Network.requestWillBeSent"
        ]
    expected = workflows.load(trained.path).predict_proba(path)[0]
    assert said == "red"
    assert abs(float(share.rstrip(" %")) - 100 * expected.max()) < 1
    assert wide <= width, "nothing sticks out"
    assert wrong == "this is no image that the browser can read"
    assert asked
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
    assert Image.open(tmp_path / f"{size}.png").width == width
    assert json.loads((page / "model.json").read_text())["classes"] == ["blue", "green", "red"]
