"""The desk: a server for one person on this machine alone, where a report's page takes marks.

It listens on the loopback, and every address begins with a secret that is made anew each time. A request must also name this
very server as its host and its origin, so that neither another site in the same browser nor a name that was made to point here
can speak to it; a request that changes something must carry the secret in a header of its own, which no form can.
"""

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from sortal.errors import SortalError

LARGEST_BODY = 1 << 20
"""Bytes of a request, unless the desk is told what its largest needs."""
SECONDS = 30.0
"""How long a request may take to arrive."""
HEADER = "X-Sortal-Token"
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page's own policy stands in the page
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Desk(ThreadingHTTPServer):
    """Serves the page that `page()` returns and pictures of images by name, and answers what it is asked by `acts`: a name to a
    function of plain data.

    Args:
        page: the page as text, with what the images are by now; given the secret.
        acts: what can be asked for; a function gets the JSON object that was sent and returns one. It raises `SortalError`
            for what cannot be done. Calls may come from several threads at once.
        pictures: a source to its picture, a JPEG or PNG file; None where it has none.
        port: 0 takes one that is free.
        largest_body: bytes that what is sent may have.
    """

    daemon_threads = True

    def __init__(
        self,
        page: Callable[[str], str],
        acts: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]],
        *,
        pictures: Callable[[str], bytes | None] = lambda source: None,
        port: int = 0,
        largest_body: int = LARGEST_BODY,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.page, self.acts, self.pictures, self.largest_body = page, acts, pictures, largest_body
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """The address to open, with the secret in it."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, str]:
        """What a browser may call this server."""
        return f"127.0.0.1:{self.server_port}", f"localhost:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error; all else is a bug, and told as one."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Refused(Exception):
    """A request that gets nothing but a status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: Desk
    timeout = SECONDS
    server_version, sys_version = "sortal", ""

    def do_GET(self) -> None:
        self._answered(self._shown)

    def do_POST(self) -> None:
        self._answered(self._act)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing: addresses hold the secret."""

    def _answered(self, answer: Callable[[], tuple[HTTPStatus, str, str | bytes]]) -> None:
        try:
            if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
                raise _Refused(HTTPStatus.MISDIRECTED_REQUEST)
            status, kind, content = answer()
        except _Refused as refused:
            status, kind, content = refused.status, "text/plain", refused.status.phrase
        body = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if isinstance(content, str) else kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _name(self) -> str:
        """What stands behind the secret in the address."""
        nothing, _, behind = self.path.partition("/")
        token, slash, name = behind.partition("/")
        known = secrets.compare_digest(token.encode(), self.server.token.encode())
        if nothing or not slash or not known:
            raise _Refused(HTTPStatus.NOT_FOUND)
        return name

    def _shown(self) -> tuple[HTTPStatus, str, str | bytes]:
        name, _, options = self._name().partition("?")
        if name == "picture":
            return self._picture(options)
        if name or options:
            raise _Refused(HTTPStatus.NOT_FOUND)
        return HTTPStatus.OK, "text/html", self.server.page(self.server.token)

    def _picture(self, options: str) -> tuple[HTTPStatus, str, str | bytes]:
        sources = parse_qs(options).get("source", [])
        picture = self.server.pictures(sources[0]) if len(sources) == 1 else None
        if picture is None:
            raise _Refused(HTTPStatus.NOT_FOUND)
        return HTTPStatus.OK, "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg", picture

    def _act(self) -> tuple[HTTPStatus, str, str | bytes]:
        act = self.server.acts.get(self._name())
        if act is None:
            raise _Refused(HTTPStatus.NOT_FOUND)
        self._require_own_page()
        asked = self._body()
        try:
            return HTTPStatus.OK, "application/json", json.dumps(act(asked))
        except SortalError as error:
            status = HTTPStatus.BAD_REQUEST if error.exit_code == 2 else HTTPStatus.INTERNAL_SERVER_ERROR
            return status, "application/json", json.dumps({"error": error.message, "hint": error.hint})
        except OSError as error:
            told = {"error": str(error), "hint": "all that was marked before is kept"}
            return HTTPStatus.INTERNAL_SERVER_ERROR, "application/json", json.dumps(told)

    def _require_own_page(self) -> None:
        carried = self.headers.get(HEADER, "")
        if not secrets.compare_digest(carried.encode(), self.server.token.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN)
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers['Host']}":
            raise _Refused(HTTPStatus.FORBIDDEN)
        if self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise _Refused(HTTPStatus.FORBIDDEN)

    def _body(self) -> Mapping[str, Any]:
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED)
        if len(length) > 12 or int(length) > self.server.largest_body:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            asked = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST) from error
        if not isinstance(asked, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST)
        return asked
