"""Measures what all guards together cost a small request: `python -m benchmarks.guards`.

Compares the service with all guards and with none, in alternation. Machines differ, so quote the ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from app.guard import keys
from app.main import create_app
from benchmarks.load import measure_alternating, median, ratio
from benchmarks.pictures import SMALL
from benchmarks.serving import Service, serve

if TYPE_CHECKING:
    from fastapi import FastAPI

ROUNDS: Final = 21
CONNECTIONS: Final = 4
ORIGIN: Final = "https://example.org"


def create_unguarded() -> FastAPI:
    """Return the application with none of its guards; uvicorn calls it."""
    app = create_app()
    app.user_middleware = [
        layer for layer in app.user_middleware if not layer.cls.__module__.startswith("app.guard")
    ]
    return app


def main() -> None:
    """Print the requests per second with and without guards, and what the guards cost."""
    key, entry = keys.create_key("bench")
    settings = {"DIGITS_API_KEYS": entry, "DIGITS_RATE_LIMIT": "1000000", "DIGITS_CORS_ORIGINS": ORIGIN}
    with (
        _serve_quietly("app.main:create_app", settings) as guarded,
        _serve_quietly("benchmarks.guards:create_unguarded", {}) as bare,
    ):
        headers = {"X-API-Key": key, "Origin": ORIGIN}
        services = {"guarded": guarded, "bare": bare}
        targets = {name: each.target("/predict", SMALL, **headers) for name, each in services.items()}
        figures = measure_alternating(targets, connections=CONNECTIONS, rounds=ROUNDS, seconds=1.0)
    rates = {name: f"{median(rounds).rate:.0f}/s" for name, rounds in figures.items()}
    cost = 1 - ratio(figures["guarded"], figures["bare"])
    print(f"with all guards {rates['guarded']}, without {rates['bare']}: guards cost {cost:.1%}")


def _serve_quietly(factory: str, settings: Mapping[str, str]) -> AbstractContextManager[Service]:
    """Serve an application in a process of its own, without the server's own log."""
    quiet = ("--log-level", "error", "--no-access-log")
    return serve("-m", "uvicorn", "--factory", factory, *quiet, settings=settings)


if __name__ == "__main__":
    main()
