"""The service, asked until it answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import httpx

TIMEOUT: Final = 60.0  # seconds for an answer: the service itself gives up after ten
FIRST_WAIT: Final = 0.5  # seconds before the second attempt; each further wait is twice as long,
MAX_WAIT: Final = 20.0  # but no longer than this
MAX_RETRY_AFTER: Final = 600.0  # seconds that the service may tell us to wait
# the service's own answers, or those of a proxy before it
FAILURE_STATUSES: Final = frozenset({502, 503, 504})


class RunAborted(Exception):
    """There is no point in asking on; the text says why, in a sentence for people."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no reading."""

    code: str
    detail: str


Reading = Mapping[str, Any]  # the members of a Prediction or a NumberPrediction
Outcome = httpx.Response | httpx.RequestError


class Service:
    """A running service."""

    def __init__(
        self, client: httpx.AsyncClient, *, model: str | None, number: bool, patience: float
    ) -> None:
        """Ask by `client`.

        Args:
            client: has the address and the key.
            model: a name; else the service's default.
            number: whether whole numbers are to be read.
            patience: seconds for which a picture is asked for again while the service fails.
        """
        self._client = client
        self._path = "predict/number" if number else "predict"
        self._model = model
        self._patience = patience

    async def fetch_max_bytes(self) -> int:
        """Make sure that it is there, lets us in and has the model; return how many bytes a picture may have.

        Raises:
            Stopped: it isn't, doesn't or hasn't.
        """
        outcome = await self._request_with_retries("GET", "models", patience=0)
        where = self._client.base_url
        if isinstance(outcome, httpx.RequestError):
            msg = (
                f"There is no service at {where} ({_describe_error(outcome)}). Start it, or give its "
                "address as --url."
            )
            raise RunAborted(msg)
        if outcome.status_code != HTTPStatus.OK:
            msg = f"The service at {where} refuses: {_parse_failure(outcome).detail}"
            raise RunAborted(msg)
        try:
            models = {model["name"]: model for model in outcome.json()["models"]}
            max_bytes = int(next(iter(models.values()))["limits"]["max_body_bytes"])
        except (ValueError, LookupError, TypeError, StopIteration):
            msg = f"What answers at {where} is not a digits service. Give its address as --url."
            raise RunAborted(msg) from None
        if self._model is not None and self._model not in models:
            msg = f"There is no model {self._model!r}; there are {', '.join(sorted(models))}."
            raise RunAborted(msg)
        return max_bytes

    async def read_picture(self, picture: bytes) -> Reading | Failure:
        """Have a picture read.

        Raises:
            Stopped: the service has gone, or does not let us in any more.
        """
        outcome = await self._request_with_retries(
            "POST", self._path, content=picture, patience=self._patience
        )
        has_failed = isinstance(outcome, httpx.RequestError) or _is_failure(outcome)
        if has_failed and not await self._is_alive():
            why = (
                _describe_error(outcome)
                if isinstance(outcome, httpx.RequestError)
                else _parse_failure(outcome).detail
            )
            msg = f"The service has not answered for {self._patience:g} s ({why})."
            raise RunAborted(msg)
        if isinstance(outcome, httpx.RequestError):
            return Failure(
                "no_answer", f"The connection was lost at every attempt ({_describe_error(outcome)})."
            )
        if outcome.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            msg = f"The service refuses: {_parse_failure(outcome).detail}"
            raise RunAborted(msg)
        if outcome.status_code != HTTPStatus.OK:
            return _parse_failure(outcome)
        try:
            reading = outcome.json()
        except ValueError:
            reading = None
        is_complete = isinstance(reading, dict) and reading.keys() >= {"confidence", "warnings", "model"}
        return reading if is_complete else _describe_unexpected(outcome)

    async def _request_with_retries(
        self, method: str, path: str, *, patience: float, content: bytes = b""
    ) -> Outcome:
        """Ask until the answer is one that would be the same again, or for `patience` seconds."""
        started = time.monotonic()
        attempt = 0
        while True:
            outcome = await self._request_once(method, path, content)
            if isinstance(outcome, httpx.Response) and not _is_temporary(outcome):
                return outcome
            retry_after = _parse_retry_after(outcome) if isinstance(outcome, httpx.Response) else 0.0
            if retry_after > MAX_RETRY_AFTER:
                msg = f"The service asks to wait for {retry_after:.0f} s. Run this again then."
                raise RunAborted(msg)
            wait = _choose_wait(retry_after, attempt)
            # who is told when to come back is served in the end; other failures may last
            is_rate_limited = isinstance(outcome, httpx.Response) and not _is_failure(outcome) and retry_after
            if not is_rate_limited and time.monotonic() + wait > started + patience:
                return outcome
            await asyncio.sleep(wait)
            attempt += 1

    async def _request_once(self, method: str, path: str, content: bytes) -> Outcome:
        query = {} if self._model is None or method == "GET" else {"model": self._model}
        kind = {} if method == "GET" else {"Content-Type": "application/octet-stream"}
        try:
            return await self._client.request(method, path, content=content, params=query, headers=kind)
        except httpx.RequestError as error:
            return error

    async def _is_alive(self) -> bool:
        outcome = await self._request_once("GET", "health/live", b"")
        return isinstance(outcome, httpx.Response) and outcome.is_success


def _is_temporary(answer: httpx.Response) -> bool:
    """Tell whether to ask again: the answer says nothing of the picture."""
    return _is_failure(answer) or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS


def _is_failure(answer: httpx.Response) -> bool:
    """Tell whether the service, or a proxy before it, is what failed.

    A 500 that is no problem document is a proxy's: so Ray's answers while a replica dies.
    """
    if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return not answer.headers.get("Content-Type", "").startswith("application/problem+json")
    return answer.status_code in FAILURE_STATUSES


def _choose_wait(retry_after: float, attempt: int) -> float:
    """Return the seconds until the next attempt: as told, else twice as long each time.

    At random a little longer or shorter: who came together must not come back together.
    """
    if retry_after:
        return retry_after * random.uniform(1, 1.5)
    return min(MAX_WAIT, FIRST_WAIT * 2.0**attempt) * random.uniform(0.5, 1)


def _parse_retry_after(answer: httpx.Response) -> float:
    """Return the seconds that the header names, as a number or as a date (RFC 9110, 10.2.3), else 0."""
    value = answer.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no date, or one of no zone
        return 0.0


def _parse_failure(answer: httpx.Response) -> Failure:
    try:
        members = answer.json()
        return Failure(str(members["code"]), str(members["detail"]))
    except (ValueError, LookupError, TypeError):
        return _describe_unexpected(answer)


def _describe_unexpected(answer: httpx.Response) -> Failure:
    """Return what is no answer of the service: a proxy's, or a page that asks to log in."""
    to = f", to {answer.headers['Location']}" if answer.is_redirect else ""
    kind = answer.headers.get("Content-Type", "nothing").partition(";")[0]
    return Failure("unexpected_answer", f"The answer was {answer.status_code}{to}, with {kind}.")


def _describe_error(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__
