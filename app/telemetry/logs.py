"""Log records as JSON or text, one a line, with the id of the request that they belong to."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json

from app.settings import Settings
from app.wire.request_id import request_id

_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "color_message",
}


def _get_extra(record: logging.LogRecord) -> dict[str, Any]:
    extra = {key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES}
    if (current := request_id.get()) is not None:
        extra["request_id"] = current
    return extra


class JsonFormatter(logging.Formatter):
    """Time, level, logger and message first, then what `extra` added and the request's id."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _get_extra(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return to_json(line, fallback=str).decode()


class TextFormatter(logging.Formatter):
    """For people: the message, what `extra` added, the request's id; a traceback below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base class' name
        """Return the record's line."""
        extra = [f"{key}={_format_value(value)}" for key, value in _get_extra(record).items()]
        return " ".join([super().formatMessage(record), *extra])


def _format_value(value: object) -> str:
    """Quote a value if necessary, so that a client can't forge lines of the log."""
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
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}
        },
        "root": {"level": settings.log_level.upper(), "handlers": ["stderr"]},
    }
