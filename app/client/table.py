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
FILE_COLUMN: Final = "file"
PROBLEM_COLUMN: Final = "problem"
# what will be the same however often one asks: of the picture, not of the service or the day
FINAL_CODES: Final = frozenset(
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
        self._old_content = self._file.read_bytes() if self._file and _exists(self._file) else b""
        rows = self._read_rows()
        self._kept_rows = [row for row in rows if row[columns.index(PROBLEM_COLUMN)] in FINAL_CODES]
        self.done = frozenset(row[columns.index(FILE_COLUMN)] for row in self._kept_rows)
        self.failed = sum(row[columns.index(PROBLEM_COLUMN)] != "" for row in self._kept_rows)

    def __enter__(self) -> Self:
        """Open it; rows that broke off or are to be asked for again are taken out first."""
        if self._file is None:
            self._output: TextIO = open(
                sys.stdout.fileno(),
                "w",
                encoding="utf-8",
                newline="",
                errors="backslashreplace",
                closefd=False,
            )
            self._write(_format_rows([self._columns]))
            return self
        content = (BOM + _format_rows([self._columns, *self._kept_rows])).encode("utf-8", "backslashreplace")
        if content != self._old_content:
            draft = self._file.with_name(f"{self._file.name}.draft")
            draft.write_bytes(content)
            draft.replace(self._file)  # at once, whatever happens
        self._output = self._file.open("a", encoding="utf-8", newline="", errors="backslashreplace")
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        """Close it."""
        try:
            self._output.close()
        except BrokenPipeError:
            if kind is None:
                raise

    def add(self, row: Sequence[str]) -> None:
        """Write a row, in one piece.

        Raises:
            OSError: the disk is full, or nobody reads standard output any more.
        """
        self._write(_format_rows([row]))

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()

    def _read_rows(self) -> list[list[str]]:
        """Return the rows below the head that are whole.

        Raises:
            ForeignTable: the head is another, or a row has not as many cells.
        """
        header_line = _format_rows([self._columns])
        # nothing yet, or an end within the head
        if (BOM + header_line).encode().startswith(self._old_content):
            return []
        try:
            text = self._old_content[: _find_end_of_rows(self._old_content)].decode("utf-8-sig")
            header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        except (UnicodeDecodeError, ValueError, csv.Error):
            msg = f"{self._file} is not a CSV file of this command. Give another name, or move it away."
            raise ForeignTable(msg) from None
        if header != list(self._columns):
            msg = (
                f"{self._file} has the columns {', '.join(header)[:200]}, and should have "
                f"{', '.join(self._columns)}: other options made it, or other software. Give another name."
            )
            raise ForeignTable(msg)
        for number, row in enumerate(rows, 2):
            if len(row) != len(self._columns):
                msg = f"{self._file} has {len(row)} cells in row {number} instead of {len(self._columns)}."
                raise ForeignTable(msg)
        return rows


def _exists(file: Path) -> bool:
    if file.exists() and not file.is_file():
        msg = f"{file} is not a file. Give a file's name, or - for standard output."
        raise ForeignTable(msg)
    return file.exists()


def _format_rows(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV; all cells in quotes, so that no semicolon in a name makes a cell of its own."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _find_end_of_rows(data: bytes) -> int:
    """Return where the last row ends that is whole: at a line feed that stands in no quotes."""
    end = offset = quotes = 0
    for line in data.splitlines(keepends=True):
        offset += len(line)
        quotes += line.count(b'"')
        if line.endswith(b"\n") and quotes % 2 == 0:
            end = offset
    return end
