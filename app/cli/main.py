"""The command line: serve, read pictures, manage keys and stored pictures."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from ..environment import COMMAND
from ..version import VERSION
from . import feedback, keys, mcp, read, serve

DESCRIPTION: Final = "Read pictures of handwritten digits and numbers, over HTTP or in the terminal."


def main() -> int:
    """Run the command line; return the exit status. Without a command, tell which there are."""
    parser = create_parser()
    arguments = parser.parse_args()
    if "run" not in arguments:
        parser.print_help()
        return 0
    return _run(arguments)


def serve_by_default() -> int:
    """Run the command line; return the exit status. Without a command, serve: `python -m app`."""
    return _run(create_parser().parse_args(sys.argv[1:] or ["serve"]))


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, each of which sets `run` to the function that runs it."""
    parser = argparse.ArgumentParser(COMMAND, description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(metavar="COMMAND")
    for module in (serve, read, mcp, keys, feedback):
        module.add_command(commands)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    status: int = arguments.run(arguments)
    return status
