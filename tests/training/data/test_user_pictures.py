from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import HOSTILE
from tests.data.strokes import ink
from training.data import user_pictures
from training.data.uploads import encode_png
from training.errors import DataError

BLANK = HOSTILE / "white.png"


def write_folders(root: Path, *, per_digit: int = 4, digits: str = "17") -> Path:
    """Write folders of different drawings, one folder for each digit."""
    for digit in digits:
        (root / digit).mkdir(parents=True)
        for number in range(per_digit):
            drawing = 255 - ink(int(digit), (80, 80), box=(20, 10, 30, 60), pen=5 + number, slant=number / 10)
            (root / digit / f"{number}.png").write_bytes(encode_png(drawing))
    return root


def write_table(
    file: Path, rows: Sequence[tuple[str, ...]], *, columns: tuple[str, ...] = ("file", "label")
) -> Path:
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([columns, *rows])
    return file


def test_folders_name_the_digits_and_some_may_be_missing(tmp_path: Path) -> None:
    collection = user_pictures.load_user_pictures(write_folders(tmp_path))
    assert collection.pictures.digits.tolist() == [1] * 4 + [7] * 4
    assert collection.pictures.pictures.shape == (8, 28, 28)
    assert collection.left_out == {}


def test_a_table_gives_the_same_pictures_as_folders(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    rows = [(f"{digit}/{number}.png", f" {digit}") for digit in "17" for number in range(4)]
    assert (
        user_pictures.load_user_pictures(write_table(root / "mine.csv", rows)).pictures.sha256
        == user_pictures.load_user_pictures(root).pictures.sha256
    )


def test_unreadable_pictures_and_duplicates_are_left_out_with_the_reason(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    shutil.copy(BLANK, root / "1" / "9-blank.png")
    shutil.copy(root / "7" / "0.png", root / "7" / "9-again.png")
    (root / "7" / "9-notes.txt").write_text("sevens")
    collection = user_pictures.load_user_pictures(root)
    assert len(collection.pictures) == 8
    reasons = {file.name: why for file, why in collection.left_out.items()}
    assert "Nothing is written" in reasons.pop("9-blank.png")
    assert reasons.pop("9-again.png") == f"It is the same picture as {root / '7' / '0.png'}."
    assert reasons.keys() == {"9-notes.txt"}


def test_negative_examples_are_left_out_with_the_reason(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    (root / "none").mkdir()
    (root / "none" / "doodle.png").write_bytes(
        encode_png(255 - ink(8, (80, 80), box=(20, 10, 30, 60), pen=5))
    )
    collection = user_pictures.load_user_pictures(root)
    assert len(collection.pictures) == 8
    reason = "It is a negative example; fine-tuning learns digits only."
    assert collection.left_out == {root / "none" / "doodle.png": reason}


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    (root / "1" / ".DS_Store").write_bytes(b"\0")
    (root / ".trash").mkdir()
    (root / "labels.csv").write_text("beside the folders, not read")
    assert user_pictures.load_user_pictures(root).left_out == {}


def test_one_picture_with_two_labels_is_refused(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    shutil.copy(root / "1" / "0.png", root / "7" / "9.png")
    with pytest.raises(DataError, match=r"are the same picture, but are labelled 1 and 7"):
        user_pictures.load_user_pictures(root)


def test_every_file_counts_as_an_upload_in_a_comparison(tmp_path: Path) -> None:
    root = write_folders(tmp_path, per_digit=1)
    shutil.copy(BLANK, root / "1" / "9-blank.png")
    collection = user_pictures.load_uploads(root)
    assert collection.labels == ("1", "1", "7")
    assert collection.uploads[1] == BLANK.read_bytes()
    listed = write_table(tmp_path / "mine.csv", [("7/0.png", "7")])
    assert user_pictures.load_uploads(listed).uploads == collection.uploads[2:]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"nothing holds no pictures of digits"):
        user_pictures.load_uploads(tmp_path / "nothing")


def test_a_folder_whose_name_is_no_digit_is_refused(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    shutil.copytree(root / "7", root / "seven")
    with pytest.raises(DataError, match=r"'seven' is neither a digit, 0 to 9, nor none"):
        user_pictures.load_user_pictures(root)


def test_too_few_of_a_digit_are_refused(tmp_path: Path) -> None:
    root = write_folders(write_folders(tmp_path), per_digit=3, digits="5")
    with pytest.raises(DataError, match=r"too few pictures, 3 of 5: give at least 4 of each digit, or none"):
        user_pictures.load_user_pictures(root)


@pytest.mark.parametrize("blanks", [0, 2])
def test_a_folder_without_a_readable_picture_is_refused_with_the_reason(tmp_path: Path, blanks: int) -> None:
    (tmp_path / "3").mkdir()
    for number in range(blanks):
        shutil.copy(BLANK, tmp_path / "3" / f"{number}.png")
    with pytest.raises(DataError, match=r"2 were left out" if blanks else r"into folders 0 to 9"):
        user_pictures.load_user_pictures(tmp_path)


def test_a_missing_source_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no folder or CSV file"):
        user_pictures.load_user_pictures(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (("gone.png", "1"), "row 2: there is no file gone.png"),
        (("../outside.png", "1"), "row 2: ../outside.png is outside "),
        (("/etc/hostname", "1"), "is outside "),
        (("1/0.png", "ten"), "row 2: 'ten' is neither a digit, 0 to 9, nor none"),
        (("1/0.png", "10"), "'10' is neither a digit"),
        (("1/0.png", ""), "needs the columns file and label, filled in every row"),
        (("1/0.png",), "needs the columns file and label, filled in every row"),
    ],
)
def test_an_invalid_row_is_reported_with_its_number(tmp_path: Path, row: tuple[str, ...], why: str) -> None:
    root = write_folders(tmp_path / "own")
    (tmp_path / "outside.png").write_bytes((root / "1" / "0.png").read_bytes())
    with pytest.raises(DataError) as error:
        user_pictures.load_user_pictures(write_table(root / "mine.csv", [row]))
    assert why in str(error.value)


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    file = write_table(tmp_path / "mine.csv", [("1.png", "1")], columns=("picture", "digit"))
    with pytest.raises(DataError, match=r"mine.csv needs the columns file and label"):
        user_pictures.load_user_pictures(file)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(np.arange(256, dtype=np.uint8).tobytes())
    with pytest.raises(DataError, match=r"mine.csv can't be read"):
        user_pictures.load_user_pictures(file)
