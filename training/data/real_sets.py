"""Sets of real uploads: photos, scans and drawings of digits and numbers, and negative examples.

FOLDER/NAME/labels.csv      columns file, and label or what; the pictures lie beside it
FOLDER/NAME.npz             arrays x, uint8 (n, height, width), and y; also x_train and y_train, and so on

CASES/labels.csv            columns file, route and expected: pictures for either route (`load_cases`)

A set whose name begins with not_digit_ holds negative examples; in one whose name begins with numbers or
cheques, each picture shows several digits. A set that is missing or damaged is skipped, with the reason.
Training, export and the service need no real sets.
"""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.digits.contract import CLASSES
from app.digits.working_picture import Polarity
from training.data.uploads import encode_png
from training.errors import DataError

LABELS: Final = "labels.csv"
NEGATIVE_PREFIX: Final = "not_digit_"  # begins the name of a set of negative examples
NUMBER_PREFIXES: Final = ("numbers", "cheques")  # begin the name of a set with several digits in each picture
LINE_SEPARATOR: Final = "|"  # between the lines of a number's label
CASES: Final = "cases"  # the name of both sets of a folder of cases

# Sets whose pictures all have one polarity; other sets mix both, or have not been checked.
KNOWN_POLARITIES: Final[Mapping[str, Polarity]] = {
    "paper_photos": "dark_on_light",
    "hwd1000": "dark_on_light",
    "semeion": "light_on_dark",
    "optdigits_orig": "light_on_dark",
}
# Pixels of background to add around pictures that were cropped so tightly that the digits touch the border.
MARGINS: Final[Mapping[str, int]] = {"semeion": 4, "optdigits_orig": 4}

DIGIT_LABELS: Final = frozenset(map(str, range(CLASSES)))


@dataclass(frozen=True)
class UploadSet:
    """Labelled uploads of one kind and from one source."""

    name: str
    uploads: tuple[bytes, ...]
    labels: tuple[str, ...]  # a digit; a number's lines, separated by \n; or what a negative example shows
    writers: tuple[int, ...] = ()  # who wrote each of them, where that is known

    def __len__(self) -> int:
        return len(self.uploads)

    @property
    def digits(self) -> NDArray[np.uint8]:
        """The true digits, (n,); only for a set of digits."""
        return np.array([int(label) for label in self.labels], np.uint8)

    @property
    def polarity(self) -> Polarity | None:
        """The polarity of all pictures, or None if it is unknown."""
        return KNOWN_POLARITIES.get(self.name)


@dataclass(frozen=True)
class UploadSets:
    """Sets of uploads, by what they show."""

    digits: tuple[UploadSet, ...] = ()
    negatives: tuple[UploadSet, ...] = ()
    numbers: tuple[UploadSet, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)  # name → why

    def __add__(self, other: UploadSets) -> UploadSets:
        """Return these sets and others."""
        return UploadSets(
            digits=self.digits + other.digits,
            negatives=self.negatives + other.negatives,
            numbers=self.numbers + other.numbers,
            skipped={**self.skipped, **other.skipped},
        )


def find_folder(path: Path | None) -> Path | None:
    """Return `path`, else the folder that `DIGITS_REAL` names, else None."""
    variable = os.environ.get("DIGITS_REAL")
    return path or (Path(variable) if variable else None)


