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

from app.client.folder import SUFFIXES, Folder, format_path, scan_folder
from app.client.report import Report
from app.client.service import TIMEOUT, Failure, Reading, RunAborted, Service
from app.client.table import ForeignTable, Table

DIGIT_COLUMNS: Final = (
    "file", "digit", "confidence", "is_digit", "digit_likelihood", "warnings", "model", "problem", "detail",
)  # fmt: skip
NUMBER_COLUMNS: Final = ("file", "text", "confidence", "warnings", "model", "problem", "detail")
MAX_CONCURRENCY: Final = 256  # twice as many as a worker has places
ALL_READ, SOME_FAILED, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130  # exit statuses
EPILOG: Final = """Exits with 0 if all pictures have been read, with 1 if some could not be, with 2 if
it could not run, with 130 after Ctrl-C. Run the same command again to go on: pictures that are in the table
are not sent again, except where the service failed."""


def main() -> int:
    """Do what the command line says; return the exit status."""
    arguments = _parse_arguments()
    try:
        return asyncio.run(_run(arguments))
    except (RunAborted, ForeignTable) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"The table {arguments.csv} can't be kept: {error.strerror or error}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    return COULD_NOT_RUN


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m app.client",
        description="Have a service read a folder of pictures, and write a CSV file.",
        epilog=EPILOG,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of pictures, subfolders included")
    parser.add_argument(
        "--csv", required=True, metavar="FILE", help="to write, or to go on with; - for standard output"
    )
    parser.add_argument(
        "--url",
        type=_parse_url,
        default="http://127.0.0.1:8000",
        help="of the service (default: %(default)s)",
    )
    parser.add_argument(
        "--key", default=os.environ.get("DIGITS_KEY"), help="if it asks for one (default: $DIGITS_KEY)"
    )
    parser.add_argument("--model", metavar="NAME", help="one of its models (default: its default)")
    parser.add_argument("--number", action="store_true", help="read whole numbers instead of one digit each")
    parser.add_argument(
        "--concurrency",
        type=_parse_count,
        default=8,
        metavar="N",
        help="requests at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=_parse_seconds,
        default=60.0,
        metavar="SECONDS",
        help="to wait for a service that fails (default: %(default)g)",
    )
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is no folder")
    if arguments.key is not None and not (arguments.key.isascii() and arguments.key.isprintable()):
        parser.error("the key has characters that a key can't have")
    return arguments


def _parse_url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if url.scheme not in {"http", "https"} or not url.host:
        msg = f"{text!r} is no address as http://127.0.0.1:8000 is one"
        raise argparse.ArgumentTypeError(msg)
    return text


def _parse_count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MAX_CONCURRENCY):
        msg = f"{text!r} is none of 1 to {MAX_CONCURRENCY}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        msg = f"{text!r} is not a number of seconds"
        raise argparse.ArgumentTypeError(msg)
    return seconds


async def _run(arguments: argparse.Namespace) -> int:
    columns = NUMBER_COLUMNS if arguments.number else DIGIT_COLUMNS
    folder = scan_folder(arguments.folder)
    table = Table(None if arguments.csv == "-" else Path(arguments.csv), columns)
    remaining = [picture for picture in folder.pictures if format_path(picture) not in table.done]
    report = Report(len(remaining))
    for line in _describe_run(
        arguments, folder, done=len(folder.pictures) - len(remaining), failed=table.failed
    ):
        report.say(line)
    async with _create_client(arguments) as client:
        service = Service(client, model=arguments.model, number=arguments.number, patience=arguments.patience)
        max_bytes = await service.fetch_max_bytes()

        async def work(pictures: Iterator[str]) -> None:
            for picture in pictures:
                data = await asyncio.to_thread(_read_file, arguments.folder / picture, max_bytes=max_bytes)
                answer = data if isinstance(data, Failure) else await service.read_picture(data)
                row = _build_row(format_path(picture), answer, columns)
                table.add([row[column] for column in columns])
                report.add(row["file"], row["problem"], row["detail"])

        with table, report:
            pictures = iter(remaining)
            await _run_workers([work(pictures) for _ in range(arguments.concurrency)], report)
    is_complete = report.read == len(remaining) and not (table.failed or folder.unreadable)
    return ALL_READ if is_complete else SOME_FAILED


def _describe_run(arguments: argparse.Namespace, folder: Folder, *, done: int, failed: int) -> Iterator[str]:
    yield f"{len(folder.pictures)} pictures in {arguments.folder}"
    if done:
        yield f"{done} of them are in {arguments.csv} already, {failed} of its rows with a problem"
    if folder.other_files:
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(folder.other_files.items()))
        yield f"Left out, for {', '.join(sorted(SUFFIXES))} are pictures: {kinds}"
    yield from (f"Can't look into a folder: {why}" for why in folder.unreadable)


def _create_client(arguments: argparse.Namespace) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=arguments.url,
        headers={"Authorization": f"Bearer {arguments.key}"} if arguments.key else {},
        timeout=httpx.Timeout(TIMEOUT, pool=None),
        limits=httpx.Limits(max_connections=arguments.concurrency),
    )


async def _run_workers(workers: Sequence[Coroutine[Any, Any, None]], report: Report) -> None:
    """Let workers work until all are done, or one can't go on; then the others end, too."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    except RunAborted as stopped:
        report.say(f"{stopped} Run the same command again to go on.")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read_file(file: Path, *, max_bytes: int) -> bytes | Failure:
    try:
        size = file.stat().st_size
        if size > max_bytes:  # the service would hang up on it halfway
            return Failure("body_too_large", f"The file has {size} bytes, at most {max_bytes} are allowed.")
        return file.read_bytes()
    except OSError as error:
        return Failure("unreadable_file", f"The file can't be read: {error.strerror}.")


def _build_row(file: str, answer: Reading | Failure, columns: Sequence[str]) -> dict[str, str]:
    """Return the cells by column; those that an answer has nothing for are empty."""
    row = dict.fromkeys(columns, "") | {"file": file}
    if isinstance(answer, Failure):
        return row | {"problem": answer.code, "detail": answer.detail}
    model = answer["model"]
    members = {
        **answer,
        "warnings": " ".join(answer["warnings"]),
        "model": f"{model['name']} {model['version']}",
    }
    return row | {column: _format_cell(members[column]) for column in columns if column in members}


def _format_cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
