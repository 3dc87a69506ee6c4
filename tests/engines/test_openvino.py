"""OpenVINO as we import it: nobody is told, and nothing is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Whatever is asked of the network, by this process or one that it forks, is written down and refused.
CODE = """
import sys, time
def look(event, args):
    if event in ("socket.getaddrinfo", "socket.connect"):
        with open(sys.argv[1], "a") as file:
            file.write(repr(args))
        raise OSError("there is no network")
sys.addaudithook(look)
from sortal.engines.openvino import package
package()
for name in sys.argv[2:]:
    __import__(name)
time.sleep(1)
"""


@pytest.mark.parametrize("more", [[], ["nncf"]], ids=["alone", "with NNCF"])
def test_openvino_asks_no_address_and_leaves_nothing_in_the_home(tmp_path: Path, more: list[str]) -> None:
    for name in ("openvino", *more):
        pytest.importorskip(name, reason='needs OpenVINO and NNCF: pip install "sortal[export]"')
    home, asked = tmp_path / "home", tmp_path / "asked"
    home.mkdir()
    asked.touch()
    # Not the environment of the tests: CI keeps OpenVINO quiet.
    environment = {"HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-W", "ignore", "-c", CODE, str(asked), *more]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert asked.read_text() == ""
    assert list(home.iterdir()) == []
