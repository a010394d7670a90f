"""Access to the database for requests: if it is slow or unreachable, the rest of the service is not affected.

It is used in a thread of its own, within a time limit. After a failure it is left alone for a while, and
requests are refused before their body is read.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from ..capacity import Places
from ..wire.problems import FeedbackFull, FeedbackUnavailable
from ..wire.request_id import request_id
from .store import Entry, Store, StoreFull, hash_picture

MAX_REQUESTS: Final = 8  # at a time; each may hold an upload in memory while it waits for the database
STATEMENT_TIMEOUT: Final = 3.0  # seconds for one statement; storing a picture takes milliseconds
# seconds that a request waits: to connect, and for its own and earlier statements
REQUEST_TIMEOUT: Final = 6.0
RETRY_DELAY: Final = 5  # seconds for which a database that has failed is left alone
log = logging.getLogger("app.feedback")
Result = TypeVar("Result")


class AsyncStore:
    """Stores the pictures of requests, within limits of time and bytes."""

    def __init__(self, url: str, *, max_bytes: int) -> None:
        """Prepare to use a database, which is not contacted yet.

        Raises:
            ValueError, ModuleNotFoundError: see `app.feedback.store.parse_url`.
        """
        self._store = Store(url, timeout=STATEMENT_TIMEOUT)
        self._max_bytes = max_bytes
        self._places = Places(MAX_REQUESTS)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feedback")
        self._unavailable_until = 0.0

    def check(self, client: str) -> None:
        """Refuse a client's request, before its body is read, if it could not be admitted now.

        Raises:
            FeedbackUnavailable: the database has just failed.
            Overloaded: too many requests wait for the database.
        """
        self._check_available()
        self._places.check(1, client)

    @contextmanager
    def admit(self, client: str) -> Iterator[None]:
        """Admit a client's request once its body has arrived.

        Raises:
            FeedbackUnavailable, Overloaded: see `check`.
        """
        self._check_available()
        with self._places.hold(1, client):
            yield

    async def save(
        self, picture: bytes, *, digit: int | None, prediction: Mapping[str, Any], sha256: str
    ) -> tuple[str, bool]:
        """Store an upload, its correct digit, and the prediction of the model with this SHA-256.

        Returns:
            The picture's id, and whether it is new.

        Raises:
            FeedbackFull: there is no room for a new picture.
            FeedbackUnavailable: the database does not answer.
        """
        current_request_id, now = request_id.get() or "", datetime.now(UTC)

        def store_picture() -> tuple[str, bool]:
            entry = Entry(
                id=hash_picture(picture),
                digit=digit,
                time=now,
                request_id=current_request_id,
                prediction=prediction,
                model_sha256=sha256,
            )
            return entry.id, self._store.save(entry, picture, max_bytes=self._max_bytes)

        try:
            return await self._run_in_thread(store_picture)
        except StoreFull:
            msg = (
                f"The service keeps at most {self._max_bytes} bytes of pictures, and the limit is reached. "
                "Its operator can export and delete some, or raise DIGITS_FEEDBACK_MAX_BYTES."
            )
            raise FeedbackFull(msg, limit=self._max_bytes) from None

    async def delete(self, picture_id: str) -> bool:
        """Delete a picture; return whether it was stored.

        Raises:
            FeedbackUnavailable: the database does not answer.
        """
        return await self._run_in_thread(lambda: self._store.delete(picture_id))

    async def close(self) -> None:
        """Close the database's connections."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown(wait=False)

    async def _run_in_thread(self, work: Callable[[], Result]) -> Result:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._attempt, work)
        except (SQLAlchemyError, TimeoutError) as error:
            reason = str(error).partition("\n")[0] or f"no answer within {REQUEST_TIMEOUT:g} s"
            log.warning("the feedback database has failed", extra={"reason": reason})
            self._mark_unavailable()
            raise FeedbackUnavailable(wait=RETRY_DELAY) from None

    def _attempt(self, work: Callable[[], Result]) -> Result:
        self._check_available()  # work before this one may have failed
        try:
            return work()
        except SQLAlchemyError:
            self._mark_unavailable()  # here as well: this thread goes on with the next request at once
            raise

    def _mark_unavailable(self) -> None:
        self._unavailable_until = time.monotonic() + RETRY_DELAY

    def _check_available(self) -> None:
        remaining = self._unavailable_until - time.monotonic()
        if remaining > 0:
            raise FeedbackUnavailable(wait=math.ceil(remaining))
