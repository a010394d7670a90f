"""Responses that leave together.

Sending to a client that waits wakes it up, which costs a virtual machine as much as a small request. Requests
that are answered in one turn of the event loop are answered at its end, one after the other: a client that
shares its connections' thread wakes up once, and sends its next requests together, too.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Outbox:
    """The transports of a worker that have data to send at the end of this turn."""

    def __init__(self) -> None:
        self._transports: list[OutboxTransport] = []

    def add(self, transport: OutboxTransport) -> None:
        """Let a transport send what it has at the end of this turn."""
        if not self._transports:
            asyncio.get_running_loop().call_soon(self._send)
        self._transports.append(transport)

    def _send(self) -> None:
        transports, self._transports = self._transports, []
        for transport in transports:
            transport.flush()


class OutboxTransport:
    """The transport of a connection, which can also write at the end of the turn.

    Data that waits for the end is sent before any other, and before the connection is closed.
    """

    def __init__(self, transport: asyncio.Transport, outbox: Outbox) -> None:
        self._transport = transport
        self._outbox = outbox
        self._waiting = b""

    def write_soon(self, data: bytes) -> None:
        """Send data at the end of this turn."""
        if not self._waiting:
            self._outbox.add(self)
        self._waiting += data

    def flush(self) -> None:
        """Send what waits."""
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self._transport.write(waiting)

    def write(self, data: bytes) -> None:
        """Send data."""
        self.flush()
        self._transport.write(data)

    def write_eof(self) -> None:
        """Close this side of the connection once everything is sent."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection now."""
        self.flush()
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  what the transport has
        return getattr(self._transport, name)
