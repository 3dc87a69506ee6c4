"""From start to end: tokens, names by which it may be asked, load that is shed, what it tells of itself, SIGTERM."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.harness import surroundings
from sortal import workflows
from sortal.errors import BundleError, DataError, MachineFailed
from tests.serving.served import Served, answer, colour_bundle, picture, post, served, status

TOKEN = "a-token-of-24-characters"
PNG = {"content-type": "image/png"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_server_that_others_can_reach_demands_a_token(host: str, colours: Path) -> None:
    with pytest.raises(DataError, match="needs a token") as caught:
        workflows.serve(colours, host=host)
    assert "--token-file" in caught.value.hint


@pytest.mark.parametrize("token", ["short", "with a blank in the middle", "ünderstood-by-nobody-at-all", "\n" * 20])
def test_a_token_that_is_easily_guessed_or_cannot_be_sent_is_refused(token: str, colours: Path) -> None:
    with pytest.raises(DataError, match="16 characters"):
        workflows.serve(colours, token=token)


def test_an_address_that_is_taken_is_told_as_such(colours: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(MachineFailed, match="cannot listen"):
        workflows.serve(colours, port=taken.getsockname()[1])


def test_a_bundle_that_is_damaged_is_told_before_anything_is_served(tmp_path: Path) -> None:
    found = colour_bundle(tmp_path / "b")
    os.truncate(found.graph, 10)
    with pytest.raises(BundleError, match="10 bytes"):
        workflows.serve(found.path, port=0, began=lambda address: pytest.fail(f"it serves on {address}"))


def test_with_a_token_only_the_page_and_the_health_are_open(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    with served(colours, "--token-file", tmp_path / "token", "--runtime", "onnxruntime") as running:
        with httpx.Client(base_url=running.address) as client:
            for path in ("/", "/page.js", "/page.css", "/v2/health/live", "/v2/health/ready"):
                assert client.get(path).status_code == 200, path
            for path in ("/metrics", "/openapi.json", "/v2", "/v2/models/colours", "/nowhere"):
                assert client.get(path).status_code == 401, path
            for sent in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", f"bearer{TOKEN}"):
                told = client.post("/predict", content=picture(), headers={**PNG, "authorization": sent})
                assert (told.status_code, told.headers["www-authenticate"]) == (401, "Bearer")
            told = client.post("/predict", content=picture(), headers={**PNG, "authorization": f"Bearer {TOKEN}"})
            assert told.json()["predictions"][0]["label"] == "red"
        assert TOKEN not in running.said


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "localhost:8000"}, 200), ({"host": "127.0.0.1"}, 200), ({"host": "[::1]:80"}, 200),
        ({"host": "127.8.8.8"}, 200),
        ({"host": "evil.example"}, 403), ({"host": "localhost.evil.example"}, 403), ({"host": "evil.example:127"}, 403),
        ({"host": "localhost", "origin": "http://localhost"}, 200), ({"host": "localhost", "origin": "null"}, 403),
        ({"host": "localhost", "origin": "http://evil.example"}, 403),
        ({"host": "localhost", "origin": "http://localhost:1"}, 403),
    ],
)  # fmt: skip
def test_another_sites_page_cannot_ask(server: Served, headers: dict[str, str], expected: int) -> None:
    assert status(server.exchange(post("/predict", picture(), headers=headers))) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_server_with_a_public_name_demands_a_token_wherever_it_listens(host: str, colours: Path) -> None:
    with pytest.raises(DataError, match=r"asked by bees\.example .* needs a token") as caught:
        workflows.serve(colours, host=host, allowed_hosts=["bees.example"])
    assert "--token-file" in caught.value.hint


@pytest.mark.parametrize(
    "name",
    ["", "https://bees.example", "bees.example:443", "*.example", "bees.example/", "bees example", "bienen.\u00fcb", "a,b"],
)
def test_what_no_client_would_ask_by_is_no_allowed_host(name: str, colours: Path) -> None:
    with pytest.raises(DataError, match="is no host's name"):
        workflows.serve(colours, token=TOKEN, allowed_hosts=["bees.example", name])


def test_a_name_that_is_allowed_is_answered_with_the_token_and_no_other_name_or_site_is(colours: Path) -> None:
    ours = {"host": "Bees.example", "authorization": f"Bearer {TOKEN}"}
    cases = [
        ({}, 200), ({"host": "bees.example:8443"}, 200), ({"host": "xn--bienen.example"}, 200), ({"host": "localhost"}, 200),
        ({"host": "bees.example", "origin": "https://bees.example"}, 200),
        ({"host": "bees.example:8443", "origin": "https://bees.example:8443"}, 200),
        ({"host": "evil.example"}, 403), ({"host": "www.bees.example"}, 403), ({"host": "bees.example.evil"}, 403),
        ({"host": "bees.example:8443:1"}, 403), ({"host": "bees.example."}, 403),
        ({"host": "bees.example", "origin": "https://evil.example"}, 403),
        ({"host": "bees.example", "origin": "https://bees.example:8443"}, 403),
        ({"host": "bees.example", "origin": "null"}, 403),
        ({"authorization": ""}, 401), ({"authorization": "", "host": "localhost"}, 401),
    ]  # fmt: skip
    words = ["--allowed-host", "BEES.example", "--allowed-host", "xn--bienen.example", "--runtime", "onnxruntime"]
    with served(colours, *words, environment={"SORTAL_TOKEN": TOKEN}) as running:
        for headers, expected in cases:
            assert status(running.exchange(post("/predict", picture(), headers={**ours, **headers}))) == expected, headers
        page = b"GET / HTTP/1.1\r\nhost: %b\r\n\r\n"
        assert [status(running.exchange(page % name)) for name in (b"bees.example", b"evil.example")] == [200, 403]


def test_a_server_that_others_can_reach_answers_to_any_name_unless_some_are_allowed(colours: Path) -> None:
    headers, words = {"authorization": f"Bearer {TOKEN}"}, ["--host", "0.0.0.0", "--runtime", "onnxruntime"]
    for more, expected in (([], [200, 200, 200]), (["--allowed-host", "bees.example"], [200, 403, 200])):
        with served(colours, *words, *more, environment={"SORTAL_TOKEN": TOKEN}) as running:
            asked = [
                post("/predict", picture(), headers={**headers, "host": host})
                for host in ("bees.example", "evil.example", "127.0.0.1")
            ]
            assert [status(running.exchange(each)) for each in asked] == expected


def test_every_answer_carries_the_headers_that_keep_browsers_careful(client: httpx.Client) -> None:
    for told in (client.get("/"), client.get("/nowhere"), client.post("/predict"), client.get("/metrics")):
        assert told.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in told.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in told.headers["content-security-policy"]
        assert "unsafe" not in told.headers["content-security-policy"]
        assert told.headers["cache-control"] == "no-store"
        assert "server" not in told.headers
        assert "access-control-allow-origin" not in told.headers


def test_the_metrics_count_what_was_said(client: httpx.Client) -> None:
    def number(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    labels = 'sortal_predictions_total{label="blue",model="colours",version="2"}'
    silent = 'sortal_abstentions_total{model="careful"'
    before = number(labels), number(silent), number("sortal_unreadable_total")
    client.post("/predict", content=picture("blue"), headers=PNG)
    client.post("/predict?model=careful", content=picture("#806040"), headers=PNG)
    client.post("/predict", content=b"no image", headers=PNG)
    assert (number(labels), number(silent), number("sortal_unreadable_total")) == tuple(value + 1 for value in before)
    text = client.get("/metrics").text
    for name in (
        "stage_seconds",
        "batch_images",
        "batch_seconds",
        "inside_images",
        "confidence",
        "drift",
        "drift_alarm",
        "shed",
    ):
        assert f"# HELP sortal_{name}" in text, name
    for stage in ("read", "decode", "network", "all"):
        assert number(f'sortal_stage_seconds_count{{stage="{stage}"}}') > 0


@pytest.mark.slow
def test_what_is_too_much_is_refused_at_once_and_the_rest_is_answered(colours: Path) -> None:
    with served(colours, "--queue", 4, "--runtime", "onnxruntime") as running:
        large = picture("red", "PNG", (2000, 2000))

        def ask(_: int) -> tuple[int, bytes, float]:
            began = time.monotonic()
            told = running.exchange(post("/predict", large), seconds=60)
            return status(told), told, time.monotonic() - began

        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            found = list(pool.map(ask, range(120)))
        statuses = [each for each, _, _ in found]
        assert set(statuses) == {200, 503}
        shed = [told for number, told, _ in found if number == 503]
        assert all(b"\r\nretry-after: " in told.lower() and b'{"error": ' in told for told in shed)
        metrics = running.exchange(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").decode()
        assert f'sortal_shed_total{{reason="queue"}} {len(shed)}.0' in metrics
        assert "sortal_inside_images 0.0" in metrics


def test_a_connection_lives_on_after_a_refusal(server: Served) -> None:
    with server.connect() as connection:
        for body, expected in ((b"no image", 422), (picture(), 200), (b"", 422), (picture(), 200)):
            connection.sendall(post("/predict", body))
            assert status(answer(connection)) == expected


def test_requests_that_are_sent_before_the_answer_to_the_first_are_answered_in_order(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"".join(post("/predict", picture(colour)) for colour in ("red", "green", "blue")))
        data = b""
        while data.count(b"HTTP/1.1 200") < 3 or not data.endswith(b"}"):
            data += connection.recv(65536)
    assert [data.index(f'"label":"{colour}"'.encode()) for colour in ("red", "green", "blue")] == sorted(
        data.index(f'"label":"{colour}"'.encode()) for colour in ("red", "green", "blue")
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_whoever_was_let_in_is_answered(colours: Path, number: int) -> None:
    large, told, asked = picture("red", "PNG", (2000, 2000)), [], threading.Semaphore(0)
    with served(colours, "--runtime", "onnxruntime", "--deadline", 60) as running:

        def ask() -> None:
            with running.connect(60) as connection:
                connection.sendall(post("/predict", large))
                asked.release()
                told.append(status(answer(connection)))

        threads = [threading.Thread(target=ask) for _ in range(30)]
        for thread in threads:
            thread.start()
        for _ in threads:
            asked.acquire()
        time.sleep(0.1)  # the last bytes are on their way
        code = running.end(number)
        for thread in threads:
            thread.join()
        assert (told, code) == ([200] * 30, 0)
        with pytest.raises(OSError, match="refused"):
            running.connect()
    assert "Traceback" not in running.said


@pytest.mark.slow
def test_no_decoder_outlives_its_server(colours: Path) -> None:
    from tests.serving.served import children

    for number in (signal.SIGTERM, signal.SIGKILL):
        with served(colours, "--runtime", "onnxruntime") as running:
            started = children(running.process.pid)
            assert len(started) >= 2
            running.end(number)
            deadline = time.monotonic() + 10
            while any(Path(f"/proc/{pid}").exists() and "decoder" in _command(pid) for pid in started):
                assert time.monotonic() < deadline
                time.sleep(0.05)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.slow
def test_a_bundle_that_is_swapped_under_the_server_answers_when_it_has_passed(tmp_path: Path) -> None:
    import shutil

    from sortal import bundle
    from tests.serving.served import about, graph

    colour_bundle(tmp_path / "b")
    with served(tmp_path / "b", "--runtime", "onnxruntime") as running, httpx.Client(base_url=running.address) as client:

        def says() -> str:
            return str(client.post("/predict", content=picture(), headers=PNG).json()["predictions"][0]["label"])

        bundle.write(tmp_path / "new", graph=graph(), weights=b"", about=about(classes=["rot", "gruen", "blau"]))
        os.truncate(tmp_path / "b" / "model.onnx", 7)
        deadline = time.monotonic() + 30
        while "sortal_models_refused 1.0" not in client.get("/metrics").text:
            assert says() == "red"
            assert time.monotonic() < deadline
        assert "not_replaced" in client.get("/v2/models/b/ready").json()
        shutil.rmtree(tmp_path / "b")
        os.rename(tmp_path / "new", tmp_path / "b")
        while says() == "red":
            assert time.monotonic() < deadline
        assert says() == "rot"
        assert "sortal_models_refused 0.0" in client.get("/metrics").text


def test_what_is_not_installed_is_told_with_what_brings_it(colours: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from sortal.cli.main import main\n"
        "sys.exit(main(['serve', sys.argv[1], '--port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code, colours], env=surroundings(), capture_output=True, text=True)
    assert (done.returncode, "sortal[serve]" in done.stderr) == (2, True), done.stderr
