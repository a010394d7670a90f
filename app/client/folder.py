"""The pictures in a folder, and how their names are written down."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif"}
)  # of what the service reads; it goes by the content, but other files are nobody's business
# what spreadsheets take for the beginning of a formula, in full width, too
FORMULA_PREFIXES: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(slots=True)
class Folder:
    """What a folder holds."""

    pictures: list[str] = field(default_factory=list)  # paths from the folder, sorted
    other_files: Counter[str] = field(default_factory=Counter)  # files that are no pictures, by their suffix
    unreadable: list[str] = field(default_factory=list)  # why folders in it could not be looked into


def scan_folder(root: Path) -> Folder:
    """Look for pictures in a folder and in those below it; hidden files and linked folders are left out."""
    folder = Folder()
    for parent, subfolders, files in os.walk(
        root, onerror=lambda error: folder.unreadable.append(str(error))
    ):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            file = os.path.join(parent, name)  # noqa: PTH118  names that are no UTF-8 stay as they are
            if name.startswith(".") or not os.path.isfile(file):  # noqa: PTH113
                continue
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if suffix in SUFFIXES:
                folder.pictures.append(os.path.relpath(file, root))
            else:
                folder.other_files[suffix or "none"] += 1
    folder.pictures.sort(key=os.fsencode)
    return folder


def format_path(picture: str) -> str:
    r"""Return a picture's path as it stands in the table: another for each picture, and harmless.

    With slashes on every system; bytes that are no UTF-8 as `\xff`, and a backslash as two. What a
    spreadsheet would take for a formula begins with `./`, and is the path of the same file.
    """
    name = picture.replace(os.sep, "/").replace("\\", "\\\\")
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return f"./{name}" if name.startswith(FORMULA_PREFIXES) else name
