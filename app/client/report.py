"""Progress on standard error: a bar on a terminal if rich is installed, otherwise lines."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from .run import Failure, Reading

if TYPE_CHECKING:
    from rich.progress import Progress

INTERVAL: Final = 10.0  # seconds between two lines of progress


class Report:
    """Progress, counted and shown within its context."""

    def __init__(self, total: int, *, is_shown: bool = True) -> None:
        """Count up to `total`; without `is_shown`, report only what could not be read."""
        self.read = 0
        self.failed = 0
        self._total = total
        self._is_shown = is_shown
        self._reported_at = time.monotonic()
        self._bar = _create_bar() if is_shown and sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task("reading", total=self._total)
        return self

    def __exit__(self, _: type[BaseException] | None, __: object, ___: TracebackType | None) -> None:
        """Remove the bar, and summarise the run."""
        if self._bar:
            self._bar.stop()
        if self._is_shown:
            remaining = self._total - self.read - self.failed
            counts = {"read": self.read, "could not be read": self.failed, "left": remaining}
            parts = [f"{count} {what}" for what, count in counts.items() if count or what == "read"]
            self.say(", ".join(parts))

    def add(self, file: str, answer: Reading | Failure) -> None:
        """Count a picture, and report it if it could not be read."""
        if isinstance(answer, Failure):
            self.failed += 1
            self.say(f"{file}: {answer.code}: {answer.detail}")
        else:
            self.read += 1
        if self._bar:
            self._bar.advance(self._task)
        elif self._is_shown and time.monotonic() > self._reported_at + INTERVAL:
            self._reported_at = time.monotonic()
            self.say(f"{self.read + self.failed} of {self._total}")

    def say(self, text: str) -> None:
        """Write a line; control characters, which a file's name may have, are escaped."""
        line = escape(text)
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr)


def escape(text: str) -> str:
    """Return text as a single line that changes no terminal's state."""
    return text if text.isprintable() else repr(text)[1:-1]


def _create_bar() -> Progress | None:
    with suppress(ModuleNotFoundError):
        from rich.console import Console  # noqa: PLC0415  of the extra `client`
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        return Progress(*columns, console=Console(stderr=True), transient=True)
    return None
