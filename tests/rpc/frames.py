"""HTTP/2 frames written by hand, for clients that no library would be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_HEADERS = 4


def frame(kind: int, payload: bytes, *, flags: int = 0, stream: int = 0) -> bytes:
    """Return a frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def headers(path: str, *, stream: int, **metadata: bytes) -> bytes:
    """Return the frame that begins a call."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "digits",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = b"".join(b"\x00" + _text(name.encode()) + _text(value.encode()) for name, value in fields.items())
    block += b"".join(b"\x00" + _text(name.encode()) + _text(value) for name, value in metadata.items())
    return frame(HEADERS, block, flags=END_HEADERS, stream=stream)


def message_start(data: bytes, *, length: int, stream: int) -> bytes:
    """Return a frame with the first bytes of a message that is `length` bytes long."""
    return frame(DATA, b"\x00" + length.to_bytes(4) + data, stream=stream)


@contextmanager
def connect(port: int) -> Iterator[socket.socket]:
    """Open a connection on which calls can begin."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, b""))
        yield connection


def _text(text: bytes) -> bytes:
    """Return a string literal of HPACK that is neither compressed nor longer than 126 bytes."""
    return bytes([len(text)]) + text
