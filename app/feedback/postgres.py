"""Connections to PostgreSQL with a time limit: no setting of libpq helps if the server stays silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

CONNECT_TIMEOUT: Final = 2  # seconds; the shortest that libpq supports
MARGIN: Final = 0.5  # seconds for the server itself to report that a statement has taken too long
Answer = TypeVar("Answer")


class TimedConnection(psycopg.Connection[Any]):
    """A connection that closes itself if a statement takes too long."""

    statement_timeout: float | None = None  # seconds; set once the connection is open

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """Wait for a statement to finish; psycopg calls this for every statement."""
        try:
            return super().wait(gen, interval, timeout or self.statement_timeout)
        except psycopg.OperationalError:  # too slow, or something rare enough to connect again
            self.close()
            raise


def create_connector(timeout: float) -> Callable[..., TimedConnection]:
    """Return a listener for SQLAlchemy's event `do_connect`."""

    def connect(_: object, __: object, arguments: list[Any], options: dict[str, Any]) -> TimedConnection:
        # prepared statements would be lost behind a proxy that shares connections, as PgBouncer does
        more: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "prepare_threshold": None}
        connection = TimedConnection.connect(*arguments, **options | more)
        connection.statement_timeout = timeout + MARGIN
        return connection

    return connect
