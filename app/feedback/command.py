"""`python -m app feedback …`: list stored pictures, export them for training, delete them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from ..digits import images
from .labels import format_label
from .store import Store

STATEMENT_TIMEOUT: Final = 600.0  # seconds: a single statement may delete a gigabyte


def run(arguments: argparse.Namespace, url: str) -> int:
    """Run a command with the database at this URL; return 0, or 1 if it fails."""
    store = Store(url, timeout=STATEMENT_TIMEOUT)
    try:
        COMMANDS[arguments.action](store, arguments)
    except (SQLAlchemyError, OSError, OverflowError) as error:
        print(str(error).partition("\n")[0], file=sys.stderr)
        return 1
    finally:
        store.close()
    return 0


def print_entries(store: Store, _: argparse.Namespace) -> None:
    """Print a line for each picture."""
    print(f"{'id':64}  {'time':19}  right  read  sure  model")
    for entry in store.iterate_entries():
        prediction, model = entry.prediction, entry.prediction["model"]
        answer = format_label(prediction["digit"] if prediction["is_digit"] else None)
        correct, time = format_label(entry.digit), f"{entry.time:%Y-%m-%d %H:%M:%S}"
        model_name = f"{model['name']} {model['version']}"
        print(f"{entry.id}  {time}  {correct:5}  {answer:4}  {prediction['confidence']:.2f}  {model_name}")


def export_pictures(store: Store, arguments: argparse.Namespace) -> None:
    """Write each picture into a subfolder named after its correct digit.

    Raises:
        OSError: a file can't be written, or the folder is not empty.
    """
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        msg = f"{folder} is not empty: name a new folder, so that no picture is in it under two digits"
        raise FileExistsError(msg)
    count = 0
    for count, (picture_id, digit, picture) in enumerate(store.iterate_pictures(), 1):  # noqa: B007  printed at the end
        image_format = images.identify(picture, max_pixels=sys.maxsize).header.format
        suffix = "jpg" if image_format == "JPEG" else image_format.lower()
        file = folder / format_label(digit) / f"{picture_id}.{suffix}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(picture)
    print(f"Pictures written to {folder}: {count}")


def delete_pictures(store: Store, arguments: argparse.Namespace) -> None:
    """Delete pictures by their ids, by their age, or all."""
    if arguments.all:
        count = store.delete_all()
    elif arguments.ids:
        count = sum(store.delete(picture_id) for picture_id in arguments.ids)
    else:
        count = store.delete_until(datetime.now(UTC) - timedelta(days=arguments.older_than))
    print(f"{count} deleted")


COMMANDS: Final[Mapping[str, Callable[[Store, argparse.Namespace], None]]] = {
    "list": print_entries,
    "export": export_pictures,
    "delete": delete_pictures,
}
