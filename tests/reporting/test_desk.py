"""The desk's server: who gets in, who does not, and what it answers."""

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from sortal.errors import DataError, MachineFailed
from sortal.reporting.desk import LARGEST_BODY, Desk


def echo(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    if asked.get("bad"):
        raise DataError("no such picture", hint="load the page anew")
    if asked.get("full"):
        raise MachineFailed("the disk is full", hint="free some room")
    if asked.get("broken"):
        raise OSError(5, "broken")
    return {"asked": asked}


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    shown = {"a/é &.jpg": b"\xff\xd8\xff of a", "b.png": b"\x89PNG of b"}
    with Desk(lambda token: f"<p>{len(token)}</p>", {"marks": echo}, pictures=shown.get) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    desk: Desk,
    method: str,
    path: str,
    body: bytes | str = b"",
    *,
    without: tuple[str, ...] = (),
    raw: bool = False,
    **headers: str,
) -> tuple[int, str, Mapping[str, str]]:
    """Status, text and headers of a request as the desk's own page makes it, with some headers changed or left out."""
    host = f"127.0.0.1:{desk.server_port}"
    own = {"Host": host}
    if method == "POST":
        own |= {"Content-Type": "application/json", "X-Sortal-Token": desk.token, "Origin": f"http://{host}"}
    own |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", desk.server_port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    body = body.encode() if isinstance(body, str) else body
    own.setdefault("Content-Length", str(len(body)))
    for name, value in own.items():
        if name not in without:
            connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = (
        answer.status,
        answer.read().decode(errors="replace" if raw else "strict"),
        {name.lower(): value for name, value in answer.getheaders()},
    )
    connection.close()
    return found


def test_the_page_is_given_to_whoever_knows_the_address(desk: Desk) -> None:
    status, text, headers = ask(desk, "GET", f"/{desk.token}/")
    assert (status, text) == (200, f"<p>{len(desk.token)}</p>")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "access-control-allow-origin" not in headers


def test_a_picture_is_given_by_its_name_to_whoever_knows_the_address(desk: Desk) -> None:
    def asked(**options: str) -> tuple[int, str | None]:
        status, _, headers = ask(desk, "GET", f"/{desk.token}/picture?{urlencode(options)}", raw=True)
        return status, headers["content-type"]

    assert asked(source="a/é &.jpg") == (200, "image/jpeg")
    assert asked(source="b.png") == (200, "image/png")
    assert asked(source="../b.png")[0] == asked()[0] == 404
    assert ask(desk, "GET", f"/{desk.token[:-1]}/picture?source=b.png")[0] == 404
    assert ask(desk, "GET", f"/{desk.token}/?source=b.png")[0] == 404


def test_a_body_may_be_as_large_as_the_desk_was_told() -> None:
    text = json.dumps({"long": "x" * 1000})
    with Desk(str, {"marks": echo}, largest_body=len(text)) as other:
        for body, status in ((text, 200), (text + " ", 413)):
            thread = threading.Thread(target=other.handle_request)
            thread.start()
            assert ask(other, "POST", f"/{other.token}/marks", body)[0] == status
            thread.join()


def test_what_the_machine_refuses_is_told_and_is_no_mistake_of_who_asked(desk: Desk) -> None:
    status, text, _ = ask(desk, "POST", f"/{desk.token}/marks", '{"full": true}')
    assert (status, json.loads(text)) == (500, {"error": "the disk is full", "hint": "free some room"})
    status, text, _ = ask(desk, "POST", f"/{desk.token}/marks", '{"broken": true}')
    assert (status, json.loads(text)) == (500, {"error": "[Errno 5] broken", "hint": "all that was marked before is kept"})


def test_it_listens_on_the_loopback_alone_and_makes_a_new_secret_each_time(desk: Desk) -> None:
    assert desk.server_address[0] == "127.0.0.1"
    with Desk(str, {}) as other:
        assert other.token != desk.token
        assert len(other.token) == 32


def test_an_act_gets_what_was_sent_and_returns_its_answer(desk: Desk) -> None:
    status, text, _ = ask(desk, "POST", f"/{desk.token}/marks", json.dumps({"sources": ["é"]}))
    assert (status, json.loads(text)) == (200, {"asked": {"sources": ["é"]}})


def test_what_cannot_be_done_is_told_with_its_cure(desk: Desk) -> None:
    status, text, _ = ask(desk, "POST", f"/{desk.token}/marks", '{"bad": true}')
    assert (status, json.loads(text)) == (400, {"error": "no such picture", "hint": "load the page anew"})


@pytest.mark.parametrize(
    "path", ["/", "//", "/x/", "/{token}", "/{token}/other", "/{token}/../", "/{short}/", "/%C3%A9/", "*", "http://x/"]
)
def test_any_other_address_is_not_found(desk: Desk, path: str) -> None:
    assert ask(desk, "GET", path.format(token=desk.token, short=desk.token[:-1]))[0] == 404


REFUSED = [
    ({"Host": "evil.example"}, 421),
    ({"Host": "127.0.0.1:1"}, 421),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:1"}, 403),
    ({"Sec_Fetch_Site": "cross-site"}, 403),
    ({"X_Sortal_Token": "wrong"}, 403),
    ({"X_Sortal_Token": ""}, 403),
    ({"Content_Type": "text/plain"}, 415),
    ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content_Length": "-1"}, 411),
    ({"Content_Length": "x"}, 411),
    ({"Content_Length": str(LARGEST_BODY + 1)}, 413),
    ({"Content_Length": "9" * 40}, 413),
]


@pytest.mark.parametrize(("headers", "status"), REFUSED)
def test_what_another_page_or_another_name_sends_is_refused(desk: Desk, headers: dict[str, str], status: int) -> None:
    assert ask(desk, "POST", f"/{desk.token}/marks", b"{}", **headers)[0] == status


def test_a_page_under_another_host_name_is_refused(desk: Desk) -> None:
    assert ask(desk, "GET", f"/{desk.token}/", Host="evil.example")[0] == 421
    assert ask(desk, "GET", f"/{desk.token}/", without=("Host",))[0] == 421
    assert ask(desk, "GET", f"/{desk.token}/", Host=f"localhost:{desk.server_port}")[0] == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(desk: Desk, body: bytes) -> None:
    assert ask(desk, "POST", f"/{desk.token}/marks", body)[0] == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_there_are_no_other_methods(desk: Desk, method: str) -> None:
    assert ask(desk, method, f"/{desk.token}/marks")[0] == 501
