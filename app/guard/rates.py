"""Rate limiting, with a token bucket for each key, or for each address if there are no keys."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..wire.paths import PUBLIC_PATHS
from ..wire.problems import ProblemResponse, RateLimited
from ..wire.scope import get_client

WINDOW: Final = 60  # seconds in which an empty bucket fills up
MAX_CLIENTS: Final = 100_000  # buckets in memory, about 20 MB
ROUNDING_SECONDS: Final = 1e-9 * WINDOW  # what floating-point arithmetic may add to a wait of zero
ROUNDING_TOKENS: Final = 1e-6  # what it may take away from a whole number of tokens
MAX_WRONG_KEYS: Final = 100  # a minute: a misconfigured client that retries every second gets 401, not 429


class Buckets:
    """Token buckets, implemented with the generic cell rate algorithm (GCRA, ITU-T I.371).

    A bucket is stored as the time at which it will be full. Taking a token postpones that time by the
    interval in which one token is added.
    """

    def __init__(
        self, size: int, *, max_clients: int = MAX_CLIENTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create the buckets. Each client starts with a full one.

        Args:
            size: tokens in a full bucket, and tokens added to it per minute.
            max_clients: number of buckets in memory; the least recently used is dropped first.
            clock: returns the time in seconds.
        """
        self.size = size
        self._max_clients = max_clients
        self._interval = WINDOW / size
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # by client, the least recently used first

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str) -> tuple[int, float]:
        """Take a token. Return the tokens that remain and 0.0, or 0 and the seconds until one is added."""
        now = self._clock()
        full_at = max(self._full_at.get(client, now), now) + self._interval
        wait = full_at - now - WINDOW
        if wait > ROUNDING_SECONDS:
            return 0, wait
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._max_clients:
            self._full_at.popitem(last=False)
        return math.floor((WINDOW - (full_at - now)) / self._interval + ROUNDING_TOKENS), 0.0


class RateGuard:
    """Refuse clients that exceed their rate limit. Every response has a `RateLimit` header.

    Each worker counts separately.
    """

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
        # https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/
        rate_limit = f'"default";r={remaining};t={math.ceil(wait or WINDOW / self._buckets.size)}'

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = (self._policy, (b"ratelimit", rate_limit.encode()))
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        if wait:
            refusal = ProblemResponse(RateLimited("Requests", limit=self._buckets.size, wait=wait))
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


class WrongKeyLimiter:
    """Limits the wrong keys that an address may send. They share the rate limit's buckets, if any."""

    def __init__(self, buckets: Buckets | None) -> None:
        self._buckets = Buckets(MAX_WRONG_KEYS) if buckets is None else buckets

    def count(self, scope: Scope) -> ProblemResponse | None:
        """Count a wrong key. Return the 429 response if there were too many."""
        _, wait = self._buckets.take(get_client(scope))
        if not wait:
            return None
        return ProblemResponse(RateLimited("Wrong keys", limit=self._buckets.size, wait=wait))
