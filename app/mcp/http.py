"""`POST /mcp`: the tools over HTTP, behind the same guards as every route.

Every request stands for itself and is answered with JSON: there are no sessions, so that any worker can
answer any request.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

from fastapi import APIRouter, Request, Response
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from ..api import base64_text, json_body, openapi, uploads
from ..api.number import read_number
from ..api.reader import DigitReader
from ..api.schemas import NumberPrediction, Prediction
from ..api.uploads import MAX_INLINE_BODY
from ..api.work import run_in_thread
from ..digits.errors import DigitsError
from ..settings import Settings
from ..state import get_state
from ..wire.paths import MCP_PATH
from ..wire.problems import Forbidden, MalformedRequest, UnsupportedMediaType
from ..wire.scope import OUTCOME
from .tools import Answer, ImageArguments, Readers, create_server

MANAGER: Final = "mcp"  # the key in the lifespan's state
Result = TypeVar("Result", bound=Answer)
router = APIRouter(tags=["mcp"])


@router.post(
    MCP_PATH,
    openapi_extra=openapi.describe_body("A message of JSON-RPC.", {"application/json": {"type": "object"}}),
    responses={
        202: {"description": "The message needs no answer."},
        **openapi.describe_problems(MalformedRequest, UnsupportedMediaType, Forbidden),
    },
)
async def mcp(request: Request) -> Response:
    """Answer a message of the Model Context Protocol."""
    _check_origin(request)
    media_type = uploads.get_media_type(request)
    if media_type != uploads.JSON:
        raise uploads.build_unsupported_type(media_type, uploads.JSON)
    body = await uploads.read_body(request, _check_message)
    return _Answer(request.scope["state"][MANAGER], body)


@asynccontextmanager
async def run(settings: Settings) -> AsyncIterator[StreamableHTTPSessionManager]:
    """Answer messages while the block runs."""
    logging.getLogger("mcp").setLevel(logging.WARNING)  # each request has its line in our log
    readers = Readers(ImageArguments, _note_errors(_read_digit), _note_errors(_read_number))
    manager = StreamableHTTPSessionManager(
        create_server(readers),
        json_response=True,
        stateless=True,
        max_request_body_size=settings.max_body_bytes,
    )
    async with manager.run():
        yield manager


class _Answer(Response):
    """The SDK's response to a message that has been received already."""

    def __init__(self, manager: StreamableHTTPSessionManager, body: bytes) -> None:
        super().__init__()
        self._manager = manager
        self._message = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the message to the SDK."""
        pending: list[Message] = [{"type": "http.request", "body": self._message, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._manager.handle_request(scope, replay, send)


def _check_message(body: bytes) -> bytes:
    """Return a message that the SDK can parse.

    The SDK quotes one that it can't, whole and for each of the kinds that it might be, on the event loop:
    2.5 s for 900 numbers of 4,200 digits.

    Raises:
        MalformedRequest: it is no message of JSON-RPC, or has too many values.
    """
    json_body.check_values(body)
    try:
        jsonrpc_message_adapter.validate_json(body, by_name=False)
    except ValidationError as error:
        fault = json_body.describe_fault(error)
        msg = f"{json_body.INVALID_JSON}: {fault}. Send one message of JSON-RPC 2.0."
        raise MalformedRequest(msg) from None
    return body


def _check_origin(request: Request) -> None:
    """Refuse messages of web pages that are not allowed to call the service.

    A page can make its own name resolve to this machine (DNS rebinding), so that its browser takes the
    service for the page's own; but it always tells the origin.

    Raises:
        Forbidden: the message comes from such a page.
    """
    origin = request.headers.get("origin")
    allowed = get_state(request).settings.cors_origins
    if origin is not None and origin not in allowed and "*" not in allowed:
        msg = f"Pages of {origin[:64]!r} may not call {MCP_PATH}: DIGITS_CORS_ORIGINS lists those that may."
        raise Forbidden(msg)


def _note_errors(
    read: Callable[[ImageArguments, Request], Awaitable[Result]],
) -> Callable[[ImageArguments, Request], Awaitable[Result]]:
    """Note the codes of errors for log and metrics, because HTTP's status is 200 for all of them."""

    async def read_and_note(arguments: ImageArguments, request: Request) -> Result:
        try:
            return await read(arguments, request)
        except DigitsError as error:
            request.scope[OUTCOME] = error.code
            raise

    return read_and_note


async def _read_digit(arguments: ImageArguments, request: Request) -> Prediction:
    reader = DigitReader(request, get_state(request).catalogue.get())
    picture = await _decode(arguments, request)
    prediction = await reader.predict(picture)
    reader.count_predictions([prediction])
    return prediction


async def _read_number(arguments: ImageArguments, request: Request) -> NumberPrediction:
    return await read_number(request, partial(_decode, arguments))


async def _decode(arguments: ImageArguments, request: Request) -> bytes:
    decode = partial(base64_text.decode, arguments.image, "image")
    return decode() if len(arguments.image) <= MAX_INLINE_BODY else await run_in_thread(decode, request)
