"""Connections to PostgreSQL that are given up: of its settings none helps where a server says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

CONNECT_TIMEOUT: Final = 2  # seconds; the least that libpq knows
MARGIN: Final = 0.5  # seconds for the server to say itself that a statement has taken too long
Answer = TypeVar("Answer")


class TimedConnection(psycopg.Connection[Any]):
    """A connection that is closed where a statement takes too long."""

    statement_timeout: float | None = None  # seconds, once it is made

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """Wait for a statement; psycopg calls it for each."""
        try:
            return super().wait(gen, interval, timeout or self.statement_timeout)
        except psycopg.OperationalError:  # that, or something that is rare enough to connect again
            self.close()
            raise


def create_connector(timeout: float) -> Callable[..., TimedConnection]:
    """Return what connects, as SQLAlchemy's event `do_connect` has it."""

    def connect(_: object, __: object, arguments: list[Any], options: dict[str, Any]) -> TimedConnection:
        # prepared statements would be lost behind a proxy that shares connections, as PgBouncer does
        more: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "prepare_threshold": None}
        connection = TimedConnection.connect(*arguments, **options | more)
        connection.statement_timeout = timeout + MARGIN
        return connection

    return connect
