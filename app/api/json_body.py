"""JSON bodies, parsed at a cost that is bounded before it begins."""

from __future__ import annotations

import codecs
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from app.api.schemas import RequestSchema
from app.wire.problems import MalformedRequest

MAX_VALUES: Final = 1000  # beside pictures: names and parameters, of which requests have a handful
# Bytes that a number takes at most on average, indentation included. An integer may have 4,300 digits, and
# takes 20 µs then, in which no other thread runs.
MAX_NUMBER_BYTES: Final = 128
MAX_PATH: Final = 100  # characters of an error's path: it may hold a member's name, which is the client's
BLOCK: Final = 2**18  # bytes: counted at once, so that what is compared stays in the cache
INVALID_JSON: Final = "The JSON can't be accepted"
Body = TypeVar("Body", bound=RequestSchema)


class TooManyValues(MalformedRequest, code=MalformedRequest.code, status=MalformedRequest.status_hint):
    """The JSON lists more values than any sensible request; none of them has become an object."""


def parse(json: bytes, body: type[Body], *, max_values: int = MAX_VALUES, max_numbers: int = 0) -> Body:
    """Parse and validate a JSON text.

    Args:
        json: the text, in UTF-8.
        body: what it should say.
        max_values: how many values it may have, of any length.
        max_numbers: how many more, if they are as short as numbers.

    Raises:
        TooManyValues: it has more.
        MalformedRequest: it is not JSON, or not what `body` wants.
    """
    if len(json) > max_values:
        _check_values(json, max_values, max_numbers)
    try:
        return body.model_validate_json(json.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        first_error = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first_error["loc"]))[:MAX_PATH] or "the body"
        msg = f"{INVALID_JSON}: {where}: {first_error['msg']}."
        raise MalformedRequest(msg) from None


def _check_values(json: bytes, max_values: int, max_numbers: int) -> None:
    """Count before anything is parsed: each value becomes an object before the first one is validated.

    Every value follows a comma or begins a list or an object. Those within texts are counted, too: to tell
    them apart would take as long as parsing.
    """
    codes, max_count = np.frombuffer(json, np.uint8), max_values + max_numbers
    values = _count(codes, ",")
    if values > max_count:
        msg = f"The JSON has more than {max_count} values. Send only what the API documents."
        raise TooManyValues(msg)
    if values > max_values and len(json) > values * MAX_NUMBER_BYTES:
        msg = (
            f"{INVALID_JSON}: its {values} values have more than {MAX_NUMBER_BYTES} bytes each on "
            "average, which is allowed of "
            f"up to {max_values} values."
        )
        raise MalformedRequest(msg)
    if _count(codes, "[") + _count(codes, "{") > max_count:
        msg = f"{INVALID_JSON}: it has more than {max_count} lists and objects."
        raise MalformedRequest(msg)


def _count(codes: NDArray[np.uint8], mark: str) -> int:
    """Count a character, in a quarter of the time that `bytes.count` takes: 5 ms for 32 MiB."""
    blocks = (codes[start : start + BLOCK] for start in range(0, len(codes), BLOCK))
    return sum(int(np.count_nonzero(block == ord(mark))) for block in blocks)
