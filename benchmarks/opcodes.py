"""Counts what Python executes for one small request: `python -m benchmarks.opcodes`.

Times differ from machine to machine and from minute to minute; the number of bytecode instructions does not,
and in a small request they take more time than all libraries together. The count includes the server, from
the bytes that the socket delivers to those that it takes, and the log line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TextIO, cast

from uvicorn.server import ServerState

from app.main import create_app
from app.server.process import configure
from app.server.protocol import GuardedProtocol, create_protocol_factory
from app.settings import load_settings
from benchmarks.pictures import SMALL

WARM_UP: Final = 20  # requests that fill caches
REQUESTS: Final = 20
HEAD: Final = (
    "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
)
REQUEST: Final = (HEAD % len(SMALL)).encode() + SMALL


class Connection(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep data."""
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Need no limits."""


def main() -> None:
    """Print the number of instructions of a request, in total and by module."""
    counts = asyncio.run(count_opcodes())
    modules = Counter[str]()
    for code, count in counts.items():
        modules["/".join(Path(code.co_filename).parts[-2:])] += count
    by_module = {name: round(count / REQUESTS) for name, count in modules.most_common()}
    print(json.dumps({"total": sum(by_module.values()), "modules": by_module}, indent=2))


async def count_opcodes() -> Counter[CodeType]:
    """Return how many instructions of each function several requests execute."""
    settings = load_settings()
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:
        protocol = _connect(create_protocol_factory(settings), app, dict(state or {}))
        for _ in range(WARM_UP):
            await _send_request(protocol)
        counts = Counter[CodeType]()

        def trace(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            counts[frame.f_code] += event == "opcode"
            return trace

        sys.settrace(trace)
        for _ in range(REQUESTS):
            await _send_request(protocol)
        sys.settrace(None)
    own = {code for code in counts if code.co_filename == __file__}
    return Counter({code: count for code, count in counts.items() if code not in own})


def _connect(create_protocol: Any, app: Any, state: dict[str, Any]) -> GuardedProtocol:  # noqa: ANN401
    config = configure(load_settings(), app=lambda: app)
    config.load()
    (handler,) = logging.getLogger().handlers
    cast("logging.StreamHandler[TextIO]", handler).setStream(Path("/dev/null").open("w"))  # noqa: SIM115  until the end
    protocol: GuardedProtocol = create_protocol(config=config, server_state=ServerState(), app_state=state)
    protocol.connection_made(Connection())
    return protocol


async def _send_request(protocol: GuardedProtocol) -> None:
    protocol.data_received(REQUEST)
    while not protocol.cycle.response_complete:  # noqa: ASYNC110  in the next turn of the event loop
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # the log line is written


if __name__ == "__main__":
    main()
