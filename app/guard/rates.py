"""How often a client may call: a token bucket for each key, or else for each address."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.wire.paths import PUBLIC_PATHS
from app.wire.problems import ProblemResponse, RateLimited
from app.wire.scope import get_client

WINDOW: Final = 60  # seconds in which an empty bucket fills up
MAX_CLIENTS: Final = 100_000  # buckets: about 20 MB
# a minute, without DIGITS_RATE_LIMIT: a client that tries once a second still gets 401
MAX_WRONG_KEYS: Final = 100


class Buckets:
    """Token buckets, each stored as the time at which it will be full again.

    This is the generic cell rate algorithm (GCRA, ITU-T I.371): each token taken postpones that time by the
    interval in which one token flows in.
    """

    def __init__(
        self, size: int, *, clients: int = MAX_CLIENTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with a full bucket for every client.

        Args:
            size: of each, in tokens; as many flow in within a minute.
            clients: how many are remembered; the longest unseen is forgotten first, and starts full again.
            clock: seconds.
        """
        self.size = size
        self._clients = clients
        self._interval = WINDOW / size
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # by client, the longest unseen first

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str) -> tuple[int, float]:
        """Take a token, if there is one.

        Returns:
            The tokens left and 0.0, or 0 and the seconds to wait.
        """
        now = self._clock()
        full_at = max(self._full_at.get(client, now), now) + self._interval
        lacking = full_at - now - WINDOW
        if lacking > 1e-9 * WINDOW:
            return 0, lacking
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._clients:
            self._full_at.popitem(last=False)
        return math.floor((WINDOW - (full_at - now)) / self._interval + 1e-6), 0.0


class RateGuard:
    """Refuse a client whose bucket is empty, and report to every client how full it is; in each worker."""

    def __init__(self, app: ASGIApp, buckets: Buckets) -> None:
        self._app = app
        self._buckets = buckets
        self._policy = b"ratelimit-policy", f'"default";q={buckets.size};w={WINDOW}'.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] in PUBLIC_PATHS:
            await self._app(scope, receive, send)
            return
        remaining, wait = self._buckets.take(get_client(scope))
        # draft-ietf-httpapi-ratelimit-headers-10
        state = f'"default";r={remaining};t={math.ceil(wait or WINDOW / self._buckets.size)}'

        async def send_with_state(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = (self._policy, (b"ratelimit", state.encode()))
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        if wait:
            refusal = ProblemResponse(RateLimited("requests", limit=self._buckets.size, wait=wait))
            await refusal(scope, receive, send_with_state)
            return
        await self._app(scope, receive, send_with_state)
