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


def folders(root: Path, *, each: int = 4, digits: str = "17") -> Path:
    """Make folders of drawings, no two alike."""
    for digit in digits:
        (root / digit).mkdir(parents=True)
        for number in range(each):
            drawing = 255 - ink(int(digit), (80, 80), box=(20, 10, 30, 60), pen=5 + number, slant=number / 10)
            (root / digit / f"{number}.png").write_bytes(encode_png(drawing))
    return root


def table(
    file: Path, rows: Sequence[tuple[str, ...]], *, columns: tuple[str, ...] = ("file", "label")
) -> Path:
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([columns, *rows])
    return file


def test_folders_say_the_digits_and_some_may_be_missing(tmp_path: Path) -> None:
    found = user_pictures.load_user_pictures(folders(tmp_path))
    assert found.pictures.digits.tolist() == [1] * 4 + [7] * 4
    assert found.pictures.pictures.shape == (8, 28, 28)
    assert found.left_out == {}


def test_a_table_says_the_same_as_folders(tmp_path: Path) -> None:
    root = folders(tmp_path)
    rows = [(f"{digit}/{number}.png", f" {digit}") for digit in "17" for number in range(4)]
    assert (
        user_pictures.load_user_pictures(table(root / "mine.csv", rows)).pictures.sha256
        == user_pictures.load_user_pictures(root).pictures.sha256
    )


def test_what_cant_be_read_or_came_before_is_left_out_and_told(tmp_path: Path) -> None:
    root = folders(tmp_path)
    shutil.copy(BLANK, root / "1" / "9-blank.png")
    shutil.copy(root / "7" / "0.png", root / "7" / "9-again.png")
    (root / "7" / "9-notes.txt").write_text("sevens")
    found = user_pictures.load_user_pictures(root)
    assert len(found.pictures) == 8
    told = {file.name: why for file, why in found.left_out.items()}
    assert "Nothing is written" in told.pop("9-blank.png")
    assert told.pop("9-again.png") == f"It is the same picture as {root / '7' / '0.png'}."
    assert told.keys() == {"9-notes.txt"}


def test_what_is_no_digit_is_left_out_and_told(tmp_path: Path) -> None:
    root = folders(tmp_path)
    (root / "none").mkdir()
    (root / "none" / "doodle.png").write_bytes(
        encode_png(255 - ink(8, (80, 80), box=(20, 10, 30, 60), pen=5))
    )
    found = user_pictures.load_user_pictures(root)
    assert len(found.pictures) == 8
    assert found.left_out == {root / "none" / "doodle.png": "It is not a digit, and only digits are learned."}


def test_files_that_systems_hide_are_not_looked_at(tmp_path: Path) -> None:
    root = folders(tmp_path)
    (root / "1" / ".DS_Store").write_bytes(b"\0")
    (root / ".trash").mkdir()
    (root / "labels.csv").write_text("beside the folders, not read")
    assert user_pictures.load_user_pictures(root).left_out == {}


def test_one_picture_under_two_digits_is_refused(tmp_path: Path) -> None:
    root = folders(tmp_path)
    shutil.copy(root / "1" / "0.png", root / "7" / "9.png")
    with pytest.raises(DataError, match=r"are the same picture, and called 1 and 7"):
        user_pictures.load_user_pictures(root)


def test_to_compare_by_every_file_counts_as_it_would_be_sent(tmp_path: Path) -> None:
    root = folders(tmp_path, each=1)
    shutil.copy(BLANK, root / "1" / "9-blank.png")
    sent = user_pictures.load_uploads(root)
    assert sent.labels == ("1", "1", "7")
    assert sent.uploads[1] == BLANK.read_bytes()
    listed = table(tmp_path / "mine.csv", [("7/0.png", "7")])
    assert user_pictures.load_uploads(listed).uploads == sent.uploads[2:]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"nothing holds no picture"):
        user_pictures.load_uploads(tmp_path / "nothing")


def test_a_folder_that_is_no_digit_is_refused(tmp_path: Path) -> None:
    root = folders(tmp_path)
    shutil.copytree(root / "7", root / "seven")
    with pytest.raises(DataError, match=r"'seven' is not a digit, 0 to 9"):
        user_pictures.load_user_pictures(root)


def test_too_few_of_a_digit_are_refused(tmp_path: Path) -> None:
    root = folders(folders(tmp_path), each=3, digits="5")
    with pytest.raises(DataError, match=r"too few pictures, 3 of 5: at least 4 of each digit, or none"):
        user_pictures.load_user_pictures(root)


@pytest.mark.parametrize("blanks", [0, 2])
def test_nothing_to_read_is_told_with_what_was_found(tmp_path: Path, blanks: int) -> None:
    (tmp_path / "3").mkdir()
    for number in range(blanks):
        shutil.copy(BLANK, tmp_path / "3" / f"{number}.png")
    with pytest.raises(DataError, match=r"2 were left out" if blanks else r"in folders 0 to 9"):
        user_pictures.load_user_pictures(tmp_path)


def test_no_folder_and_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no folder and no CSV"):
        user_pictures.load_user_pictures(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (("gone.png", "1"), "row 2: there is no file gone.png"),
        (("../outside.png", "1"), "row 2: ../outside.png is outside of"),
        (("/etc/hostname", "1"), "is outside of"),
        (("1/0.png", "ten"), "row 2: 'ten' is not a digit, 0 to 9"),
        (("1/0.png", "10"), "'10' is not a digit"),
        (("1/0.png", ""), "needs the columns file and label, filled in every row"),
        (("1/0.png",), "needs the columns file and label, filled in every row"),
    ],
)
def test_a_row_that_cant_be_right_is_told_by_its_number(
    tmp_path: Path, row: tuple[str, ...], why: str
) -> None:
    root = folders(tmp_path / "own")
    (tmp_path / "outside.png").write_bytes((root / "1" / "0.png").read_bytes())
    with pytest.raises(DataError) as told:
        user_pictures.load_user_pictures(table(root / "mine.csv", [row]))
    assert why in str(told.value)


def test_a_table_without_the_columns_is_told(tmp_path: Path) -> None:
    file = table(tmp_path / "mine.csv", [("1.png", "1")], columns=("picture", "digit"))
    with pytest.raises(DataError, match=r"mine.csv needs the columns file and label"):
        user_pictures.load_user_pictures(file)


def test_a_file_that_is_no_table_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(np.arange(256, dtype=np.uint8).tobytes())
    with pytest.raises(DataError, match=r"mine.csv can't be read"):
        user_pictures.load_user_pictures(file)
