"""Requests to a running service, repeated while it is busy or fails."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import httpx

from .run import Failure, OpenReader, Reading, RunAborted

TIMEOUT: Final = 60.0  # seconds for an answer: the service itself gives up after ten
FIRST_WAIT: Final = 0.5  # seconds before the second attempt; each further wait is twice as long
MAX_WAIT: Final = 20.0  # seconds between two attempts
MAX_RETRY_AFTER: Final = 600.0  # seconds that the service may ask us to wait
FAILURE_STATUSES: Final = frozenset({502, 503, 504})  # of the service, or of a proxy in front of it


Outcome: TypeAlias = httpx.Response | httpx.RequestError


@asynccontextmanager
async def open_service(arguments: argparse.Namespace) -> AsyncIterator[OpenReader]:
    """Connect to the service, and ask it for its limits.

    Raises:
        RunAborted: it does not answer, refuses the key, or has no such model.
    """
    client = httpx.AsyncClient(
        base_url=arguments.url,
        headers={"Authorization": f"Bearer {arguments.key}"} if arguments.key else {},
        timeout=httpx.Timeout(TIMEOUT, pool=None),
        limits=httpx.Limits(max_connections=arguments.concurrency),
    )
    async with client:
        service = Service(client, model=arguments.model, number=arguments.number, patience=arguments.patience)
        yield OpenReader(service, await service.fetch_max_bytes())


class Service:
    """A running service."""

    def __init__(
        self, client: httpx.AsyncClient, *, model: str | None, number: bool, patience: float
    ) -> None:
        """Send requests with `client`, and repeat them for `patience` seconds while the service fails."""
        self._client = client
        self._path = "predict/number" if number else "predict"
        self._model = model
        self._kinds = ("classifier", "line-reader") if number else ("classifier",)
        self._patience = patience

    async def fetch_max_bytes(self) -> int:
        """Check that the service answers, accepts the key and has the model; return its limit on bytes.

        Raises:
            RunAborted: one of these checks failed.
        """
        outcome = await self._request_with_retries("GET", "models", patience=0)
        url = self._client.base_url
        if isinstance(outcome, httpx.RequestError):
            why = _parse_failure(outcome).detail
            msg = f"There is no service at {url} ({why}). Start it, or pass its address as --url."
            raise RunAborted(msg)
        if outcome.status_code != HTTPStatus.OK:
            msg = f"The service at {url} refuses requests: {_parse_failure(outcome).detail}"
            raise RunAborted(msg)
        try:
            models = {model["name"]: model for model in outcome.json()["models"]}
            max_bytes = int(next(iter(models.values()))["limits"]["max_body_bytes"])
        except (ValueError, LookupError, TypeError, StopIteration):
            msg = f"What answers at {url} is not a digits service. Pass its address as --url."
            raise RunAborted(msg) from None
        if self._model is not None:
            _check_model(self._model, models, self._kinds)
        return max_bytes

    async def read_picture(self, picture: bytes) -> Reading | Failure:
        """Have a picture read.

        Raises:
            RunAborted: the service no longer answers, or no longer accepts the key.
        """
        outcome = await self._request_with_retries(
            "POST", self._path, content=picture, patience=self._patience
        )
        if _is_failure(outcome) and not await self._is_alive():
            why = _parse_failure(outcome).detail
            msg = f"The service has not answered for {self._patience:g} s ({why})."
            raise RunAborted(msg)
        if isinstance(outcome, httpx.RequestError):
            return _parse_failure(outcome)
        if outcome.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            msg = f"The service refuses requests: {_parse_failure(outcome).detail}"
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
        """Repeat a request until its answer is final, or for `patience` seconds while the service fails."""
        deadline = time.monotonic() + patience
        attempt = 0
        while True:
            outcome = await self._request_once(method, path, content)
            is_rate_limited = _get_status(outcome) == HTTPStatus.TOO_MANY_REQUESTS
            if not (_is_failure(outcome) or is_rate_limited):
                return outcome
            retry_after = _parse_retry_after(outcome)
            if retry_after > MAX_RETRY_AFTER:
                msg = f"The service asks to wait for {retry_after:.0f} s. Run the command again after that."
                raise RunAborted(msg)
            wait = _choose_wait(retry_after, attempt)
            # a rate limit that says when to come back ends by itself; other failures may last
            ends_by_itself = is_rate_limited and retry_after
            if not ends_by_itself and time.monotonic() + wait > deadline:
                return outcome
            await asyncio.sleep(wait)
            attempt += 1

    async def _request_once(self, method: str, path: str, content: bytes = b"") -> Outcome:
        query = {} if self._model is None or method == "GET" else {"model": self._model}
        headers = {} if method == "GET" else {"Content-Type": "application/octet-stream"}
        try:
            return await self._client.request(method, path, content=content, params=query, headers=headers)
        except httpx.RequestError as error:
            return error

    async def _is_alive(self) -> bool:
        return _get_status(await self._request_once("GET", "health/live")) == HTTPStatus.OK


def _check_model(name: str, models: Mapping[str, Mapping[str, Any]], kinds: Collection[str]) -> None:
    """Check that the service has the model, and that it is of one of these kinds.

    Raises:
        RunAborted: it has not, or it is of another kind.
    """
    if name not in models:
        msg = f"There is no model {name!r}. The models are {', '.join(sorted(models))}."
        raise RunAborted(msg)
    kind = models[name].get("kind", "classifier")  # older services have classifiers only
    if kind not in kinds:
        msg = f"The model {name!r} is a {kind}; this needs a {' or a '.join(kinds)}."
        raise RunAborted(msg)


def _get_status(outcome: Outcome) -> int | None:
    return outcome.status_code if isinstance(outcome, httpx.Response) else None


def _is_failure(outcome: Outcome) -> bool:
    """Tell whether the service, or a proxy in front of it, has failed for a reason other than the picture.

    A 500 that is not a problem document comes from a proxy, such as Ray's while a replica dies.
    """
    if isinstance(outcome, httpx.RequestError):
        return True
    if outcome.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return not outcome.headers.get("Content-Type", "").startswith("application/problem+json")
    return outcome.status_code in FAILURE_STATUSES


def _choose_wait(retry_after: float, attempt: int) -> float:
    """Return the seconds until the next attempt, at random, so that clients do not all come back at once."""
    if retry_after:
        return retry_after * random.uniform(1, 1.5)
    return min(MAX_WAIT, FIRST_WAIT * 2.0**attempt) * random.uniform(0.5, 1)


def _parse_retry_after(outcome: Outcome) -> float:
    """Return the seconds in Retry-After, a number or a date (RFC 9110, 10.2.3); 0 if there is neither."""
    value = outcome.headers.get("Retry-After", "") if isinstance(outcome, httpx.Response) else ""
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # not a date, or a date without a time zone
        return 0.0


def _parse_failure(outcome: Outcome) -> Failure:
    if isinstance(outcome, httpx.RequestError):
        return Failure("no_answer", str(outcome) or type(outcome).__name__)
    try:
        members = outcome.json()
        return Failure(str(members["code"]), str(members["detail"]))
    except (ValueError, LookupError, TypeError):
        return _describe_unexpected(outcome)


def _describe_unexpected(answer: httpx.Response) -> Failure:
    """Describe an answer that is not the service's: a proxy's, or a page that asks to log in."""
    target = f", to {answer.headers['Location']}" if answer.is_redirect else ""
    media_type = answer.headers.get("Content-Type", "nothing").partition(";")[0]
    return Failure("unexpected_answer", f"The answer was {answer.status_code}{target}, with {media_type}.")
