"""`python -m app` starts the service; `keys` creates API keys, and `feedback` manages stored pictures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.guard import keys
from app.settings import SettingsError, load_settings


def main() -> int:
    """Run the command line, and return its exit code."""
    arguments = _create_parser().parse_args()
    if arguments.command == "feedback":
        return run_feedback(arguments)
    if arguments.command == "keys":
        return print_new_key(arguments.id)
    from app.server.start import serve  # noqa: PLC0415  slow, and not needed by the other commands

    return serve()


def _create_parser() -> argparse.ArgumentParser:
    description = "Start the service. Settings are read from the environment."
    parser = argparse.ArgumentParser("python -m app", description=description)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_key_commands(commands.add_parser("keys", help="create API keys"))
    _add_feedback_commands(commands.add_parser("feedback", help="manage the pictures of POST /feedback"))
    return parser


def _add_key_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="print a new key, and its line for DIGITS_API_KEYS_FILE")
    new.add_argument("id", help="name of the key in logs")


def _add_feedback_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    commands.add_parser("list", help="print a line for each picture")
    export = commands.add_parser("export", help="write pictures into folders 0 to 9 and none, for training")
    export.add_argument("folder", type=Path, help="a folder that is empty or does not exist")
    delete = commands.add_parser("delete", help="delete pictures")
    selection = delete.add_mutually_exclusive_group(required=True)
    selection.add_argument("ids", nargs="*", default=[], metavar="ID", help="a picture's id from `list`")
    selection.add_argument("--older-than", type=int, metavar="DAYS", help="pictures older than DAYS days")
    selection.add_argument("--all", action="store_true", help="all pictures")


def print_new_key(key_id: str) -> int:
    """Create a key and print it. Return 2 if the id is invalid."""
    try:
        key, line = keys.create_key(key_id)
    except keys.InvalidKeys as error:
        print(error, file=sys.stderr)
        return 2
    print("The key, which is not stored anywhere:", key, "Add to DIGITS_API_KEYS_FILE:", line, sep="\n")
    return 0


def run_feedback(arguments: argparse.Namespace) -> int:
    """Run a `feedback` command. Return 2 if no database is configured, and 1 if the database fails."""
    try:
        url = load_settings().feedback_url
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if url is None:
        print("DIGITS_FEEDBACK_URL is not set; set it to the URL of the feedback database", file=sys.stderr)
        return 2
    from app.feedback import command  # noqa: PLC0415  needs the extra `feedback`

    return command.run(arguments, url)


if __name__ == "__main__":
    sys.exit(main())
