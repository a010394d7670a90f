"""The service on an existing Ray cluster: `serve run deploy.ray.serve:app`, or `serve.yaml` beside this file.

Each replica builds its own application, from its environment, and loads its own models.
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
# More than DIGITS_MAX_IN_FLIGHT (128), so that the service refuses requests before Ray does: it counts
# pictures, and answers with a problem document; Ray counts requests, and answers in plain text.
MAX_ONGOING: Final = 160
MAX_QUEUED: Final = 64  # requests at each proxy, while no replica accepts any, such as during a replacement
GRACEFUL_TIMEOUT: Final = 30  # seconds for requests in flight when a replica ends, as DIGITS_GRACEFUL_TIMEOUT
_ID: Final = REQUEST_ID_HEADER.lower().encode()


class Replica:
    """Adapts the application to Ray, which drops the lifespan's state and adds its own request ids."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or run the lifespan."""
        if scope["type"] == "lifespan":
            self._state = scope["state"]  # the application fills it
            await self._app(scope, receive, send)
        else:
            scope["state"] = self._state.copy()
            scope["path"] = scope["path"].removeprefix(scope["root_path"])  # the application's route_prefix
            await self._app(scope, receive, _strip_id(send))

    async def get_status(self, path: str) -> int:
        """Return the status of the answer to a GET request."""
        answers: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            answers.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        await self({**scope, "root_path": "", "client": None}, receive, send)
        return int(answers[0]["status"])


def _strip_id(send: Send) -> Send:
    """Remove the request's id from the answer: Ray adds it again."""

    async def send_without_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [header for header in message["headers"] if header[0] != _ID]
        await send(message)

    return send_without_id


def build() -> Replica:
    """Return the application; Ray calls this in each replica."""
    settings = load_settings()
    logging.config.dictConfig(logs.build_log_config(settings))
    return Replica(create_app(settings, threads=_count_reserved_cores()))


def _count_reserved_cores() -> int:
    """Return how many cores are reserved for the replica, which sees all cores of its node."""
    cpus: float = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    return math.ceil(cpus)


@serve.deployment(
    max_ongoing_requests=MAX_ONGOING,
    max_queued_requests=MAX_QUEUED,
    backpressure_config={"status_code": 503, "retry_after_s": int(RETRY_AFTER)},
    graceful_shutdown_timeout_s=GRACEFUL_TIMEOUT,
    max_surge_percent=25,  # an update starts new replicas before it ends old ones, and needs cores for them
    logging_config={"enable_access_log": False},  # the service writes its own
    ray_actor_options={"num_cpus": 1},  # a replica is one event loop, and runs the network on one thread
)
@serve.ingress(build)
class Digits:
    """A replica: one process that serves requests."""

    app: Replica  # set by Ray to what `build` returns

    async def check_health(self) -> None:
        """Check readiness, as load balancers do; Ray replaces a replica that fails three times.

        Raises:
            RuntimeError: it is not ready.
        """
        status = await self.app.get_status(READY)
        if status != HTTPStatus.OK:
            msg = f"{READY} answers {status}"
            raise RuntimeError(msg)


app = Digits.bind()  # type: ignore[attr-defined]  # the untyped decorators make it a deployment
