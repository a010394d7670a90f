"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

from pathlib import Path


def put(file: Path, content: bytes) -> None:
    """Put `content` in the file's place in one step."""
    draft = file.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(file)
