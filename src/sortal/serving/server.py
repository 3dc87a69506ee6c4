"""The process: a socket, uvicorn's loop, and an end that answers whoever was let in."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from sortal.errors import MachineFailed
from sortal.serving.app import Wanted, app
from sortal.serving.limits import Limits
from sortal.serving.protocol import LINGER, protocol

BACKLOG = 2048


class Uvicorn(uvicorn.Server):
    """uvicorn's server, which ends cleanly when it is told to end."""

    def __init__(self, config: uvicorn.Config, began: Callable[[], None], draining: Callable[[], None]) -> None:
        super().__init__(config)
        self.began, self.draining = began, draining

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.began()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that no more is wanted, take in what is on its way nevertheless, and answer it."""
        self.draining()
        await asyncio.sleep(LINGER)
        rest = [listener.dup() for listener in sockets or []]  # the system goes on listening as long as one is open
        for server in self.servers:
            server.close()
        for listener in rest:
            await self._take_in(listener)
            listener.close()
        await super().shutdown(sockets)

    async def _take_in(self, listener: socket.socket) -> None:
        """Accept the connections that the system has made and that nobody took; closed with the listener they were cut off."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                await loop.connect_accepted_socket(self._connection, connection)

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state={}, _loop=asyncio.get_running_loop()
        )  # type: ignore[call-arg]
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again: a server that was told to end and did is no failure."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound; raises `MachineFailed` where the address cannot be had."""
    try:
        family, kind, protocol_, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        found = socket.socket(family, kind, protocol_)
    except OSError as error:
        raise MachineFailed(f"cannot listen on {host}: {error.strerror}", hint="choose another --host") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise MachineFailed(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another --port or --host"
        ) from error
    return found


def run(wanted: Wanted, listener: socket.socket, *, began: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT; `began` is called when everything answers. Raises what keeps a model from being served."""
    application, server = app(wanted)
    config = configured(application, wanted.limits)
    config.http = protocol(server.desk, wanted.limits, lambda: server.draining)

    async def serving() -> None:
        async with server.running():
            await Uvicorn(config, began, server.drain).serve(sockets=[listener])

    # It warns of every request that is none: whoever sends those would fill the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serving())


def configured(application: Any, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        lifespan="off",  # the server runs around uvicorn, so that what is wrong with a model is told as what it is
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=round(limits.drain_seconds),
    )
