"""`digits mcp`: let an AI assistant read pictures, over standard input and output."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

from ..environment import COMMAND, is_installed

if TYPE_CHECKING:
    from ..reading import PictureReader

TEXT: Final = "serve the Model Context Protocol on standard input and output, for AI assistants"
MISSING: Final = f"{COMMAND} mcp needs the extra 'mcp': pip install 'digits[mcp]' (mcp is not installed)"


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `mcp`."""
    parser = commands.add_parser("mcp", help=TEXT, description=f"{COMMAND} mcp: {TEXT}.")
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Serve until the input ends. Return 2 if the extra is missing or the models can't be used."""
    if not is_installed("mcp"):
        print(MISSING, file=sys.stderr)
        return 2
    from ..digits.errors import DigitsError  # noqa: PLC0415  slow, and not needed by the other commands
    from ..reading import PictureReader  # noqa: PLC0415

    try:
        reader = PictureReader()
    except DigitsError as error:
        print(error.detail, file=sys.stderr)
        return 2
    asyncio.run(_serve(reader))
    return 0


async def _serve(reader: PictureReader) -> None:
    from mcp.server.stdio import stdio_server  # noqa: PLC0415  needs the extra `mcp`

    from ..mcp.local import create_local_server  # noqa: PLC0415

    server = create_local_server(reader)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
