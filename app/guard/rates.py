"""How often a client may ask: a token bucket for each key, else for each address."""

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

WINDOW: Final = 60  # seconds in which a bucket that was empty is full again
MAX_CLIENTS: Final = 100_000  # buckets that are kept: about 20 MB
MAX_WRONG_KEYS: Final = 100  # a minute, without DIGITS_RATE_LIMIT: who tries once a second is still told why


class Buckets:
    """Token buckets, each kept as the time at which it is full again.

    That is all there is to know of one (the "generic cell rate algorithm" of ATM's traffic management,
    ITU-T I.371): each token taken puts the time off by the interval in which one flows in.
    """

    def __init__(
        self, size: int, *, clients: int = MAX_CLIENTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make them, for all clients yet to come.

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
        """Take a token; return how many are left, and the seconds until there is one if there was none.

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
    """Refuse a client whose bucket is empty, and tell every client how full it is.

    Each worker counts for itself.
    """

    def __init__(self, app: ASGIApp, buckets: Buckets) -> None:
        self._app = app
        self._buckets = buckets
        self._policy = b"ratelimit-policy", f'"default";q={buckets.size};w={WINDOW}'.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in PUBLIC_PATHS:
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


class WrongKeyLimiter:
    """Counts wrong keys for each address, in the buckets of all requests where these are limited."""

    def __init__(self, buckets: Buckets | None) -> None:
        self._buckets = Buckets(MAX_WRONG_KEYS) if buckets is None else buckets

    def count(self, scope: Scope) -> ProblemResponse | None:
        """Count one; return the refusal that takes the place of a 401 where there were too many."""
        _, wait = self._buckets.take(get_client(scope))
        return (
            ProblemResponse(RateLimited("wrong keys", limit=self._buckets.size, wait=wait)) if wait else None
        )
