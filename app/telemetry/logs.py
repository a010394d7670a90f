"""Log lines, as JSON or text: one for each record, with the id of the current request.

A request is logged in one line, which costs as little as possible: its record does without what only other
lines need, and the lines of all requests that end in one turn of the event loop are written together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TextIO

from pydantic_core import to_json

from ..settings import Settings
from ..wire.request_id import request_id

_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "color_message",
}


class RequestRecord(logging.LogRecord):
    """The record of a request, created in a tenth of the time that `logger.info` with `extra` takes.

    It does not look for the caller's line, the thread and the process. Create it in a running event loop.
    """

    def __init__(self, logger: logging.Logger, members: Mapping[str, Any]) -> None:
        now = time.time()
        vars(self).update(
            _REQUEST_ATTRIBUTES,
            name=logger.name,
            created=now,
            msecs=now % 1 * 1e3 // 1,
            request_members=members,
            **members,
        )


_REQUEST_ATTRIBUTES: Final = vars(
    logging.LogRecord("", logging.INFO, __file__, 0, msg="request", args=(), exc_info=None)
)


class BatchingHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream, those of requests at the end of the event loop's turn.

    No line waits for longer, and every other line is written at once, after those that wait.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: deque[str] = deque()  # other threads may empty it at any time

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a line, or let it wait."""
        if not isinstance(record, RequestRecord):
            self.flush()
            return bool(super().handle(record))
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(self.format(record))
        return True

    def flush(self) -> None:
        """Write the lines that wait."""
        self.acquire()
        try:
            self._write_waiting()
            super().flush()
        finally:
            self.release()

    def _write_waiting(self) -> None:
        lines = [f"{self._waiting.popleft()}{self.terminator}" for _ in range(len(self._waiting))]
        try:
            self.stream.write("".join(lines))
        except Exception:  # noqa: BLE001  as `logging` does: what can't be logged must not stop the service
            self.handleError(logging.makeLogRecord({"msg": "requests"}))


def _get_extra(record: logging.LogRecord) -> Mapping[str, Any]:
    attributes = vars(record)
    if isinstance(record, RequestRecord):
        members: Mapping[str, Any] = attributes["request_members"]
        return members
    return {key: value for key, value in attributes.items() if key not in _STANDARD_ATTRIBUTES}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, `extra`, the request's id."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, Any] = {
            "time": f"{_format_second(int(record.created))}.{int(record.msecs):03}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _get_extra(record)
        if (current_id := request_id.get()) is not None:
            line["request_id"] = current_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return to_json(line, fallback=str).decode()


@lru_cache(maxsize=1)
def _format_second(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).replace(tzinfo=None).isoformat()


class TextFormatter(logging.Formatter):
    """Formats a record for people: the message, `extra`, the request's id, and a traceback below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base class' name
        """Return the line without the traceback."""
        extra = dict(_get_extra(record))
        if (current_id := request_id.get()) is not None:
            extra["request_id"] = current_id
        line = super().formatMessage(record)
        return " ".join([line, *(f"{key}={_format_value(value)}" for key, value in extra.items())])


def _format_value(value: object) -> str:
    """Quote the value if needed, so that clients can't forge log lines."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)


def build_log_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`, which uvicorn applies in each worker."""
    line: dict[str, Any] = {"()": JsonFormatter}
    if settings.log_format == "text":
        line = {"()": TextFormatter, "fmt": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "handlers": {"stderr": {"()": BatchingHandler, "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"level": settings.log_level.upper(), "handlers": ["stderr"]},
        "loggers": {"httpx": {"level": "WARNING"}},  # has a line for every picture that it fetches
    }
