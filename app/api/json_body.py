"""JSON bodies, parsed at a cost that is bounded before it begins."""

from __future__ import annotations

import codecs
from typing import Final, TypeVar

from pydantic import ValidationError

from app.api.problems import MalformedRequest
from app.api.schemas import Payload

MAX_VALUES: Final = 10_000  # requests have a handful; this many are parsed in about a millisecond
MAX_PATH: Final = 100  # characters of an error's path: it may hold a member's name, which is the client's
SAID: Final = "The JSON is not as it should be"
Body = TypeVar("Body", bound=Payload)


class TooManyValues(MalformedRequest):
    """The JSON lists more values than any sensible request; none of them has become an object."""


def parse(json: bytes, body: type[Body], *, max_values: int = MAX_VALUES) -> Body:
    """Parse and validate a JSON text.

    Args:
        json: the text, in UTF-8.
        body: what it should say.
        max_values: how many commas it may have, and how many lists and objects; those in strings count, too.

    Raises:
        TooManyValues: it has more commas.
        MalformedRequest: it has more lists and objects, is not JSON, or not what `body` wants.
    """
    if len(json) > max_values:
        _check_values(json, max_values)
    try:
        return body.model_validate_json(json.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, wrong["loc"]))[:MAX_PATH] or "the body"
        msg = f"{SAID}: {where}: {wrong['msg']}."
        raise MalformedRequest(msg) from None


def _check_values(json: bytes, most: int) -> None:
    """Count before anything is parsed: each value becomes an object before the first one is validated.

    The three passes take 60 ms for 32 MiB.
    """
    if json.count(b",") > most:
        msg = f"The JSON has more than {most} values. Send only what the API documents."
        raise TooManyValues(msg)
    if json.count(b"[") + json.count(b"{") > most:
        msg = f"{SAID}: it has more than {most} lists and objects."
        raise MalformedRequest(msg)
