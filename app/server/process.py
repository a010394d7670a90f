"""One process that serves: uvicorn as it is configured here, and how it ends."""

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
from app.server.workers import Share
from app.settings import Settings
from app.state import State, get_lifespan_state
from app.telemetry import logs

# seconds: longer than load balancers' idle time (60), so that they close first
KEEP_ALIVE_TIMEOUT: Final = 75
LINGER_SECONDS: Final = 0.5  # seconds for connections that have just been taken to bring their request
LOCAL_HOSTS: Final = {"0.0.0.0", "::", "127.0.0.1", "::1"}  # noqa: S104  what a browser here calls localhost
log = logging.getLogger("app")


def configure(settings: Settings, *, app: str | Callable[[], ASGIApp]) -> uvicorn.Config:
    """Return how uvicorn serves what the function `app`, or the one of that name, makes."""
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
    """Log the address to open in a browser, now that it answers."""
    host = "localhost" if settings.host in LOCAL_HOSTS else settings.host
    log.info("digits is ready: http://%s:%d", f"[{host}]" if ":" in host else host, settings.port)


class Server(uvicorn.Server):
    """uvicorn's server, which reloads on SIGHUP, and on SIGTERM ends without a lost request."""

    def __init__(self, config: uvicorn.Config, share: Share | None = None) -> None:
        """Serve alone, or as one of several workers, with a share in their numbers."""
        super().__init__(config)
        self._share = share
        self._state: State | None = None  # of the application, once it serves
        self._while_serving = AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, listen, and see to signals."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._state = state = get_lifespan_state(self.lifespan.state)
        self._while_serving.enter_context(reload_on_sighup(state.catalogue, state.keyring))
        if self._share is None:
            announce(state.settings)
        else:
            await self._while_serving.enter_async_context(self._share.publish(state.metrics))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the requests in flight, and end."""
        await super().shutdown(sockets)
        await self._while_serving.aclose()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on SIGTERM, before uvicorn ends the server; a second signal ends it at once.

        While it drains, the server serves on, but says that it is not ready, so that load balancers turn away
        from it. Then it takes no more connections, and gives those that it has just taken time to bring their
        request: uvicorn would close them unanswered.
        """
        if sig != signal.SIGTERM or self._state is None:
            super().handle_exit(sig, frame)
        elif self._state.readiness.draining:
            super().handle_exit(sig, frame)
            super().handle_exit(signal.SIGINT, frame)  # uvicorn's word for "at once": a SIGINT after a signal
        else:
            self._state.readiness.draining = True
            delay = self._state.settings.drain_delay
            self._loop.call_soon_threadsafe(self._loop.call_later, delay, self._leave_sockets)

    def _leave_sockets(self) -> None:
        for listening in ListeningSocket.instances:
            listening.close_when_idle(self._loop)
        self._loop.call_later(LINGER_SECONDS, super().handle_exit, signal.SIGTERM, None)
