"""The table: a CSV file that gets a row for each picture, and that a later run can continue."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TextIO

from .run import Failure, Reading

BOM: Final = "\ufeff"  # without it Excel takes UTF-8 for the system's old code page
FILE_COLUMN: Final = "file"
PROBLEM_COLUMN: Final = "problem"
DIGIT_COLUMNS: Final = (
    "file", "digit", "confidence", "is_digit", "digit_likelihood", "warnings", "model", "problem", "detail",
)  # fmt: skip
NUMBER_COLUMNS: Final = ("file", "text", "written", "confidence", "warnings", "model", "problem", "detail")
# rows with these codes are final: the picture was read, or the problem is the picture's, not the service's
FINAL_CODES: Final = frozenset(
    {
        "", "unsupported_media_type", "unreadable_image", "image_too_large", "image_too_small", "no_ink",
        "body_too_large",
    }
)  # fmt: skip


class UnusableTable(Exception):
    """The file can't be continued: it is no table of this command, or has other columns; see the message."""


class Table:
    """A table. As a context manager, it opens the file; each row added is written immediately."""

    def __init__(self, file: Path | None, columns: Sequence[str]) -> None:
        """Read the rows that the file already has, without changing it. None stands for standard output.

        Raises:
            UnusableTable: the file was written by something else, or with other options.
            OSError: the file can't be read.
        """
        self._file = file.resolve() if file else None
        self._columns = columns
        self._old_content = self._file.read_bytes() if self._file and _exists(self._file) else b""
        rows = self._parse_rows()
        self._kept_rows = [row for row in rows if row[columns.index(PROBLEM_COLUMN)] in FINAL_CODES]
        # the files that need not be sent again, and how many of them have a problem
        self.finished = frozenset(row[columns.index(FILE_COLUMN)] for row in self._kept_rows)
        self.failed = sum(row[columns.index(PROBLEM_COLUMN)] != "" for row in self._kept_rows)

    def __enter__(self) -> Self:
        """Open the file, after removing incomplete rows and rows to retry."""
        if self._file is None:
            self._output = _open_for_writing(sys.stdout.fileno(), "w")
            self._add_row(self._columns)
            return self
        content = (BOM + _format_rows([self._columns, *self._kept_rows])).encode("utf-8", "backslashreplace")
        if content != self._old_content:
            draft = self._file.with_name(f"{self._file.name}.draft")
            draft.write_bytes(content)
            draft.replace(self._file)  # atomically
        self._output = _open_for_writing(self._file, "a")
        return self

    def __exit__(self, error_type: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        """Close the file."""
        try:
            self._output.close()
        except BrokenPipeError:
            if error_type is None:
                raise

    def add(self, file: str, answer: Reading | Failure) -> None:
        """Write the row of a picture.

        Raises:
            OSError: the disk is full, or the reader of standard output has closed it.
        """
        cells = dict.fromkeys(self._columns, "") | {FILE_COLUMN: file} | _build_cells(answer)
        self._add_row([cells[column] for column in self._columns])

    def _add_row(self, row: Sequence[str]) -> None:
        """Write a row in a single write.

        Raises:
            OSError: the disk is full, or the reader of standard output has closed it.
        """
        self._output.write(_format_rows([row]))
        self._output.flush()

    def _parse_rows(self) -> list[list[str]]:
        """Return the complete rows below the header."""
        header_line = _format_rows([self._columns])
        if (BOM + header_line).encode().startswith(self._old_content):  # empty, or cut off within the header
            return []
        try:
            text = self._old_content[: _find_end_of_rows(self._old_content)].decode("utf-8-sig")
            header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        except (UnicodeDecodeError, ValueError, csv.Error):
            msg = f"{self._file} is not a CSV file of this command. Choose another name, or move the file."
            raise UnusableTable(msg) from None
        if header != list(self._columns):
            msg = (
                f"{self._file} has the columns {', '.join(header)[:200]}, and should have "
                f"{', '.join(self._columns)}: it was written with other options, or by another program. "
                "Choose another name."
            )
            raise UnusableTable(msg)
        for number, row in enumerate(rows, 2):
            if len(row) != len(self._columns):
                cells = f"{len(row)} cells in row {number} instead of {len(self._columns)}"
                msg = f"{self._file} has {cells}. Choose another name, or move the file."
                raise UnusableTable(msg)
        return rows


def _open_for_writing(file: Path | int, mode: Literal["a", "w"]) -> TextIO:
    is_path = isinstance(file, Path)
    return open(file, mode, encoding="utf-8", newline="", errors="backslashreplace", closefd=is_path)


def _exists(file: Path) -> bool:
    """Tell whether a file exists.

    Raises:
        UnusableTable: it is not a file, but a folder, for example.
    """
    if file.exists() and not file.is_file():
        msg = f"{file} is not a file. Choose a file's name, or - for standard output."
        raise UnusableTable(msg)
    return file.exists()


def _format_rows(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV; all cells are quoted, so that no semicolon in a name splits a cell."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _find_end_of_rows(data: bytes) -> int:
    """Return where the last complete row ends: at a line feed outside of quotes."""
    end = offset = quotes = 0
    for line in data.splitlines(keepends=True):
        offset += len(line)
        quotes += line.count(b'"')
        if line.endswith(b"\n") and quotes % 2 == 0:
            end = offset
    return end


def _build_cells(answer: Reading | Failure) -> dict[str, str]:
    """Return the cells of an answer by column."""
    if isinstance(answer, Failure):
        return {PROBLEM_COLUMN: answer.code, "detail": answer.detail}
    model = f"{answer['model']['name']} {answer['model']['version']}"
    members = {**answer, "warnings": " ".join(answer["warnings"]), "model": model}
    return {name: _format_cell(value) for name, value in members.items()}


def _format_cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