def load_real_sets(folder: Path | None) -> UploadSets:
    """Read every set in `folder`; `skipped` holds those that can't be read, with the reason."""
    if folder is None:
        return UploadSets(
            skipped={"all": "No folder of real sets: name one with --real FOLDER or DIGITS_REAL."}
        )
    if not folder.is_dir():
        return UploadSets(skipped={"all": f"There is no folder {folder.name}."})
    sets, skipped = [], {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.suffix == ".npz":
            try:
                sets.append(_read_folder(path) if path.is_dir() else _read_archive(path))
            except DataError as error:
                skipped[path.stem] = str(error)
    return UploadSets(
        digits=tuple(
            upload_set
            for upload_set in sets
            if not upload_set.name.startswith((NEGATIVE_PREFIX, *NUMBER_PREFIXES))
        ),
        negatives=tuple(upload_set for upload_set in sets if upload_set.name.startswith(NEGATIVE_PREFIX)),
        numbers=tuple(upload_set for upload_set in sets if upload_set.name.startswith(NUMBER_PREFIXES)),
        skipped=skipped,
    )


def load_cases(folder: Path | None) -> UploadSets:
    """Read the digits and the numbers in a folder of cases: pictures with the answer expected of a route.

    Raises:
        DataError: it has no labels.csv, or one without a column.
    """
    if folder is None:
        return UploadSets()
    rows = read_table(folder / LABELS)
    digits, numbers = (
        _read_rows(folder, [row for row in rows if row.get("route") == route], "expected")
        for route in ("/predict", "/predict/number")
    )
    return UploadSets(
        digits=(_make_set(CASES, *digits),), numbers=(UploadSet(CASES, tuple(numbers[0]), tuple(numbers[1])),)
    )


def _read_folder(folder: Path) -> UploadSet:
    rows = [row for row in read_table(folder / LABELS) if row.get("confusable_with_digit") != "1"]
    column = "what" if folder.name.startswith(NEGATIVE_PREFIX) else "label"
    return _make_set(folder.name, *_read_rows(folder, rows, column))


def _read_rows(folder: Path, rows: Sequence[Mapping[str, str]], column: str) -> tuple[list[bytes], list[str]]:
    """Return the uploads and the labels of rows."""
    try:
        files = [folder / row["file"] for row in rows]
        labels = [row[column].replace(LINE_SEPARATOR, "\n") for row in rows]
    except (KeyError, AttributeError, TypeError):  # a missing column, or None in a row that is too short
        msg = f"{LABELS} needs the columns file and {column}, filled in every row."
        raise DataError(msg) from None
    return [read_upload(file) for file in files], labels


def read_table(file: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV as dictionaries by column; None fills up a row that is too short."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return list(csv.DictReader(lines))
    except (OSError, ValueError, csv.Error) as error:
        msg = f"{file.name} can't be read ({type(error).__name__})."
        raise DataError(msg) from error


def read_upload(file: Path) -> bytes:
    """Return a file's bytes, or b"" if it is missing, so that it counts as an unreadable upload."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _read_archive(file: Path) -> UploadSet:
    arrays = _read_arrays(file)
    pictures, labels = [], []
    for key in sorted(key for key in arrays if key.startswith("x")):
        x, y = arrays[key], arrays.get(f"y{key[1:]}")
        if x.dtype != np.uint8 or x.ndim != 3 or (y is not None and y.shape != x.shape[:1]):  # noqa: PLR2004
            msg = f"{key} is {x.dtype} {x.shape}; it must be uint8 (n, height, width), with n labels."
            raise DataError(msg)
        pictures += list(np.pad(x, [(0, 0)] + [(MARGINS.get(file.stem, 0),) * 2] * 2))
        labels += [""] * len(x) if y is None else [str(label) for label in y.tolist()]
    return _make_set(file.stem, [encode_png(picture) for picture in pictures], labels)


def _read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        # TypeError and AttributeError: an .npy, which is no archive
        msg = f"It can't be read as an .npz file ({type(error).__name__})."
        raise DataError(msg) from error


def _make_set(name: str, uploads: list[bytes], labels: list[str]) -> UploadSet:
    if not uploads:
        msg = "It holds no picture."
        raise DataError(msg)
    if not name.startswith((NEGATIVE_PREFIX, *NUMBER_PREFIXES)) and (
        wrong := sorted(set(labels) - DIGIT_LABELS)
    ):
        msg = f"The label {wrong[0]!r} is not a digit."
        raise DataError(msg)
    return UploadSet(name, tuple(uploads), tuple(labels))
