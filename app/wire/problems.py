"""Errors as RFC 9457 problem documents, the same from every layer.

`TITLES` is the table of `code`s; the status comes with the error. The core's errors (`app.digits.errors`)
hint at theirs; these are the errors of HTTP:

    DigitsError
    └── RequestProblem
        ├── NotFound · MethodNotAllowed · Unauthorized · Forbidden · RateLimited
        ├── MalformedRequest · UnsupportedMediaType · LengthRequired
        ├── BodyTooLarge · HeadTooLarge · SlowUpload
        ├── BatchTooLarge · EmptyBatch
        ├── UnknownFeedback · FeedbackFull · FeedbackUnavailable
        └── Overloaded · NotReady · TooSlow · InternalError
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.digits.errors import DigitsError
from app.wire.paths import is_v2_path
from app.wire.request_id import request_id
from app.wire.scope import OUTCOME

MEDIA_TYPE: Final = "application/problem+json"
CLIENT_CLOSED_REQUEST: Final = 499  # nobody receives it; it tells the log why the answer is missing
MAX_DETAIL: Final = 1000  # characters: details quote what was sent, which may be 64 KiB of an address
RETRY_AFTER: Final = "1"  # seconds: a place is free again within a few hundredths

TITLES: Final[Mapping[str, str]] = {
    "malformed_request": "The request can't be understood",
    "unauthorized": "The request needs a key",
    "forbidden": "The service is not configured for this",
    "not_found": "There is nothing at this address",
    "unknown_model": "There is no such model",
    "invalid_model": "The model can't be served",
    "model_in_use": "The model is in use",
    "method_not_allowed": "This address does not accept this method",
    "length_required": "The request does not give the length of its body",
    "slow_upload": "The upload took too long",
    "body_too_large": "The request's body is too large",
    "head_too_large": "The request's head is too large",
    "unsupported_media_type": "This type of data is not supported",
    "unreadable_image": "The picture can't be decoded",
    "image_too_large": "The picture has too many pixels",
    "image_too_small": "The picture has too few pixels",
    "no_ink": "Nothing is written on the picture",
    "batch_too_large": "The batch has too many pictures",
    "empty_batch": "The batch has no pictures",
    "rate_limited": "Too many requests",
    "internal_error": "The service failed",
    "overloaded": "The service is busy",
    "not_ready": "The service is not ready",
    "timeout": "The prediction took too long",
    "unknown_feedback": "There is no such picture",
    "feedback_full": "The limit for stored pictures has been reached",
    "feedback_unavailable": "Pictures can't be stored at the moment",
}


_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": RETRY_AFTER},  # the core's errors included
}


class RequestProblem(DigitsError):
    """Something about the request or the service's state, rather than about a picture."""

    headers: Mapping[str, str] = {}  # in addition to those of its status; never modified

    def __init_subclass__(cls, *, code: str, status: int) -> None:
        cls.code = code
        cls.status_hint = status


class NotFound(RequestProblem, code="not_found", status=404):
    """No route has this path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} does not exist; /docs lists what does.")


class MethodNotAllowed(RequestProblem, code="method_not_allowed", status=405):
    """The route has other methods."""

    def __init__(self, path: str, method: str, allowed: str) -> None:
        super().__init__(f"{path} does not take {method}, it takes {allowed}.")
        self.headers = {"Allow": allowed}


class Unauthorized(RequestProblem, code="unauthorized", status=401):
    """The request has no key, or an unknown one."""

    def __init__(self, *, has_key: bool) -> None:
        instructions = "Send one as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'."
        super().__init__(
            f"The key is not known here. {instructions}"
            if has_key
            else f"The request has no key. {instructions}"
        )
        error = ', error="invalid_token"' if has_key else ""  # RFC 6750, section 3.1
        self.headers = {"WWW-Authenticate": f'Bearer realm="digits"{error}'}


class Forbidden(RequestProblem, code="forbidden", status=403):
    """The service is not configured to allow this."""


class RateLimited(RequestProblem, code="rate_limited", status=429):
    """The client has used up its requests for now."""

    def __init__(self, what: str, *, limit: int, wait: float) -> None:
        seconds = math.ceil(wait)
        msg = f"More than {limit} {what} a minute came from you. Try again in {seconds} s."
        super().__init__(msg, limit=limit)
        self.headers = {"Retry-After": str(seconds)}


class InternalError(RequestProblem, code="internal_error", status=500):
    """A bug; the log has the traceback under the id that the client receives."""


class MalformedRequest(RequestProblem, code="malformed_request", status=400):
    """Multipart, JSON, base64 or a parameter is invalid."""


class SlowUpload(RequestProblem, code="slow_upload", status=408):
    """The body did not arrive in time."""


class LengthRequired(RequestProblem, code="length_required", status=411):
    """A picture without a length that doesn't come in chunks: its end is unknown."""


