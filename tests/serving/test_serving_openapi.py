"""The OpenAPI document says what the server does, and schemathesis finds nothing that contradicts it."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.harness import surroundings
from sortal.serving.app import Server, Wanted
from sortal.serving.models import places
from tests.serving.served import Served, served

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def test_every_route_but_the_page_is_described_with_its_methods(client: httpx.Client, colours: Path) -> None:
    told = client.get("/openapi.json").json()
    assert told["openapi"].startswith("3.1")
    routes = Server(
        Wanted(places([str(colours)]), lambda *_: {}, lambda _: None, lambda *_: None)  # type: ignore[arg-type, return-value]
    ).routes()
    served_ = {(route.path, method.lower()) for route in routes for method in route.methods or () if method != "HEAD"}
    described = {(path, method) for path, item in told["paths"].items() for method in item if method in ("get", "post")}
    assert served_ - described == {("/", "get"), ("/page.css", "get"), ("/page.js", "get")}
    assert described <= served_


def test_the_document_names_the_models_that_are_served(client: httpx.Client) -> None:
    told = client.get("/openapi.json").json()
    parameters = {each["name"]: each["schema"] for each in told["paths"]["/predict"]["post"]["parameters"]}
    assert parameters["model"]["enum"] == ["colours", "careful", "costly"]
    assert parameters["version"]["enum"] == ["1", "2"]


def test_every_reference_in_the_document_leads_somewhere(server: Served, client: httpx.Client) -> None:
    text = client.get("/openapi.json").text
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in client.get("/openapi.json").json()["components"]["schemas"]


@pytest.mark.slow
@pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="needs schemathesis: make setup")
def test_schemathesis_finds_nothing(colours: Path, tmp_path: Path) -> None:
    with served(colours, "--runtime", "onnxruntime") as running:
        options = ["--max-examples", "25", "--checks", "all", "--no-color"]
        command = [SCHEMATHESIS, "run", f"{running.address}/openapi.json", *options]
        environment = {"SCHEMATHESIS_HOOKS": str(HOOKS), "PYTHONPATH": ""}
        done = subprocess.run(command, cwd=tmp_path, env=surroundings(environment), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-6000:]
        assert "Traceback" not in running.said
