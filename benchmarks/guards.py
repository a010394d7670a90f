"""What all guards together cost a small request: the service with every one on, and with none.

    python -m benchmarks.guards

Both serve the same small picture to the same clients, in alternation; the figures are medians of `ROUNDS`
rounds. Machines differ, so quote the ratio.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from app.guard import keys
from app.main import create_app
from benchmarks.pictures import SMALL
from benchmarks.serving import Service, serve
from tests.resilience.clients import PNG, Ask, build_ask, load, stop_after

if TYPE_CHECKING:
    from fastapi import FastAPI

ROUNDS: Final = 21
SECONDS: Final = 1.0  # of each round
CLIENTS: Final = 4


def create_unguarded() -> FastAPI:
    """Return the application with none of its guards; uvicorn calls it."""
    app = create_app()
    app.user_middleware = [
        layer for layer in app.user_middleware if not layer.cls.__module__.startswith("app.guard")
    ]
    return app


def main() -> None:
    """Print how many requests a second both serve, and their ratio."""
    key, entry = keys.create_key("bench")
    everything = {
        "DIGITS_API_KEYS": entry,
        "DIGITS_RATE_LIMIT": "1000000",
        "DIGITS_CORS_ORIGINS": "https://example.org",
    }
    ask = build_ask("/predict", [SMALL], PNG | {"X-API-Key": key, "Origin": "https://example.org"})
    with (
        _serve_quietly("app.main:create_app", everything) as guarded,
        _serve_quietly("benchmarks.guards:unguarded") as bare,
    ):
        rounds = [(_measure_rate(guarded, ask), _measure_rate(bare, ask)) for _ in range(ROUNDS)]
    guarded_rate, bare_rate = (statistics.median(rates) for rates in zip(*rounds, strict=True))
    cost = 1 - statistics.median(one / other for one, other in rounds)
    print(f"with all guards {guarded_rate:.0f}/s, with none {bare_rate:.0f}/s: they cost {cost:.1%}")


def _measure_rate(service: Service, ask: Ask) -> float:
    tally = asyncio.run(load(service.port, ask, clients=CLIENTS, until=stop_after(SECONDS)))
    if tally.count(200) != len(tally.answers) or tally.lost:
        sys.exit("not every request was served")
    return len(tally.answers) / SECONDS


def _serve_quietly(
    factory: str, settings: Mapping[str, str] | None = None
) -> AbstractContextManager[Service]:
    """Serve an application in a process of its own."""
    quiet = ("--log-level", "error", "--no-access-log")
    return serve("-m", "uvicorn", "--factory", factory, *quiet, settings=settings)


if __name__ == "__main__":
    main()
