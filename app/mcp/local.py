"""Tools that read pictures in this process, from the files of whoever runs it or from base64."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, Protocol

from mcp.server import Server
from pydantic import ConfigDict

from ..api import base64_text
from ..api.schemas import NumberPrediction, Prediction, RequestSchema
from ..wire.problems import BodyTooLarge, MalformedRequest
from .tools import Readers, create_server

MAX_BYTES: Final = 1 << 28  # of a file, 256 MiB: what a service holds in memory by default


class PictureReader(Protocol):
    """What reads the bytes of pictures: `app.reading.PictureReader`."""

    def read_digit(self, picture: bytes) -> Prediction:
        """Read the most prominent digit."""

    def read_number(self, picture: bytes) -> NumberPrediction:
        """Read the number."""


class LocalArguments(RequestSchema):
    """The picture that a tool reads: `path` or `image`."""

    model_config = ConfigDict(extra="forbid")

    path: str | None = None
    """The path of the picture's file on this machine."""

    image: str | None = None
    """The bytes of the picture's file in base64, or as a data: URL."""


def create_local_server(reader: PictureReader) -> Server[Any]:
    """Return a server whose tools read pictures in threads of this process."""

    async def read_digit(arguments: LocalArguments, _: object) -> Prediction:
        return await asyncio.to_thread(lambda: reader.read_digit(_load(arguments)))

    async def read_number(arguments: LocalArguments, _: object) -> NumberPrediction:
        return await asyncio.to_thread(lambda: reader.read_number(_load(arguments)))

    return create_server(Readers(LocalArguments, read_digit, read_number))


def _load(arguments: LocalArguments) -> bytes:
    """Return the bytes of the picture's file.

    Raises:
        MalformedRequest, BodyTooLarge: there is not one picture, or its file can't be read.
    """
    if (arguments.path is None) == (arguments.image is None):
        msg = "The tool needs one picture. Send either its 'path', or its bytes in base64 as 'image'."
        raise MalformedRequest(msg)
    if arguments.path is None:
        return base64_text.decode(arguments.image or "", "image")
    try:
        with Path(arguments.path).expanduser().open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:  # a null byte; a user without a home
        reason = getattr(error, "strerror", None) or error
        msg = f"The file {arguments.path[:256]!r} can't be read: {reason}."
        raise MalformedRequest(msg) from None
    if len(data) > MAX_BYTES:
        msg = f"The file {arguments.path[:256]!r} has more than {MAX_BYTES} bytes. Send a smaller picture."
        raise BodyTooLarge(msg, limit=MAX_BYTES)
    return data
