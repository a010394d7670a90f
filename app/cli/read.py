"""`digits read`: read pictures in this process, or have a service read them."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..client import command
from ..client.run import Failure, OpenReader, Reading, RunAborted
from ..environment import COMMAND

if TYPE_CHECKING:
    from ..api.schemas import Schema
    from ..reading import PictureReader

MAX_THREADS: Final = 8  # by default: each may hold a picture of 40 megapixels
MAX_BYTES: Final = 1 << 28  # of a file, 256 MiB: what a service holds in memory by default
MISSING: Final = "--url needs the extra `client`: pip install 'httpx>=0.28' ({} is not installed)"


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `read`."""
    text = "read pictures, in this process or by a service"
    parser = commands.add_parser("read", help=text, description=f"{COMMAND} read: {text}.")
    command.add_arguments(parser, url=None, concurrency=min(os.cpu_count() or 1, MAX_THREADS))
    parser.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Read pictures; return the exit status."""
    try:
        return command.run(parser, arguments, open_local=open_local)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "httpx":
            raise
        parser.error(MISSING.format(error.name))


@asynccontextmanager
async def open_local(arguments: argparse.Namespace) -> AsyncIterator[OpenReader]:
    """Load the models into this process.

    Raises:
        RunAborted: they can't be used, or there is no such model.
    """
    from ..digits.errors import DigitsError  # noqa: PLC0415  slow, and not needed with --url
    from ..reading import PictureReader  # noqa: PLC0415

    try:
        yield OpenReader(_LocalReader(_choose_method(PictureReader(), arguments)), MAX_BYTES)
    except DigitsError as error:
        raise RunAborted(error.detail) from None


def _choose_method(reader: PictureReader, arguments: argparse.Namespace) -> Callable[[bytes], Schema]:
    method = reader.read_number if arguments.number else reader.read_digit
    reader.check_model(arguments.model, number=arguments.number)
    return partial(method, model=arguments.model)


@dataclass(frozen=True, slots=True)
class _LocalReader:
    """Reads pictures in threads."""

    read: Callable[[bytes], Schema]

    async def read_picture(self, picture: bytes) -> Reading | Failure:
        from ..digits.errors import DigitsError  # noqa: PLC0415

        try:
            answer = await asyncio.to_thread(self.read, picture)
        except DigitsError as error:
            return Failure(error.code, error.detail)
        return answer.model_dump(mode="json", exclude_unset=True)
