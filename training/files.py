"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace(file: Path) -> Iterator[Path]:
    """Yield the path of a draft, which takes the file's place in one step when the block has succeeded."""
    draft = file.with_stem(f"{file.stem}-draft")  # NumPy and Keras insist on the suffix
    try:
        yield draft
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def put(file: Path, content: bytes) -> None:
    """Put `content` in the file's place in one step."""
    with replace(file) as draft:
        draft.write_bytes(content)
