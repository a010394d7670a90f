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
LONGEST_WAIT: Final = 20.0  # but no longer than this
LONGEST_TOLD: Final = 600.0  # seconds that the service may tell us to wait
FAILING: Final = frozenset({502, 503, 504})  # the service's own answers, or those of a proxy before it


class Stopped(Exception):
    """There is no point in asking on; the text says why, in a sentence for people."""


@dataclass(frozen=True, slots=True)
class Problem:
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

    async def largest(self) -> int:
        """Make sure that it is there, lets us in and has the model; return how many bytes a picture may have.

        Raises:
            Stopped: it isn't, doesn't or hasn't.
        """
        outcome = await self._settled("GET", "models", patience=0)
        where = self._client.base_url
        if isinstance(outcome, httpx.RequestError):
            msg = f"There is no service at {where} ({_why(outcome)}). Start it, or give its address as --url."
            raise Stopped(msg)
        if outcome.status_code != HTTPStatus.OK:
            msg = f"The service at {where} refuses: {_problem(outcome).detail}"
            raise Stopped(msg)
        try:
            models = {model["name"]: model for model in outcome.json()["models"]}
            largest = int(next(iter(models.values()))["limits"]["max_body_bytes"])
        except (ValueError, LookupError, TypeError, StopIteration):
            msg = f"What answers at {where} is no digits service. Give its address as --url."
            raise Stopped(msg) from None
        if self._model is not None and self._model not in models:
            msg = f"There is no model {self._model!r}; there are {', '.join(sorted(models))}."
            raise Stopped(msg)
        return largest

    async def read(self, picture: bytes) -> Reading | Problem:
        """Have a picture read.

        Raises:
            Stopped: the service has gone, or does not let us in any more.
        """
        outcome = await self._settled("POST", self._path, content=picture, patience=self._patience)
        failed = isinstance(outcome, httpx.RequestError) or _fails(outcome)
        if failed and not await self._alive():
            why = _why(outcome) if isinstance(outcome, httpx.RequestError) else _problem(outcome).detail
            msg = f"The service has not answered for {self._patience:g} s ({why})."
            raise Stopped(msg)
        if isinstance(outcome, httpx.RequestError):
            return Problem("no_answer", f"The connection was lost at every attempt ({_why(outcome)}).")
        if outcome.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            msg = f"The service refuses: {_problem(outcome).detail}"
            raise Stopped(msg)
        if outcome.status_code != HTTPStatus.OK:
            return _problem(outcome)
        try:
            reading = outcome.json()
        except ValueError:
            reading = None
        whole = isinstance(reading, dict) and reading.keys() >= {"confidence", "warnings", "model"}
        return reading if whole else _unexpected(outcome)

    async def _settled(self, method: str, path: str, *, patience: float, content: bytes = b"") -> Outcome:
        """Ask until the answer is one that would be the same again, or for `patience` seconds."""
        began = time.monotonic()
        attempt = 0
        while True:
            outcome = await self._attempted(method, path, content)
            if isinstance(outcome, httpx.Response) and not _passes(outcome):
                return outcome
            told = _retry_after(outcome) if isinstance(outcome, httpx.Response) else 0.0
            if told > LONGEST_TOLD:
                msg = f"The service asks to wait for {told:.0f} s. Run this again then."
                raise Stopped(msg)
            wait = _wait(told, attempt)
            # who is told when to come back is served in the end; other failures may last
            limited = isinstance(outcome, httpx.Response) and not _fails(outcome) and told
            if not limited and time.monotonic() + wait > began + patience:
                return outcome
            await asyncio.sleep(wait)
            attempt += 1

    async def _attempted(self, method: str, path: str, content: bytes) -> Outcome:
        query = {} if self._model is None or method == "GET" else {"model": self._model}
        kind = {} if method == "GET" else {"Content-Type": "application/octet-stream"}
        try:
            return await self._client.request(method, path, content=content, params=query, headers=kind)
        except httpx.RequestError as error:
            return error

    async def _alive(self) -> bool:
        outcome = await self._attempted("GET", "health/live", b"")
        return isinstance(outcome, httpx.Response) and outcome.is_success


def _passes(answer: httpx.Response) -> bool:
    """Tell whether to ask again: the answer says nothing of the picture."""
    return _fails(answer) or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS


def _fails(answer: httpx.Response) -> bool:
    """Tell whether the service, or a proxy before it, is what failed.

    A 500 that is no problem document is a proxy's: so Ray's answers while a replica dies.
    """
    if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return not answer.headers.get("Content-Type", "").startswith("application/problem+json")
    return answer.status_code in FAILING


def _wait(told: float, attempt: int) -> float:
    """Return the seconds until the next attempt: as told, else twice as long each time.

    At random a little longer or shorter: who came together must not come back together.
    """
    if told:
        return told * random.uniform(1, 1.5)
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt) * random.uniform(0.5, 1)


def _retry_after(answer: httpx.Response) -> float:
    """Return the seconds that the header names, as a number or as a date (RFC 9110, 10.2.3), else 0."""
    value = answer.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no date, or one of no zone
        return 0.0


def _problem(answer: httpx.Response) -> Problem:
    try:
        members = answer.json()
        return Problem(str(members["code"]), str(members["detail"]))
    except (ValueError, LookupError, TypeError):
        return _unexpected(answer)


def _unexpected(answer: httpx.Response) -> Problem:
    """Return what is no answer of the service: a proxy's, or a page that asks to log in."""
    to = f", to {answer.headers['Location']}" if answer.is_redirect else ""
    kind = answer.headers.get("Content-Type", "nothing").partition(";")[0]
    return Problem("unexpected_answer", f"The answer was {answer.status_code}{to}, with {kind}.")


def _why(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__
