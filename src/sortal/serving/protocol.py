"""HTTP on one connection: uvicorn's, with a time for the head, and load that is shed before a task is made for it."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sortal.serving.answering import Desk
from sortal.serving.guard import HEADERS
from sortal.serving.limits import Limits
from sortal.serving.refused import Refused, shed

LONGEST_HEAD = 32_768
"""Bytes of a request's line and headers; more than any browser or client sends."""
LINGER = 0.3
"""Seconds that an idle connection stays open when the server ends: a request may be on its way."""
FIXED = b"content-type: application/json\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in HEADERS)
ASKS = (b"/predict", b"/explain", b"/infer")
"""How the addresses end that cost something."""


def protocol(desk: Desk, limits: Limits, draining: Callable[[], bool]) -> type[asyncio.Protocol]:
    """The class whose instances are connections."""

    counted = {status: desk.telemetry.requests.labels("refused", str(status)) for status in (400, 431, 503)}

    class Connection(HttpToolsProtocol):
        timer: asyncio.TimerHandle | None = None
        """Ends the connection where a head, or what is thrown away, takes too long."""
        in_head = True
        in_body = False
        head_bytes = 0
        thrown_away = 0
        shedding = False
        ending = False
        """What was refused is the last of this connection. It is closed only when all of it has come: a connection that is
        closed with something unread takes the answer with it."""
        one_too_many = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._end_after(limits.head_seconds)
            self.one_too_many = len(self.connections) > limits.connections

        def send_400_response(self, msg: str) -> None:
            counted[400].inc()
            self._write(Refused(400, "this is no HTTP request"), close=True)

        def connection_lost(self, exc: Exception | None) -> None:
            self._keep()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.in_head:
                self.head_bytes += len(data)
                if self.timer is None:
                    self._end_after(limits.head_seconds)
            super().data_received(data)
            if self.in_head and self.head_bytes > LONGEST_HEAD and not self.transport.is_closing():
                self._write(Refused(431, "the request's head is too long"), close=True)

        def on_headers_complete(self) -> None:
            self._keep()
            self.in_head, self.in_body, self.head_bytes, self.thrown_away = False, True, 0, 0
            if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > LONGEST_HEAD:
                self._refuse(Refused(431, "the request's head is too long"), last=True)
                return
            if self.one_too_many:
                self._refuse(shed("connections", "too many connections", 1.0), last=True)
                return
            idle = self.cycle is None or self.cycle.response_complete
            path = self.url.partition(b"?")[0]
            if idle and path.endswith(ASKS) and (refusal := desk.refusal()):
                # The way through the app takes ten times as long, and there is no time.
                self._refuse(refusal, last=draining())
                return
            super().on_headers_complete()
            if draining():
                self.cycle.keep_alive = False

        def on_body(self, body: bytes) -> None:
            if self.shedding or self.cycle.response_complete:
                self.thrown_away += len(body)
                if self.timer is None:
                    self._end_after(limits.head_seconds + limits.body / limits.bytes_per_second / 100)
                if self.thrown_away > limits.body:
                    self.transport.close()
                return
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._keep()
            self.in_head, self.in_body = True, False
            if self.shedding:
                self.shedding = False
                if self.ending:
                    self.transport.close()
                    return
                self._idle_for(self.timeout_keep_alive)
                return
            super().on_message_complete()

        def shutdown(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.loop.call_later(LINGER, self._close_idle)
            else:
                self.cycle.keep_alive = False

        def _close_idle(self) -> None:
            busy = self.in_body or self.head_bytes or not (self.cycle is None or self.cycle.response_complete)
            if not busy and self.transport is not None and not self.transport.is_closing():
                self.transport.close()

        def _idle_for(self, seconds: float) -> None:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

        def _end_after(self, seconds: float) -> None:
            self._keep()
            self.timer = self.loop.call_later(seconds, self._too_slow)

        def _keep(self) -> None:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

        def _too_slow(self) -> None:
            self.timer = None
            if self.transport.is_closing():
                return
            if self.in_head and self.head_bytes:
                self._write(Refused(408, "the request's head comes too slowly"), close=True)
            elif not self.in_head or self.cycle is None:
                self.transport.close()

        def _refuse(self, refused: Refused, *, last: bool) -> None:
            """Answer before the body has come, and throw that away."""
            self.shedding, self.ending = True, last
            if refused.status == 503:
                desk.telemetry.shed.labels(refused.reason).inc()
            counted[refused.status].inc()
            self._write(refused, close=False)

        def _write(self, refused: Refused, *, close: bool) -> None:
            body = refused.body
            lines = [STATUS_LINE[refused.status], FIXED]
            lines += [b"%b: %b\r\n" % pair for pair in self.server_state.default_headers]
            lines += [b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in refused.headers.items()]
            lines += [b"connection: close\r\n"] if (close or self.ending) and "connection" not in refused.headers else []
            self.transport.write(b"".join([*lines, b"content-length: %d\r\n\r\n" % len(body), body]))
            if close:
                self.transport.close()

    return Connection