class BodyTooLarge(RequestProblem, code="body_too_large", status=413):
    """The body is longer than allowed, as declared or as counted."""


class HeadTooLarge(RequestProblem, code="head_too_large", status=431):
    """Address and headers together are longer than allowed."""


class UnsupportedMediaType(RequestProblem, code="unsupported_media_type", status=415):
    """The request's Content-Type is none of the three ways to send a picture."""


class BatchTooLarge(RequestProblem, code="batch_too_large", status=422):
    """More pictures than one batch may hold."""


class EmptyBatch(RequestProblem, code="empty_batch", status=422):
    """A batch without pictures."""


class Overloaded(RequestProblem, code="overloaded", status=503):
    """The worker can't accept more work now."""


class NotReady(RequestProblem, code="not_ready", status=503):
    """The worker is draining: it serves what reaches it, and wants no more."""


class TooSlow(RequestProblem, code="timeout", status=504):
    """The prediction took too long."""


class UnknownFeedback(RequestProblem, code="unknown_feedback", status=404):
    """No picture with that id is stored."""


class FeedbackFull(RequestProblem, code="feedback_full", status=507):
    """The database has reached its size limit."""


class FeedbackUnavailable(RequestProblem, code="feedback_unavailable", status=503):
    """The feedback database does not answer."""

    def __init__(self, *, wait: int) -> None:
        super().__init__("The feedback database does not answer at the moment. Try again in a few seconds.")
        self.headers = {"Retry-After": str(wait)}


def shorten(text: str, max_length: int) -> str:
    """Cut off a text that may come from a client."""
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def describe(error: DigitsError) -> dict[str, Any]:
    """Return the members of an error's problem document."""
    members = {
        "type": f"urn:digits:problem:{error.code}",
        "title": TITLES[error.code],
        "status": error.status_hint,
        "detail": shorten(error.detail, MAX_DETAIL),
        "code": error.code,
        "request_id": request_id.get(),
    }
    return members if error.limit is None else members | {"limit": error.limit}


class ProblemResponse(Response):
    """A problem document, which any layer can send.

    At /v2 it has the form of the Open Inference Protocol instead.
    """

    def __init__(self, error: DigitsError, headers: Mapping[str, str] | None = None) -> None:
        status = error.status_hint
        problem_headers = error.headers if isinstance(error, RequestProblem) else {}
        merged = {**_HEADERS.get(status, {}), **problem_headers, **(headers or {})}
        super().__init__(json.dumps(describe(error)), status, merged, MEDIA_TYPE)
        self._code = error.code
        self._detail = shorten(error.detail, MAX_DETAIL)

    def adapt_to(self, path: str) -> None:
        """Take the form that clients of `path` expect."""
        if is_v2_path(path):
            self.body = json.dumps({"error": self._detail}).encode()
            self.headers["content-type"] = "application/json"
            self.headers["content-length"] = str(len(self.body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and set its code for the log and the metrics."""
        scope[OUTCOME] = self._code
        self.adapt_to(scope["path"])
        await super().__call__(scope, receive, send)
