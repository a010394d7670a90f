"""The table: a CSV file that grows by a row for each picture, and that an interrupted run goes on with."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

BOM: Final = "\ufeff"  # without it Excel takes UTF-8 for the system's old code page
FILE: Final = "file"
PROBLEM: Final = "problem"
# what will be the same however often one asks: of the picture, not of the service or the day
SETTLED: Final = frozenset(
    {
        "", "unsupported_media_type", "unreadable_image", "image_too_large", "image_too_small", "no_ink",
        "body_too_large",
    }
)  # fmt: skip


class ForeignTable(Exception):
    """The file is not what this command has written; the text says why."""


class Table:
    """A table, as a context: rows are added within it, each written as soon as it is there."""

    def __init__(self, file: Path | None, columns: Sequence[str]) -> None:
        """Read what is there already, and change nothing yet.

        Args:
            file: where it is or will be; None for standard output, which begins anew.
            columns: their names.

        Raises:
            ForeignTable: the file was made by something else, or with other options.
            OSError: it can't be read.
        """
        self._file = file.resolve() if file else None
        self._columns = columns
        self._before = self._file.read_bytes() if self._file and _is_there(self._file) else b""
        rows = self._rows()
        self._kept = [row for row in rows if row[columns.index(PROBLEM)] in SETTLED]
        self.done = frozenset(row[columns.index(FILE)] for row in self._kept)
        self.failed = sum(row[columns.index(PROBLEM)] != "" for row in self._kept)

    def __enter__(self) -> Self:
        """Open it; rows that broke off or are to be asked for again are taken out first."""
        if self._file is None:
            self._out: TextIO = open(
                sys.stdout.fileno(),
                "w",
                encoding="utf-8",
                newline="",
                errors="backslashreplace",
                closefd=False,
            )
            self._write(_written([self._columns]))
            return self
        whole = (BOM + _written([self._columns, *self._kept])).encode("utf-8", "backslashreplace")
        if whole != self._before:
            draft = self._file.with_name(f"{self._file.name}.draft")
            draft.write_bytes(whole)
            draft.replace(self._file)  # at once, whatever happens
        self._out = self._file.open("a", encoding="utf-8", newline="", errors="backslashreplace")
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        """Close it."""
        try:
            self._out.close()
        except BrokenPipeError:
            if kind is None:
                raise

    def add(self, row: Sequence[str]) -> None:
        """Write a row, in one piece.

        Raises:
            OSError: the disk is full, or nobody reads standard output any more.
        """
        self._write(_written([row]))

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _rows(self) -> list[list[str]]:
        """Return the rows below the head that are whole.

        Raises:
            ForeignTable: the head is another, or a row has not as many cells.
        """
        head = _written([self._columns])
        if (BOM + head).encode().startswith(self._before):  # nothing yet, or an end within the head
            return []
        try:
            text = self._before[: _end_of_the_last_row(self._before)].decode("utf-8-sig")
            found, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        except (UnicodeDecodeError, ValueError, csv.Error):
            msg = f"{self._file} is no CSV of this command. Give another name, or move it away."
            raise ForeignTable(msg) from None
        if found != list(self._columns):
            msg = (
                f"{self._file} has the columns {', '.join(found)[:200]}, and should have "
                f"{', '.join(self._columns)}: other options made it, or other software. Give another name."
            )
            raise ForeignTable(msg)
        for number, row in enumerate(rows, 2):
            if len(row) != len(self._columns):
                msg = f"{self._file} has {len(row)} cells in row {number} instead of {len(self._columns)}."
                raise ForeignTable(msg)
        return rows


def _is_there(file: Path) -> bool:
    if file.exists() and not file.is_file():
        msg = f"{file} is no file. Give a file's name, or - for standard output."
        raise ForeignTable(msg)
    return file.exists()


def _written(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV; all cells in quotes, so that no semicolon in a name makes a cell of its own."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _end_of_the_last_row(data: bytes) -> int:
    """Return where the last row ends that is whole: at a line feed that stands in no quotes."""
    end = at = quotes = 0
    for line in data.splitlines(keepends=True):
        at += len(line)
        quotes += line.count(b'"')
        if line.endswith(b"\n") and quotes % 2 == 0:
            end = at
    return end
