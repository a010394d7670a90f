"""Log formatters: JSON or text, one line per record, with the id of the current request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from pydantic_core import to_json

from ..settings import Settings
from ..wire.request_id import request_id

_MEMBERS: Final = "members"
_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "color_message",
}


def log_info(logger: logging.Logger, message: str, members: Mapping[str, Any]) -> None:
    """Log like `logger.info` with `extra`, without the cost of finding the caller's line."""
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, (), None)
    vars(record).update(members, **{_MEMBERS: members})
    logger.handle(record)


def _get_extra(record: logging.LogRecord) -> Mapping[str, Any]:
    attributes = vars(record)
    if _MEMBERS in attributes:
        return cast("Mapping[str, Any]", attributes[_MEMBERS])
    return {key: value for key, value in attributes.items() if key not in _STANDARD_ATTRIBUTES}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, `extra`, the request's id."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
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
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}
        },
        "root": {"level": settings.log_level.upper(), "handlers": ["stderr"]},
        "loggers": {"httpx": {"level": "WARNING"}},  # has a line for every picture that it fetches
    }
