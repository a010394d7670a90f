"""The command line: a folder in, a table out."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from app.client.folder import SUFFIXES, Folder, format_path, scan_folder
from app.client.report import Report
from app.client.service import TIMEOUT, Failure, Reading, RunAborted, Service
from app.client.table import Table, UnusableTable

DIGIT_COLUMNS: Final = (
    "file", "digit", "confidence", "is_digit", "digit_likelihood", "warnings", "model", "problem", "detail",
)  # fmt: skip
NUMBER_COLUMNS: Final = ("file", "text", "written", "confidence", "warnings", "model", "problem", "detail")
MAX_CONCURRENCY: Final = 256  # twice as many as a worker has places
ALL_READ, SOME_FAILED, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130  # exit statuses
EPILOG: Final = """Exits with 0 if all pictures have been read, with 1 if some could not be, with 2 if
it could not run, with 130 after Ctrl-C. Run the same command again to continue: pictures that are in the
table are not sent again, unless the service failed to read them."""


def main() -> int:
    """Run the command line; return the exit status."""
    arguments = _parse_arguments()
    try:
        return asyncio.run(_run(arguments))
    except (RunAborted, UnusableTable) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"The table {arguments.csv} can't be written: {error.strerror or error}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to continue.", file=sys.stderr)
        return INTERRUPTED
    return COULD_NOT_RUN


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m app.client",
        description="Have a service read a folder of pictures, and write a CSV file.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="pictures to read; subfolders are included")
    add("--csv", required=True, metavar="FILE", help="the table to write or continue; - for standard output")
    add("--url", default="http://127.0.0.1:8000", help="the service's address (default: %(default)s)")
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
    add("--number", action="store_true", help="read whole numbers instead of one digit each")
    add("--concurrency", type=int, default=8, metavar="N", help="requests at a time (default: %(default)s)")
    patience = "how long to wait for a service that fails (default: %(default)g)"
    add("--patience", type=float, default=60.0, metavar="SECONDS", help=patience)
    arguments = parser.parse_args()
    for problem in _find_problems(arguments):
        parser.error(problem)
    return arguments


def _find_problems(arguments: argparse.Namespace) -> Iterator[str]:
    if not arguments.folder.is_dir():
        yield f"{arguments.folder} is not a folder"
    if not _is_address(arguments.url):
        yield f"--url: {arguments.url!r} is not an address like http://127.0.0.1:8000"
    if arguments.key and not (arguments.key.isascii() and arguments.key.isprintable()):
        yield "--key: the key has characters that a key can't have"
    if not 1 <= arguments.concurrency <= MAX_CONCURRENCY:
        yield f"--concurrency: '{arguments.concurrency}' is not in 1 to {MAX_CONCURRENCY}"
    if not arguments.patience >= 0:  # catches NaN, too
        yield f"--patience: '{arguments.patience:g}' is less than 0 seconds"


def _is_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in {"http", "https"} and bool(url.host)


async def _run(arguments: argparse.Namespace) -> int:
    columns = NUMBER_COLUMNS if arguments.number else DIGIT_COLUMNS
    folder = scan_folder(arguments.folder)
    table = Table(None if arguments.csv == "-" else Path(arguments.csv), columns)
    remaining = [picture for picture in folder.pictures if format_path(picture) not in table.finished]
    report = Report(len(remaining))
    for line in _describe_run(arguments, folder, table):
        report.say(line)
    async with _create_client(arguments) as client:
        service = Service(client, model=arguments.model, number=arguments.number, patience=arguments.patience)
        max_bytes = await service.fetch_max_bytes()

        async def read_pictures(pictures: Iterator[str]) -> None:
            for picture in pictures:
                data = await asyncio.to_thread(_read_file, arguments.folder / picture, max_bytes=max_bytes)
                answer = data if isinstance(data, Failure) else await service.read_picture(data)
                row = dict.fromkeys(columns, "") | {"file": format_path(picture)} | _build_cells(answer)
                table.add([row[column] for column in columns])
                report.add(row["file"], row["problem"], row["detail"])

        with table, report:
            pictures = iter(remaining)
            await _run_workers([read_pictures(pictures) for _ in range(arguments.concurrency)], report)
    is_complete = report.read == len(remaining) and not (table.failed or folder.unreadable)
    return ALL_READ if is_complete else SOME_FAILED


def _describe_run(arguments: argparse.Namespace, folder: Folder, table: Table) -> Iterator[str]:
    yield f"{len(folder.pictures)} pictures in {arguments.folder}"
    finished = sum(format_path(picture) in table.finished for picture in folder.pictures)
    if finished:
        yield f"{finished} of them are in {arguments.csv} already, {table.failed} of its rows with a problem"
    if folder.other_files:
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(folder.other_files.items()))
        yield f"Other files, which are not {', '.join(sorted(SUFFIXES))}: {kinds}"
    yield from (f"A folder can't be read: {why}" for why in folder.unreadable)


def _create_client(arguments: argparse.Namespace) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=arguments.url,
        headers={"Authorization": f"Bearer {arguments.key}"} if arguments.key else {},
        timeout=httpx.Timeout(TIMEOUT, pool=None),
        limits=httpx.Limits(max_connections=arguments.concurrency),
    )


async def _run_workers(workers: Sequence[Coroutine[Any, Any, None]], report: Report) -> None:
    """Run workers until all are done, or until one aborts the run; then cancel the others."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    except RunAborted as error:
        report.say(f"{error} Run the same command again to continue.")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read_file(file: Path, *, max_bytes: int) -> bytes | Failure:
    try:
        size = file.stat().st_size
        if size > max_bytes:  # the service would hang up halfway
            return Failure("body_too_large", f"The file has {size} bytes, at most {max_bytes} are allowed.")
        return file.read_bytes()
    except OSError as error:
        return Failure("unreadable_file", f"The file can't be read: {error.strerror}.")


def _build_cells(answer: Reading | Failure) -> dict[str, str]:
    """Return the cells of an answer by column."""
    if isinstance(answer, Failure):
        return {"problem": answer.code, "detail": answer.detail}
    model = f"{answer['model']['name']} {answer['model']['version']}"
    members = {**answer, "warnings": " ".join(answer["warnings"]), "model": model}
    return {name: _format_cell(value) for name, value in members.items()}


def _format_cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
