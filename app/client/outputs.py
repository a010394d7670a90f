"""Answers on standard output: a line of text for each picture, or a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from .report import escape
from .run import Failure, Reading

ANSWER_WIDTH: Final = 12  # characters: longer numbers push the rest to the right


class Lines:
    """Prints answers in the order of the pictures, each as soon as all before it are there."""

    def __init__(self, files: Iterable[str]) -> None:
        self._remaining = iter(files)
        self._next = next(self._remaining, None)
        self._pending = dict[str, str | None]()

    def add(self, file: str, answer: Reading | Failure) -> None:
        """Print the answer now or later."""
        self._pending[file] = self.format(file, answer)
        while self._next in self._pending:
            line = self._pending.pop(self._next)
            if line is not None:
                print(line, flush=True)
            self._next = next(self._remaining, None)

    def format(self, file: str, answer: Reading | Failure) -> str | None:
        """Return what is printed for a picture, or None."""
        raise NotImplementedError


class TextLines(Lines):
    """What is written on each picture, how sure that is, and the file. Failures go to the report alone."""

    def format(self, file: str, answer: Reading | Failure) -> str | None:
        """Return a line for people."""
        if isinstance(answer, Failure):
            return None
        notes = f"  ({', '.join(answer['warnings'])})" if answer["warnings"] else ""
        text = _describe_answer(answer)
        return escape(f"{text:{ANSWER_WIDTH}} {answer['confidence']:6.1%}  {file}{notes}")


class JsonLines(Lines):
    """The answer to each picture, or its problem, as an object with the member `file`."""

    def format(self, file: str, answer: Reading | Failure) -> str:
        """Return a line for programs."""
        if isinstance(answer, Failure):
            answer = {"problem": answer.code, "detail": answer.detail}
        return json.dumps({"file": file, **answer})


def _describe_answer(answer: Reading) -> str:
    if "digit" in answer:
        return str(answer["digit"]) if answer["is_digit"] else f"none ({answer['digit']}?)"
    written: str = answer.get("written", answer["text"])  # older services tell no signs
    return " | ".join(written.split("\n")) or "none"
