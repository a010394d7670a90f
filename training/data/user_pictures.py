"""A user's own pictures and their digits: a folder for each digit, or a CSV of file and label.

FOLDER/0/… to FOLDER/9/…     pictures of each digit, with any file names; some digits may be missing
FILE.csv                     columns file and label; the pictures lie in the CSV's folder or below it

Pictures to learn from go through the service's preprocessing. Pictures that the service would refuse,
duplicates and negative examples (a folder or label `none`, as in exported feedback) are left out, with the
reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from app.digits.contract import SIDE, CanonicalPicture
from app.digits.errors import ImageError
from app.digits.finder import Finder
from training.data.labelled import Labelled
from training.data.real_sets import DIGIT_LABELS, UploadSet, read_table, read_upload
from training.data.uploads import read_canonical
from training.errors import DataError

NEGATIVE_FOLDER: Final = "none"  # also the label in a CSV
MIN_PICTURES: Final = 4  # of each digit that occurs: each quarter of them is held out once


@dataclass(frozen=True)
class UserPictures:
    """The pictures to learn from, and the reasons why others were left out."""

    pictures: Labelled
    left_out: Mapping[Path, str]


def load_user_pictures(source: Path, finder: Finder | None = None) -> UserPictures:
    """Read the pictures of a folder or a CSV, to learn from, as the service does with this finder.

    Raises:
        DataError: there are no pictures, or too few of some digit; or a file or label is invalid.
    """
    user_pictures = _read_pictures(_list_files(source), finder)
    _check_enough(user_pictures, source)
    return user_pictures


def load_uploads(source: Path) -> UploadSet:
    """Return the files of a folder or a CSV as uploads, including those that the service would refuse."""
    files = [(file, digit) for file, digit in _list_files(source) if digit is not None]
    if not files:
        msg = f"{source} holds no pictures of digits: put them into folders 0 to 9."
        raise DataError(msg)
    paths, digits = zip(*files, strict=True)
    return UploadSet(source.stem, tuple(map(read_upload, paths)), tuple(map(str, digits)))


def _list_files(source: Path) -> list[tuple[Path, int | None]]:
    return list(_list_table(source) if source.is_file() else _list_folders(source))


def _list_folders(source: Path) -> Iterator[tuple[Path, int | None]]:
    if not source.is_dir():
        msg = f"There is no folder or CSV file {source}."
        raise DataError(msg)
    for folder in _list_visible(source):
        files = _list_visible(folder) if folder.is_dir() else ()
        yield from ((file, _parse_digit(folder.name, folder)) for file in files if file.is_file())


def _list_visible(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _list_table(table: Path) -> Iterator[tuple[Path, int | None]]:
    root = table.parent.resolve()
    for number, row in enumerate(read_table(table), start=2):  # row 1 is the header
        where = f"{table}, row {number}"
        name, label = row.get("file"), row.get("label")
        if not name or not label:
            msg = f"{where}: {table.name} needs the columns file and label, filled in every row."
            raise DataError(msg)
        file = (root / name).resolve()
        if not file.is_relative_to(root):
            msg = f"{where}: {name} is outside {table.parent}: put it into the CSV's folder or below."
            raise DataError(msg)
        if not file.is_file():
            msg = f"{where}: there is no file {name}."
            raise DataError(msg)
        yield table.parent / name, _parse_digit(label.strip(), where)


def _parse_digit(label: str, where: object) -> int | None:
    if label == NEGATIVE_FOLDER:
        return None
    if label not in DIGIT_LABELS:
        msg = f"{where}: {label!r} is neither a digit, 0 to 9, nor {NEGATIVE_FOLDER}."
        raise DataError(msg)
    return int(label)


def _read_pictures(files: Sequence[tuple[Path, int | None]], finder: Finder | None) -> UserPictures:
    pictures: list[CanonicalPicture] = []
    digits: list[int] = []
    left_out: dict[Path, str] = {}
    first_by_content: dict[bytes, tuple[Path, int]] = {}
    for file, digit in files:
        if digit is None:
            left_out[file] = "It is a negative example; fine-tuning learns digits only."
            continue
        try:
            picture = read_canonical(file.read_bytes(), finder=finder).picture
        except (ImageError, OSError) as error:
            left_out[file] = error.detail if isinstance(error, ImageError) else f"{error.strerror}."
            continue
        if earlier := first_by_content.get(picture.tobytes()):
            first, first_digit = earlier
            if first_digit != digit:
                msg = f"{first} and {file} are the same picture, but are labelled {first_digit} and {digit}."
                raise DataError(msg)
            left_out[file] = f"It is the same picture as {first}."
            continue
        first_by_content[picture.tobytes()] = file, digit
        pictures.append(picture)
        digits.append(digit)
    stacked = np.array(pictures, np.uint8).reshape(-1, SIDE, SIDE)
    return UserPictures(Labelled(stacked, np.array(digits, np.uint8)), left_out)


def _check_enough(user_pictures: UserPictures, source: Path) -> None:
    counts = {
        digit: int((user_pictures.pictures.digits == digit).sum()) for digit in range(len(DIGIT_LABELS))
    }
    if not any(counts.values()):
        why = (
            f"{len(user_pictures.left_out)} were left out"
            if user_pictures.left_out
            else "put them into folders 0 to 9"
        )
        msg = f"{source} holds no pictures to learn from: {why}."
        raise DataError(msg)
    too_few = [f"{count} of {digit}" for digit, count in counts.items() if 0 < count < MIN_PICTURES]
    if too_few:
        needed = f"give at least {MIN_PICTURES} of each digit, or none"
        msg = f"{source} holds too few pictures, {', '.join(too_few)}: {needed}."
        raise DataError(msg)
