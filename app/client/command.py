"""The command line: pictures in; text, JSON or a table out."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from .folder import SUFFIXES, Collection, collect_pictures
from .outputs import Lines, format_json, format_text
from .report import Report
from .run import OpenReader, Output, PictureFile, RunAborted, read_pictures
from .table import DIGIT_COLUMNS, NUMBER_COLUMNS, Table, UnusableTable

MAX_CONCURRENCY: Final = 256  # twice as many as a worker has places
ALL_READ, SOME_FAILED, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130  # exit statuses
EPILOG: Final = """Exits with 0 if all pictures have been read, with 1 if some could not be, with 2 if it
could not run, with 130 after Ctrl-C. Run the same command again to continue a table: pictures that are in
it are not read again, unless the service failed to read them."""


ReaderFactory: TypeAlias = Callable[[argparse.Namespace], AbstractAsyncContextManager[OpenReader]]


def add_arguments(parser: argparse.ArgumentParser, *, url: str | None, concurrency: int) -> None:
    """Add the arguments of the command; `url` and `concurrency` are defaults."""
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help="a picture, or a folder with pictures in it")
    add("--number", action="store_true", help="read whole numbers instead of one digit each")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print an object in JSON for each picture")
    output.add_argument("--csv", metavar="FILE", help="write or continue a table; - for standard output")
    described_default = "%(default)s" if url else "read them in this process"
    add("--url", default=url, help=f"address of a service that reads them (default: {described_default})")
    add(
        "--key",
        default=os.environ.get("DIGITS_KEY"),
        help="API key, if the service needs one (default: $DIGITS_KEY)",
    )
    add(
        "--model",
        metavar="NAME",
        help="classifier to use, or line reader with --number (default: the service's)",
    )
    add(
        "--concurrency",
        type=int,
        default=concurrency,
        metavar="N",
        help="pictures at a time (default: %(default)s)",
    )
    patience = "how long to wait for a service that fails (default: %(default)g)"
    add("--patience", type=float, default=60.0, metavar="SECONDS", help=patience)
    parser.epilog = EPILOG


def main() -> int:
    """Run `python -m app.client`; return the exit status."""
    parser = argparse.ArgumentParser("python -m app.client", description="Have a service read pictures.")
    add_arguments(parser, url="http://127.0.0.1:8000", concurrency=8)
    return run(parser, parser.parse_args())


def run(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, *, open_local: ReaderFactory | None = None
) -> int:
    """Read the pictures; return the exit status.

    Args:
        parser: reports invalid arguments, and exits.
        arguments: as `add_arguments` describes them.
        open_local: opens the reader if no address is given.
    """
    for problem in _find_problems(arguments):
        parser.error(problem)
    if arguments.url:
        from .service import open_service  # noqa: PLC0415  needs httpx

        open_local = open_service
    assert open_local  # noqa: S101  otherwise there is a default address
    try:
        return asyncio.run(_read(arguments, open_local))
    except (RunAborted, UnusableTable) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        _discard_output()
        if arguments.csv or not isinstance(error, BrokenPipeError):  # `| head` has seen enough
            output = f"The table {arguments.csv}" if arguments.csv else "Standard output"
            print(f"{output} can't be written: {error.strerror or error}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to continue.", file=sys.stderr)
        return INTERRUPTED
    return COULD_NOT_RUN


def _find_problems(arguments: argparse.Namespace) -> Iterator[str]:
    for path in arguments.paths:
        if not path.exists():
            yield f"there is no file or folder {path}"
    if arguments.url and not _is_address(arguments.url):
        yield f"--url: {arguments.url!r} is not an address like http://127.0.0.1:8000"
    if arguments.key and not (arguments.key.isascii() and arguments.key.isprintable()):
        yield "--key: the key has characters that a key can't have"
    if not 1 <= arguments.concurrency <= MAX_CONCURRENCY:
        yield f"--concurrency: '{arguments.concurrency}' is not in 1 to {MAX_CONCURRENCY}"
    if not arguments.patience >= 0:  # catches NaN, too
        yield f"--patience: '{arguments.patience:g}' is less than 0 seconds"


def _is_address(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # an invalid port or IPv6 address
        return False


async def _read(arguments: argparse.Namespace, open_reader: ReaderFactory) -> int:
    collection = collect_pictures(arguments.paths)
    pictures, table = collection.pictures, _open_table(arguments)
    remaining = [picture for picture in pictures if table is None or picture.name not in table.finished]
    report = Report(len(remaining), is_shown=table is not None)
    for line in _describe_run(arguments, collection, table):
        report.say(line)
    async with open_reader(arguments) as (reader, max_bytes):
        with ExitStack() as stack:
            output = stack.enter_context(table) if table else _create_lines(arguments, remaining)
            stack.enter_context(report)
            try:
                await read_pictures(
                    remaining,
                    reader,
                    [output, report],
                    max_bytes=max_bytes,
                    concurrency=arguments.concurrency,
                )
            except RunAborted as error:
                report.say(f"{error} Run the same command again to continue.")
    is_complete = report.read == len(remaining) and not (collection.unreadable or (table and table.failed))
    return ALL_READ if is_complete else SOME_FAILED


def _open_table(arguments: argparse.Namespace) -> Table | None:
    if not arguments.csv:
        return None
    columns = NUMBER_COLUMNS if arguments.number else DIGIT_COLUMNS
    return Table(None if arguments.csv == "-" else Path(arguments.csv), columns)


def _create_lines(arguments: argparse.Namespace, pictures: Sequence[PictureFile]) -> Output:
    format_line = format_json if arguments.json else format_text
    return Lines((picture.name for picture in pictures), format_line)


def _describe_run(arguments: argparse.Namespace, found: Collection, table: Table | None) -> Iterator[str]:
    if table is not None:
        yield f"{len(found.pictures)} pictures in {' '.join(map(str, arguments.paths))}"
        finished = sum(picture.name in table.finished for picture in found.pictures)
        if finished:
            yield f"{finished} of them are in {arguments.csv}, {table.failed} of its rows with a problem"
    elif not found.pictures:
        yield f"There are no pictures in {' '.join(map(str, arguments.paths))}"
    if found.other_files:
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(found.other_files.items()))
        yield f"Other files, which are not {', '.join(sorted(SUFFIXES))}: {kinds}"
    yield from (f"A folder can't be read: {why}" for why in found.unreadable)


def _discard_output() -> None:
    """Let Python exit without writing what a closed pipe no longer takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
