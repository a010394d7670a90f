"""One serving process: uvicorn's configuration, and its graceful shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from ..settings import Settings
from ..state import State, get_lifespan_state
from ..telemetry import logs
from .protocol import create_protocol_factory
from .signals import reload_on_sighup
from .sockets import ListeningSocket
from .workers import SharedMetrics

# seconds: more than the idle timeout of load balancers (60), so that they close connections first
KEEP_ALIVE_TIMEOUT: Final = 75
LINGER_SECONDS: Final = 0.5  # for the first request of a connection that was accepted just before shutdown
LOCAL_HOSTS: Final = {"0.0.0.0", "::", "127.0.0.1", "::1"}  # noqa: S104  a browser on this machine reaches them at localhost
log = logging.getLogger("app")


def configure(settings: Settings, *, app: str | Callable[[], ASGIApp]) -> uvicorn.Config:
    """Return uvicorn's configuration for an application factory, or for its import string."""
    return uvicorn.Config(
        app,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=logs.build_log_config(settings),
        access_log=False,  # `app.telemetry.access` writes one, with request ids
        server_header=False,
        http=create_protocol_factory(settings),  # type: ignore[arg-type]  # a factory works as well as a class
        proxy_headers=False,  # `app.guard.proxies` handles them
        loop="asyncio",  # as fast here; uvloop accepts one connection per iteration (docs/performance.md)
        lifespan="on",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_TIMEOUT,
        timeout_graceful_shutdown=settings.graceful_timeout,
    )


def announce(settings: Settings) -> None:
    """Log the address to open in a browser."""
    host = "localhost" if settings.host in LOCAL_HOSTS else settings.host
    log.info("digits is ready: http://%s:%d", f"[{host}]" if ":" in host else host, settings.port)


def resume_collection() -> None:
    """Turn the garbage collector on again if it is off; it will never search what exists now."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


class Server(uvicorn.Server):
    """uvicorn's server, with reloading on SIGHUP and a shutdown on SIGTERM that loses no request."""

    def __init__(self, config: uvicorn.Config, shared_metrics: SharedMetrics | None = None) -> None:
        """Create a server; only one of several workers has `shared_metrics`."""
        super().__init__(config)
        self._shared_metrics = shared_metrics
        self._state: State | None = None  # the application's, once it has started
        self._while_serving = AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, listen, and handle the signals to reload."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._state = state = get_lifespan_state(self.lifespan.state)
        state.batcher.requests = self.server_state.tasks
        self._while_serving.enter_context(reload_on_sighup(state.catalogue, state.keyring))
        if self._shared_metrics is None:
            announce(state.settings)
        else:
            await self._while_serving.enter_async_context(self._shared_metrics.publish(state.metrics))
        resume_collection()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests in flight, and stop."""
        await super().shutdown(sockets)
        await self._while_serving.aclose()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first SIGTERM, then let uvicorn shut down; exit immediately on the second.

        While draining, the server keeps serving but reports that it is not ready, so that load balancers
        remove it. Then it stops listening, and waits for the first requests of the connections that it has
        just accepted: uvicorn would close them without a response.
        """
        if sig != signal.SIGTERM or self._state is None:
            super().handle_exit(sig, frame)
        elif self._state.readiness.draining:
            super().handle_exit(sig, frame)
            super().handle_exit(signal.SIGINT, frame)  # uvicorn forces the exit if SIGINT comes second
        else:
            self._state.readiness.draining = True
            delay = self._state.settings.drain_delay
            self._loop.call_soon_threadsafe(self._loop.call_later, delay, self._stop_listening)

    def _stop_listening(self) -> None:
        for listening_socket in ListeningSocket.instances:
            listening_socket.close_when_drained(self._loop)
        self._loop.call_later(LINGER_SECONDS, super().handle_exit, signal.SIGTERM, None)
