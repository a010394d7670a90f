"""Answers on standard output: a line of text for each picture, or a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from .report import escape
from .run import Failure, Reading

FormatLine: TypeAlias = Callable[[str, Reading | Failure], str | None]

ANSWER_WIDTH: Final = 12  # characters: longer numbers push the rest to the right


class Lines:
    """Prints answers in the order of the pictures, each as soon as all before it are there."""

    def __init__(self, files: Iterable[str], format_line: FormatLine) -> None:
        self._remaining = iter(files)
        self._next = next(self._remaining, None)
        self._format_line = format_line
        self._pending = dict[str, str | None]()

    def add(self, file: str, answer: Reading | Failure) -> None:
        """Print the answer now or later."""
        self._pending[file] = self._format_line(file, answer)
        while self._next in self._pending:
            line = self._pending.pop(self._next)
            if line is not None:
                print(line, flush=True)
            self._next = next(self._remaining, None)


def format_text(file: str, answer: Reading | Failure) -> str | None:
    """Return what is written on a picture, how sure that is, and the file; None for a failure."""
    if isinstance(answer, Failure):  # the report has it
        return None
    notes = f"  ({', '.join(answer['warnings'])})" if answer["warnings"] else ""
    text = _describe_answer(answer)
    return escape(f"{text:{ANSWER_WIDTH}} {answer['confidence']:6.1%}  {file}{notes}")


def format_json(file: str, answer: Reading | Failure) -> str:
    """Return an answer, or a problem, as an object with the member `file`."""
    if isinstance(answer, Failure):
        answer = {"problem": answer.code, "detail": answer.detail}
    return json.dumps({"file": file, **answer})


def _describe_answer(answer: Reading) -> str:
    if "digit" in answer:
        return str(answer["digit"]) if answer["is_digit"] else f"none ({answer['digit']}?)"
    written: str = answer.get("written", answer["text"])  # older services tell no signs
    return " | ".join(written.split("\n")) or "none"
