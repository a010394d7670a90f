"""`python -m app` serves; `… keys new ID` makes a key, `… feedback` looks after what has been kept."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.guard import keys
from app.settings import SettingsError, load_settings


def main() -> int:
    """Do what the command line says."""
    arguments = _create_parser().parse_args()
    if arguments.command == "feedback":
        return run_feedback(arguments)
    if arguments.command == "keys":
        return print_new_key(arguments.id)
    from app.server.start import serve  # noqa: PLC0415  the other commands need none of it

    return serve()


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m app", description="Serve, with the settings of the environment."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    of_keys = commands.add_parser("keys", help="make an API key").add_subparsers(
        required=True, metavar="COMMAND"
    )
    new = of_keys.add_parser("new", help="print a new key, once, and its line for DIGITS_API_KEYS_FILE")
    new.add_argument("id", help="what the logs call it")
    _add_feedback(
        commands.add_parser(
            "feedback", help="list, export or delete the pictures that POST /feedback has kept"
        )
    )
    return parser


def _add_feedback(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    commands.add_parser("list", help="print a line for each")
    export = commands.add_parser("export", help="write them into folders 0 to 9 and none, to train with")
    export.add_argument("folder", type=Path, help="a new one, or an empty one")
    delete = commands.add_parser("delete", help="delete some or all")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[], metavar="ID", help="as `list` prints it")
    which.add_argument("--older-than", type=int, metavar="DAYS", help="those that have been kept for longer")
    which.add_argument("--all", action="store_true", help="all of them")


def print_new_key(identity: str) -> int:
    """Print a key and its line; return 2 if the id is none."""
    try:
        key, line = keys.create_key(identity)
    except keys.BadKeys as error:
        print(error, file=sys.stderr)
        return 2
    print("The key, which nothing keeps but you:", key, "Add to DIGITS_API_KEYS_FILE:", line, sep="\n")
    return 0


def run_feedback(arguments: argparse.Namespace) -> int:
    """Look after the pictures that have been kept; return 2 where no database is named, 1 where it fails."""
    try:
        url = load_settings().feedback_url
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if url is None:
        print("DIGITS_FEEDBACK_URL is not set: it names the database to look into", file=sys.stderr)
        return 2
    from app.feedback import command  # noqa: PLC0415  an extra

    return command.run(arguments, url)


if __name__ == "__main__":
    sys.exit(main())
