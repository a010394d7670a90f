"""The message of a call: received, unpacked and parsed."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from ..api.uploads import MAX_INLINE_BODY
from ..api.v2.encodings import decompress
from ..api.work import run_in_thread
from ..state import get_state
from .messages import Message, parse

# How compressed messages begin. gRPC does not unpack them, because a hostile one takes it 2 s, and grpcio
# doesn't say which coding a message has. No message of the protocol begins like that: these bytes would be a
# field of a type that does not exist, or field 15.
_CODINGS: Final = {
    b"\x1f\x8b": "gzip",
    b"\x78\x01": "deflate",
    b"\x78\x5e": "deflate",
    b"\x78\x9c": "deflate",
    b"\x78\xda": "deflate",
}


async def read_message(request: Request, name: str, *, max_pictures: int = 0) -> tuple[Message, int]:
    """Receive the message of a call, and parse it off the event loop if that may take long.

    Returns:
        The message, and how many bytes were unpacked.

    Raises:
        MalformedRequest, BatchTooLarge, BodyTooLarge: see `parse` and `decompress`.
        SlowUpload, PredictionTimeout, ClientDisconnect: see `app.guard.bodies` and `run_in_thread`.
    """
    body = await request.body()
    coding = _CODINGS.get(body[:2], "")
    max_bytes = get_state(request).settings.max_batch_body_bytes

    def unpack_and_parse() -> tuple[Message, int]:
        data = decompress(body, coding, max_bytes=max_bytes)
        return parse(name, data, max_pictures=max_pictures), len(data) if coding else 0

    if coding or len(body) > MAX_INLINE_BODY:
        return await run_in_thread(unpack_and_parse, request)
    return unpack_and_parse()
