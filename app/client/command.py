"""The command line: a folder in, a table out."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from app.client.folder import SUFFIXES, Folder, shown, walked
from app.client.report import Report
from app.client.service import TIMEOUT, Problem, Reading, Service, Stopped
from app.client.table import ForeignTable, Table

DIGIT: Final = (
    "file", "digit", "confidence", "is_digit", "digit_likelihood", "warnings", "model", "problem", "detail",
)  # fmt: skip
NUMBER: Final = ("file", "text", "confidence", "warnings", "model", "problem", "detail")
MOST_AT_A_TIME: Final = 256  # twice as many as a worker has places
ALL_READ, SOME_FAILED, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130  # exit statuses
EPILOG: Final = """Ends with 0 where all pictures have been read, with 1 where some could not be, with 2 where
it could not run, with 130 after Ctrl-C. Run the same command again to go on: pictures that are in the table
are not asked for again, except where the service failed."""


def main() -> int:
    """Do what the command line says; return the exit status."""
    asked = _arguments()
    try:
        return asyncio.run(_run(asked))
    except (Stopped, ForeignTable) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"The table {asked.csv} can't be kept: {error.strerror or error}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    return COULD_NOT_RUN


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m app.client",
        description="Have a service read a folder of pictures, and write a CSV file.",
        epilog=EPILOG,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of pictures; folders in it, too")
    parser.add_argument("--csv", required=True, metavar="FILE", help="to write, or go on with; - for stdout")
    parser.add_argument(
        "--url",
        type=_address,
        default="http://127.0.0.1:8000",
        help="of the service (default: %(default)s)",
    )
    parser.add_argument(
        "--key", default=os.environ.get("DIGITS_KEY"), help="if it asks for one (default: $DIGITS_KEY)"
    )
    parser.add_argument("--model", metavar="NAME", help="one of its models (default: its default)")
    parser.add_argument("--number", action="store_true", help="read whole numbers instead of one digit each")
    parser.add_argument(
        "--concurrency", type=_count, default=8, metavar="N", help="requests at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="to wait for a service that fails (default: %(default)g)",
    )
    asked = parser.parse_args()
    if not asked.folder.is_dir():
        parser.error(f"{asked.folder} is no folder")
    if asked.key is not None and not (asked.key.isascii() and asked.key.isprintable()):
        parser.error("the key has characters that no key has")
    return asked


def _address(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if url.scheme not in {"http", "https"} or not url.host:
        msg = f"{text!r} is no address as http://127.0.0.1:8000 is one"
        raise argparse.ArgumentTypeError(msg)
    return text


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MOST_AT_A_TIME):
        msg = f"{text!r} is none of 1 to {MOST_AT_A_TIME}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        msg = f"{text!r} is no number of seconds"
        raise argparse.ArgumentTypeError(msg)
    return seconds


async def _run(asked: argparse.Namespace) -> int:
    columns = NUMBER if asked.number else DIGIT
    found = walked(asked.folder)
    table = Table(None if asked.csv == "-" else Path(asked.csv), columns)
    left = [picture for picture in found.pictures if shown(picture) not in table.done]
    report = Report(len(left))
    for line in _introduced(asked, found, already=len(found.pictures) - len(left), failed=table.failed):
        report.say(line)
    async with _client(asked) as client:
        service = Service(client, model=asked.model, number=asked.number, patience=asked.patience)
        largest = await service.largest()

        async def work(pictures: Iterator[str]) -> None:
            for picture in pictures:
                data = await asyncio.to_thread(_contents, asked.folder / picture, largest=largest)
                answer = data if isinstance(data, Problem) else await service.read(data)
                row = _row(shown(picture), answer, columns)
                table.add([row[column] for column in columns])
                report.add(row["file"], row["problem"], row["detail"])

        with table, report:
            pictures = iter(left)
            await _together([work(pictures) for _ in range(asked.concurrency)], report)
    complete = report.read == len(left) and not (table.failed or found.closed)
    return ALL_READ if complete else SOME_FAILED


def _introduced(asked: argparse.Namespace, found: Folder, *, already: int, failed: int) -> Iterator[str]:
    yield f"{len(found.pictures)} pictures in {asked.folder}"
    if already:
        yield f"{already} of them are in {asked.csv} already, {failed} of its rows with a problem"
    if found.others:
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(found.others.items()))
        yield f"Left out, for {', '.join(sorted(SUFFIXES))} are pictures: {kinds}"
    yield from (f"Can't look into a folder: {why}" for why in found.closed)


def _client(asked: argparse.Namespace) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=asked.url,
        headers={"Authorization": f"Bearer {asked.key}"} if asked.key else {},
        timeout=httpx.Timeout(TIMEOUT, pool=None),
        limits=httpx.Limits(max_connections=asked.concurrency),
    )


async def _together(workers: Sequence[Coroutine[Any, Any, None]], report: Report) -> None:
    """Let workers work until all are done, or one can't go on; then the others end, too."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    except Stopped as stopped:
        report.say(f"{stopped} Run the same command again to go on.")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _contents(file: Path, *, largest: int) -> bytes | Problem:
    try:
        size = file.stat().st_size
        if size > largest:  # the service would hang up on it halfway
            return Problem("body_too_large", f"The file has {size} bytes, at most {largest} are allowed.")
        return file.read_bytes()
    except OSError as error:
        return Problem("unreadable_file", f"The file can't be read: {error.strerror}.")


def _row(file: str, answer: Reading | Problem, columns: Sequence[str]) -> dict[str, str]:
    """Return the cells by column; those that an answer has nothing for are empty."""
    row = dict.fromkeys(columns, "") | {"file": file}
    if isinstance(answer, Problem):
        return row | {"problem": answer.code, "detail": answer.detail}
    model = answer["model"]
    told = {
        **answer,
        "warnings": " ".join(answer["warnings"]),
        "model": f"{model['name']} {model['version']}",
    }
    return row | {column: _cell(told[column]) for column in columns if column in told}


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
