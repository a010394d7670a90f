"""The service on an existing Ray cluster: `serve run deploy.ray.serve:app`, or `serve.yaml` beside this file.

Each replica builds the application for itself, from its own environment, and loads its own models.
"""

from __future__ import annotations

import logging.config
import math
from http import HTTPStatus
from typing import Any, Final

import ray
from ray import serve
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.main import create_app
from app.settings import load_settings
from app.telemetry import logs
from app.wire.problems import RETRY_AFTER
from app.wire.request_id import REQUEST_ID_HEADER

READY: Final = "/health/ready"
# More than DIGITS_MAX_IN_FLIGHT (128), so that the service itself says it is busy, by a problem, and counts a
# batch's pictures. Ray counts requests, and refuses in plain text.
MAX_ONGOING: Final = 160
MAX_QUEUED: Final = 64  # at each proxy, while no replica takes any: when one has died, until another is there
GRACE: Final = 30  # seconds for requests in flight when a replica ends, as DIGITS_GRACEFUL_TIMEOUT
_ID: Final = REQUEST_ID_HEADER.lower().encode()


class Replica:
    """The application as Ray asks it, which knows of neither its lifespan's state nor its request ids."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or begin and end the lifespan."""
        if scope["type"] == "lifespan":
            self._state = scope["state"]  # which the application fills
            await self._app(scope, receive, send)
        else:
            scope["state"] = self._state.copy()
            scope["path"] = scope["path"].removeprefix(scope["root_path"])  # the application's route_prefix
            await self._app(scope, receive, _strip_id(send))

    async def get_status(self, path: str) -> int:
        """Return what a GET of the path is answered with."""
        answers: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            answers.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        await self({**scope, "root_path": "", "client": None}, receive, send)
        return int(answers[0]["status"])


def _strip_id(send: Send) -> Send:
    """Leave out the request's id: Ray adds it, too, having given the application the same one."""

    async def send_without_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [header for header in message["headers"] if header[0] != _ID]
        await send(message)

    return send_without_id


def build() -> Replica:
    """Return the application of a replica; Ray calls it there."""
    settings = load_settings()
    logging.config.dictConfig(logs.build_log_config(settings))
    return Replica(create_app(settings, threads=_count_cores()))


def _count_cores() -> int:
    """Return how many cores the replica has been given; it sees all of its node's."""
    cpus: float = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    return math.ceil(cpus)


@serve.deployment(
    max_ongoing_requests=MAX_ONGOING,
    max_queued_requests=MAX_QUEUED,
    backpressure_config={"status_code": 503, "retry_after_s": int(RETRY_AFTER)},
    graceful_shutdown_timeout_s=GRACE,
    max_surge_percent=25,  # an update starts new replicas before it ends old ones, which needs room for them
    logging_config={"enable_access_log": False},  # the service writes its own
    ray_actor_options={"num_cpus": 1},  # a replica is one event loop, and runs the network on one thread
)
@serve.ingress(build)
class Digits:
    """One process that serves."""

    app: Replica  # what `build` has returned there

    async def check_health(self) -> None:
        """Be asked by Ray what load balancers ask the service; who fails three times is replaced.

        Raises:
            RuntimeError: it is not ready.
        """
        status = await self.app.get_status(READY)
        if status != HTTPStatus.OK:
            msg = f"{READY} gives {status}"
            raise RuntimeError(msg)


app = Digits.bind()  # type: ignore[attr-defined]  # the decorators, of no types, have made it a deployment
