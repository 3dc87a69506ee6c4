"""The guard before every route: who may ask, from where, and the headers that every answer carries."""

import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sortal.serving.refused import Refused

if TYPE_CHECKING:  # it needs an extra, and whether a host is this machine can be told without
    from sortal.serving.telemetry import Telemetry

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = {"/", "/page.css", "/page.js", "/v2/health/live", "/v2/health/ready"}
"""What needs no token: the page asks for it itself, and whoever looks after the server has none."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"cache-control", b"no-store"),
]

logger = logging.getLogger("sortal.serving")


def guarded(app: App, *, token: str = "", local: bool = True, names: Collection[str] = (), telemetry: "Telemetry") -> App:
    """The app behind the guard.

    Args:
        app: what answers.
        token: if given, asked for as `Authorization: Bearer TOKEN`.
        local: whether only this machine may ask: then the name by which it is asked must be this machine's too, since a page
            in somebody's browser can give any name this machine's address (DNS rebinding).
        names: other names, in lower case, by which it may be asked, as by a proxy in front of it; if there are some, no name
            but these and this machine's is answered to.
        telemetry: counts every answer by route and status.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        since = perf_counter()

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
                telemetry.requests.labels(_route(scope), str(message["status"])).inc()
            await send(message)

        try:
            _allow(scope, token, local, names)
            await app(scope, receive, sending)
        except Refused as refused:
            await answer(sending, refused)
        except Exception:  # it was answered, and whoever runs the server finds it in the log
            logger.exception("a request to %s failed", _route(scope))
        finally:
            telemetry.took("all", perf_counter() - since)

    return guard


def _route(scope: Scope) -> str:
    """The route's pattern, not the path, of which there are as many as somebody cares to send."""
    return str(getattr(scope.get("route"), "path", "other"))


def _allow(scope: Scope, token: str, local: bool, names: Collection[str]) -> None:
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"").decode("latin-1")
    name = _without_port(host)
    if (local or names) and not is_loopback(name) and name.lower() not in names:
        raise Refused(403, "this server does not answer to that name", hint="start it with --allowed-host NAME if it should")
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and origin.partition("://")[2] != host:
        raise Refused(403, "another site's page may not ask this server")
    if token and scope["path"] not in OPEN:
        sent = headers.get(b"authorization", b"")
        if not hmac.compare_digest(sent, b"Bearer " + token.encode()):
            raise Refused(401, "a token is needed", hint="send the header Authorization: Bearer TOKEN")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    if host.lower() in ("localhost", ""):  # no name at all: HTTP/1.0, or a client that knows no better
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def answer(send: Send, refused: Refused) -> None:
    """Send an error as JSON."""
    body = refused.body
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in refused.headers.items()]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
