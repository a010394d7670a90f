"""A process that serves: uvicorn's configuration, and a server that drains before it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from app.server.protocol import create_protocol_factory
from app.server.signals import reload_on_sighup
from app.server.sockets import ListeningSocket
from app.server.workers import WorkerSlot
from app.settings import Settings
from app.state import State, get_lifespan_state
from app.telemetry import logs

# seconds: longer than load balancers' idle time (60), so that they close first
KEEP_ALIVE_TIMEOUT: Final = 75
LINGER_SECONDS: Final = 0.5  # for new connections to send their request
LOCAL_HOSTS: Final = {"0.0.0.0", "::", "127.0.0.1", "::1"}  # noqa: S104  a browser on this machine calls them localhost
log = logging.getLogger("app")


def configure(settings: Settings, *, app: str | Callable[[], ASGIApp]) -> uvicorn.Config:
    """Return uvicorn's configuration; `app` creates the application, or is the name of what does."""
    return uvicorn.Config(
        app,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=logs.build_log_config(settings),
        access_log=False,  # `app.telemetry.access` writes it, with the request's id
        server_header=False,
        http=create_protocol_factory(settings),  # type: ignore[arg-type]  # what makes a protocol will do
        proxy_headers=False,  # `app.guard.proxies` reads them
        loop="asyncio",  # as fast here as uvloop, which accepts one connection a turn (docs/performance.md)
        lifespan="on",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_TIMEOUT,
        timeout_graceful_shutdown=settings.graceful_timeout,
    )


def announce(settings: Settings) -> None:
    """Log the address to open in a browser."""
    host = "localhost" if settings.host in LOCAL_HOSTS else settings.host
    log.info("digits is ready: http://%s:%d", f"[{host}]" if ":" in host else host, settings.port)


class Server(uvicorn.Server):
    """uvicorn's server, which reloads on SIGHUP and loses no request on SIGTERM."""

    def __init__(self, config: uvicorn.Config, slot: WorkerSlot | None = None) -> None:
        """Serve alone, or in a slot as one of several workers."""
        super().__init__(config)
        self._slot = slot
        self._state: State | None = None  # of the application, once it serves
        self._while_serving = AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, listen, and handle signals."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._state = state = get_lifespan_state(self.lifespan.state)
        self._while_serving.enter_context(reload_on_sighup(state.catalogue, state.keyring))
        if self._slot is None:
            announce(state.settings)
        else:
            await self._while_serving.enter_async_context(self._slot.publish(state.metrics))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the requests in flight, and end."""
        await super().shutdown(sockets)
        await self._while_serving.aclose()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on SIGTERM, before uvicorn ends the server; a second signal ends it at once.

        While it drains, the server goes on but reports that it isn't ready, so that load balancers stop
        sending requests. Then it accepts no more connections, and gives the newest ones time to send their
        request: uvicorn would close them unanswered.
        """
        if sig != signal.SIGTERM or self._state is None:
            super().handle_exit(sig, frame)
        elif self._state.readiness.draining:
            super().handle_exit(sig, frame)
            super().handle_exit(signal.SIGINT, frame)  # uvicorn ends at once on a SIGINT after another signal
        else:
            self._state.readiness.draining = True
            delay = self._state.settings.drain_delay
            self._loop.call_soon_threadsafe(self._loop.call_later, delay, self._leave_sockets)

    def _leave_sockets(self) -> None:
        for listening in ListeningSocket.instances:
            listening.close_when_idle(self._loop)
        self._loop.call_later(LINGER_SECONDS, super().handle_exit, signal.SIGTERM, None)
