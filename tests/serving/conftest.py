"""One server for all tests that only ask it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("starlette", reason='needs the server: pip install "sortal[serve]"')
pytest.importorskip("onnx", reason="its graphs are made with onnx")

from tests.serving.served import Served, colour_bundle, served


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows red, green and blue."""
    return colour_bundle(tmp_path_factory.mktemp("served") / "colours" / "bundle").path


@pytest.fixture(scope="session")
def server(colours: Path) -> Iterator[Served]:
    """A server of two versions of one model, of another that is careful, and of one for which it is costly to miss blue."""
    careful = colour_bundle(
        colours.parent.parent / "careful" / "bundle",
        decision={"threshold": 0.99, "costs": [], "abstain_cost": None, "novelty": 1.0},
    )
    costly = colour_bundle(
        colours.parent.parent / "costly" / "bundle",
        decision={"threshold": 0.0, "costs": [[0, 1, 1], [1, 0, 1], [50, 50, 0]], "abstain_cost": None, "novelty": 1.0},
    )
    words = [f"colours={colours}", f"colours@2={colours}", careful.path, costly.path]
    with served(*words, "--runtime", "onnxruntime", "--max-body", 2, "--max-pixels", 4_000_000) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=20) as found:
        yield found
