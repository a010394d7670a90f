"""`digits feedback`: list, export and delete the pictures of POST /feedback."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `feedback` and its commands."""
    parser = commands.add_parser("feedback", help="manage the pictures of POST /feedback")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    actions.add_parser("list", help="print a line for each picture")
    export = actions.add_parser("export", help="write pictures into folders 0 to 9 and none, for training")
    export.add_argument("folder", type=Path, help="a folder that is empty or does not exist")
    delete = actions.add_parser("delete", help="delete pictures")
    selection = delete.add_mutually_exclusive_group(required=True)
    selection.add_argument("ids", nargs="*", default=[], metavar="ID", help="a picture's id from `list`")
    selection.add_argument("--older-than", type=int, metavar="DAYS", help="pictures older than DAYS days")
    selection.add_argument("--all", action="store_true", help="all pictures")


def run(arguments: argparse.Namespace) -> int:
    """Run a command. Return 2 if no database is configured, and 1 if the database fails."""
    from ..settings import SettingsError, load_settings  # noqa: PLC0415  slow, and no other command needs it

    try:
        url = load_settings().feedback_url
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if url is None:
        print("DIGITS_FEEDBACK_URL is not set; set it to the URL of the feedback database", file=sys.stderr)
        return 2
    from ..feedback import command  # noqa: PLC0415  needs the extra `feedback`

    return command.run(arguments, url)
