"""Errors as problem documents (RFC 9457). Every layer answers errors this way.

`TITLES` lists all codes. The HTTP status is an attribute of the error. The core has errors of its own
(`app.digits.errors`); this module adds those of HTTP:

    DigitsError
    └── RequestProblem
        ├── NotFound · MethodNotAllowed · Unauthorized · Forbidden · RateLimited
        ├── MalformedRequest · UnsupportedMediaType · LengthRequired
        ├── BodyTooLarge · HeadTooLarge · SlowUpload
        ├── BatchTooLarge · EmptyBatch
        ├── UnknownFeedback · FeedbackFull · FeedbackUnavailable
        └── Overloaded · NotReady · PredictionTimeout · InternalError
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..digits.errors import DigitsError
from .paths import REFERENCE, has_plain_errors
from .request_id import request_id
from .scope import OUTCOME

MEDIA_TYPE: Final = "application/problem+json"
CLIENT_CLOSED_REQUEST: Final = 499  # only in the log: the client disconnected before the answer
MAX_DETAIL: Final = 1000  # characters; a detail may quote the path, which can be 64 KiB long
RETRY_AFTER: Final = "1"  # seconds; places are freed within a few hundredths of a second

TITLES: Final[Mapping[str, str]] = {
    "malformed_request": "The request can't be understood",
    "unauthorized": "An API key is required",
    "forbidden": "The service is not configured for this",
    "not_found": "The path does not exist",
    "unknown_model": "There is no such model",
    "unsuitable_model": "The model is of another kind",
    "invalid_model": "The model can't be served",
    "model_in_use": "The model is in use",
    "method_not_allowed": "The method is not allowed",
    "length_required": "The length of the body is missing",
    "slow_upload": "The upload took too long",
    "body_too_large": "The request's body is too large",
    "head_too_large": "The request's head is too large",
    "unsupported_media_type": "The media type is not supported",
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
    "feedback_full": "The storage for pictures is full",
    "feedback_unavailable": "Pictures can't be stored at the moment",
}

_HEADERS_BY_STATUS: Final[Mapping[int, Mapping[str, str]]] = {
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": RETRY_AFTER},
}


class RequestProblem(DigitsError):
    """A problem with the request or with the state of the service, not with a picture."""

    headers: Mapping[str, str] = {}  # sent in addition to those that belong to the status

    def __init_subclass__(cls, *, code: str, status: int) -> None:
        cls.code = code
        cls.status_hint = status


class NotFound(RequestProblem, code="not_found", status=404):
    """No route matches the path."""

    def __init__(self, path: str, *, root_path: str) -> None:
        super().__init__(
            f"{root_path}{path} does not exist. See {root_path}{REFERENCE} for the paths that do."
        )


class MethodNotAllowed(RequestProblem, code="method_not_allowed", status=405):
    """The route does not have this method."""

    def __init__(self, path: str, method: str, allowed: str) -> None:
        super().__init__(f"{path} does not allow {method}, only {allowed}.")
        self.headers = {"Allow": allowed}


class Unauthorized(RequestProblem, code="unauthorized", status=401):
    """The request has no key, or an invalid one."""

    def __init__(self, *, has_key: bool) -> None:
        instructions = "Send one as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'."
        super().__init__(
            f"The key is not valid. {instructions}" if has_key else f"The request has no key. {instructions}"
        )
        error = ', error="invalid_token"' if has_key else ""  # RFC 6750, section 3.1
        self.headers = {"WWW-Authenticate": f'Bearer realm="digits"{error}'}


class Forbidden(RequestProblem, code="forbidden", status=403):
    """The service's configuration forbids this, whichever key the request has."""


class RateLimited(RequestProblem, code="rate_limited", status=429):
    """The client has exceeded its rate limit."""

    def __init__(self, subject: str, *, limit: int, wait: float) -> None:
        seconds = math.ceil(wait)
        super().__init__(f"{subject} are limited to {limit} a minute. Try again in {seconds} s.", limit=limit)
        self.headers = {"Retry-After": str(seconds)}


class InternalError(RequestProblem, code="internal_error", status=500):
    """A bug in the service. The log has the traceback, under the request's id."""


class MalformedRequest(RequestProblem, code="malformed_request", status=400):
    """The multipart form, the JSON, the base64 text or a parameter is invalid."""


class SlowUpload(RequestProblem, code="slow_upload", status=408):
    """The body did not arrive in time."""


class LengthRequired(RequestProblem, code="length_required", status=411):
    """The request needs a body, but has neither a Content-Length nor a chunked body."""


class BodyTooLarge(RequestProblem, code="body_too_large", status=413):
    """The body is larger than allowed, by its Content-Length or by the bytes received."""


class HeadTooLarge(RequestProblem, code="head_too_large", status=431):
    """The request line and the headers together are larger than allowed."""


class UnsupportedMediaType(RequestProblem, code="unsupported_media_type", status=415):
    """The Content-Type is not one in which pictures can be sent."""


class BatchTooLarge(RequestProblem, code="batch_too_large", status=422):
    """The batch has more pictures than allowed."""


class EmptyBatch(RequestProblem, code="empty_batch", status=422):
    """The batch has no pictures."""


class Overloaded(RequestProblem, code="overloaded", status=503):
    """The worker has no free places, no room for the request's body, or no free connection."""


class NotReady(RequestProblem, code="not_ready", status=503):
    """The worker is draining. It still answers requests, but load balancers should send no more."""


class PredictionTimeout(RequestProblem, code="timeout", status=504):
    """The prediction was not ready in time."""


class UnknownFeedback(RequestProblem, code="unknown_feedback", status=404):
    """No picture with this id is stored."""


class FeedbackFull(RequestProblem, code="feedback_full", status=507):
    """The stored pictures have reached their size limit."""


class FeedbackUnavailable(RequestProblem, code="feedback_unavailable", status=503):
    """The feedback database does not answer."""

    def __init__(self, *, wait: int) -> None:
        super().__init__("The feedback database does not answer at the moment. Try again in a few seconds.")
        self.headers = {"Retry-After": str(wait)}


def shorten(text: str, max_length: int) -> str:
    """Truncate a text to `max_length` characters, and append an ellipsis if anything was cut off."""
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def describe(error: DigitsError) -> dict[str, Any]:
    """Return the problem document of an error."""
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
    """The response to an error: a problem document, or a protocol's plain JSON."""

    def __init__(self, error: DigitsError, headers: Mapping[str, str] | None = None) -> None:
        status = error.status_hint
        problem_headers = error.headers if isinstance(error, RequestProblem) else {}
        merged = {**_HEADERS_BY_STATUS.get(status, {}), **problem_headers, **(headers or {})}
        super().__init__(json.dumps(describe(error)), status, merged, MEDIA_TYPE)
        self._code = error.code
        self._detail = shorten(error.detail, MAX_DETAIL)

    def adapt_to(self, path: str, query: bytes) -> None:
        """Use the error format of the API that the request belongs to."""
        if has_plain_errors(path, query):
            self.body = json.dumps({"error": self._detail}).encode()
            self.headers["content-type"] = "application/json"
            self.headers["content-length"] = str(len(self.body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, and record its code in the scope for the log and the metrics."""
        scope[OUTCOME] = self._code
        self.adapt_to(scope["path"], scope["query_string"])
        await super().__call__(scope, receive, send)
