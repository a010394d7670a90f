"""`digits keys`: create, list and revoke API keys."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..guard import keys

FILE_VARIABLE: Final = "DIGITS_API_KEYS_FILE"
RELOAD: Final = "A service that is running reads the file again when it gets SIGHUP."


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `keys` and its commands."""
    parser = commands.add_parser("keys", help="create, list and revoke API keys")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    new = actions.add_parser("new", help="print a new key, and add its line to the file or print that, too")
    new.add_argument("id", help="name of the key in logs")
    new.add_argument("--file", type=Path, help="file to add the key to")
    listing = actions.add_parser("list", help="print the ids of the keys in the file")
    revoke = actions.add_parser("revoke", help="remove a key from the file")
    revoke.add_argument("id", help="name of the key")
    default = os.environ.get(FILE_VARIABLE)
    for action in (listing, revoke):
        action.add_argument(
            "--file",
            type=Path,
            default=default,
            required=not default,
            help=f"file of keys (default: ${FILE_VARIABLE})",
        )


def run(arguments: argparse.Namespace) -> int:
    """Run a command. Return 2 if it is refused, or if the file can't be read or written."""
    try:
        ACTIONS[arguments.action](arguments)
    except keys.InvalidKeys as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{arguments.file}: {error.strerror}", file=sys.stderr)
    else:
        return 0
    return 2


def print_new_key(arguments: argparse.Namespace) -> None:
    """Create a key and print it.

    Raises:
        InvalidKeys: the id is invalid, or is in the file already.
        OSError: the file can't be written.
    """
    key, line = keys.create_key(arguments.id)
    if arguments.file:
        keys.add_line(arguments.file, line)
    print("The key, which is not stored anywhere:", key, sep="\n")
    if arguments.file:
        print(f"Its line is in {arguments.file}. {RELOAD}")
    else:
        print(f"Add to {FILE_VARIABLE}:", line, sep="\n")


def print_ids(arguments: argparse.Namespace) -> None:
    """Print the id of each key in the file.

    Raises:
        InvalidKeys, OSError: the file can't be read.
    """
    print(*(key.id for key in keys.read_file(arguments.file)), sep="\n")


def revoke_key(arguments: argparse.Namespace) -> None:
    """Remove a key from the file.

    Raises:
        InvalidKeys: there is no such key, or it is the last one.
        OSError: the file can't be read or written.
    """
    keys.remove_key(arguments.file, arguments.id)
    print(f"{arguments.id} is not in {arguments.file} any more. {RELOAD}")


ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace], None]]] = {
    "new": print_new_key,
    "list": print_ids,
    "revoke": revoke_key,
}
