"""Writes files atomically: nobody ever reads half a file, even after a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_draft(file: Path) -> Iterator[Path]:
    """Yield a path to write to; the draft replaces `file` atomically once the block has succeeded."""
    draft = file.with_stem(f"{file.stem}-draft")  # keeps the suffix, which NumPy and Keras insist on
    try:
        yield draft
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(file: Path, content: bytes) -> None:
    """Write `content` to `file` atomically."""
    with open_draft(file) as draft:
        draft.write_bytes(content)


def write_json(file: Path, content: object) -> None:
    """Write `content` to `file` atomically, as indented JSON."""
    write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())
