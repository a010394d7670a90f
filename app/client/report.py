"""Progress on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

INTERVAL: Final = 10.0  # seconds between two lines of progress


class Report:
    """Progress, counted and shown within its context."""

    def __init__(self, total: int) -> None:
        self.read = 0
        self.failed = 0
        self._total = total
        self._console = Console(stderr=True, soft_wrap=True)
        self._reported_at = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        self._task = self._bar.add_task("reading", total=self._total)
        return self

    def __exit__(self, _: type[BaseException] | None, __: object, ___: TracebackType | None) -> None:
        """Remove the bar, and summarise the run."""
        self._bar.stop()
        remaining = self._total - self.read - self.failed
        counts = {"read": self.read, "could not be read": self.failed, "left": remaining}
        self.say(", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "read"))

    def add(self, file: str, problem: str, detail: str) -> None:
        """Count a picture, and report it if it could not be read."""
        if problem:
            self.failed += 1
            self.say(f"{file}: {problem}: {detail}")
        else:
            self.read += 1
        self._bar.advance(self._task)
        if not self._console.is_terminal and time.monotonic() > self._reported_at + INTERVAL:
            self._reported_at = time.monotonic()
            self.say(f"{self.read + self.failed} of {self._total}")

    def say(self, text: str) -> None:
        """Write a line; control characters, which a file's name may have, are escaped."""
        line = text if text.isprintable() else repr(text)[1:-1]
        self._console.print(line, markup=False, highlight=False, emoji=False)
