"""`python -m app feedback …`: what has been kept is listed, exported to train with, and deleted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.digits import images
from app.feedback.labels import NO_DIGIT
from app.feedback.store import Store

STATEMENT_TIMEOUT: Final = 600.0  # seconds for a statement: a gigabyte is deleted by one
SUFFIXES: Final = {"JPEG": ".jpg"}  # where it is not the format's name


def run(arguments: argparse.Namespace, url: str) -> int:
    """Do what the command line says with the database there; return 1 where that fails."""
    store = Store(url, timeout=STATEMENT_TIMEOUT)
    try:
        COMMANDS[arguments.what](store, arguments)
    except (SQLAlchemyError, OSError, OverflowError) as error:
        print(str(error).partition("\n")[0], file=sys.stderr)
        return 1
    finally:
        store.close()
    return 0


def print_entries(store: Store, _: argparse.Namespace) -> None:
    """Print a line for each picture."""
    print(f"{'id':64}  {'time':19}  right  read  sure  model")
    for entry in store.list_entries():
        prediction, model = entry.prediction, entry.prediction["model"]
        answer = str(prediction["digit"]) if prediction["is_digit"] else NO_DIGIT
        columns = (
            entry.id,
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            f"{_format_digit(entry.digit):5}",
            f"{answer:4}",
            f"{prediction['confidence']:.2f}",
            f"{model['name']} {model['version']}",
        )
        print(*columns, sep="  ")


def export_pictures(store: Store, arguments: argparse.Namespace) -> None:
    """Write each picture into the folder of its right digit, named by its id.

    Raises:
        OSError: a file can't be written, or there are some already: a digit may have been changed since.
    """
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        msg = f"{folder} is not empty: name a new folder, so that no picture is in it with two digits"
        raise FileExistsError(msg)
    count = 0
    for count, (identity, digit, picture) in enumerate(store.pictures(), 1):  # noqa: B007  told at the end
        kind = images.identify(picture, max_pixels=sys.maxsize).header.format
        file = folder / _format_digit(digit) / f"{identity}{SUFFIXES.get(kind, f'.{kind.lower()}')}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(picture)
    print(f"{count} written into {folder}")


def delete_pictures(store: Store, arguments: argparse.Namespace) -> None:
    """Delete pictures by their ids, by their age, or all."""
    if arguments.all:
        count = store.delete_all()
    elif arguments.ids:
        count = sum(store.delete(identity) for identity in arguments.ids)
    else:
        count = store.delete_until(datetime.now(UTC) - timedelta(days=arguments.older_than))
    print(f"{count} deleted")


def _format_digit(digit: int | None) -> str:
    return NO_DIGIT if digit is None else str(digit)


COMMANDS: Final[Mapping[str, Callable[[Store, argparse.Namespace], None]]] = {
    "list": print_entries,
    "export": export_pictures,
    "delete": delete_pictures,
}
