"""A headless Chromium, driven over its own protocol through two pipes, at the width of a phone and of a desk."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
]  # fmt: skip
SIZES = {"phone": (390, 844), "desk": (1280, 900)}
SECONDS = 60.0
CODES = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39}

# Chromium reads commands from descriptor 3 and writes answers to 4; the two are put there between fork and exec.
START = "import os, sys; i, o = map(int, sys.argv[1:3]); os.dup2(i, 3); os.dup2(o, 4); os.execv(sys.argv[3], sys.argv[3:])"


class Browser:
    """A headless Chromium with one tab; messages are JSON, ended by a zero byte."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.buffer = b""
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self("Network.enable")
        self("Page.enable")

    def __call__(self, method: str, **values: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": values}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"Chromium said nothing for {SECONDS:.0f} s"
            part = os.read(self.answers, 1 << 20)
            assert part, "Chromium ended"
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path | str, size: tuple[int, int], *, dark: bool = False) -> None:
        """Show a file or an address at a size, as a phone would where it is narrow, and wait until all of it is there."""
        width, height = size
        phone = width < 600
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        wishes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        # Without motion, or what is clicked would still be on its way.
        self("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in wishes.items()])
        self.events.clear()
        self("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        """What a line of script comes to in the page."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Bring an element into the window and click in its middle, as a hand would: what lies over it gets the click."""
        middle = self.value(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: 'center', behavior: 'instant'}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=middle[0], y=middle[1], button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        """Press keys one after the other: 'Enter', 'Tab', 'ArrowDown', or a character."""
        for key in keys:
            values: dict[str, Any] = {"key": key}
            if key in CODES:
                values["windowsVirtualKeyCode"] = CODES[key]
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            self("Input.dispatchKeyEvent", type="keyDown", **values, **({"text": text} if text else {}))
            self("Input.dispatchKeyEvent", type="keyUp", **values)

    def until(self, expression: str) -> Any:
        """Wait until a line of script comes to something true, and return it."""
        deadline = time.monotonic() + SECONDS
        while not (found := self.value(expression)):
            assert time.monotonic() < deadline, f"never became true: {expression}"
            time.sleep(0.02)
        return found

    def screenshot(self, path: Path) -> None:
        """All of the page as a PNG, for whoever wants to look at it."""
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    @property
    def requested(self) -> list[str]:
        """Addresses that the page asked for."""
        return [
            event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"
        ]


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Start one with a fresh profile, and end it."""
    assert CHROMIUM
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    # Out of the way of 3 and 4, which they are about to become.
    high = [os.dup(end) if end > 4 else os.dup(os.dup(os.dup(end))) for end in (theirs_in, theirs_out)]
    for end in high:
        os.set_inheritable(end, True)
    process = subprocess.Popen(
        [sys.executable, "-c", START, *map(str, high), CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=high,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (theirs_in, theirs_out, *high):
        os.close(end)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)  # Chromium goes when its commands end
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(answers)
