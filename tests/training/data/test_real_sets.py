from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import GOLDEN
from training.data import real_sets
from training.data.real_sets import UploadSet, UploadSets
from training.errors import DataError

PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()
ONES = np.full((3, 16, 16), 255, np.uint8)


def write_set(root: Path, name: str, labels: str) -> Path:
    """Write a set of one picture and these labels into a folder `name`; return `root`."""
    (root / name).mkdir()
    (root / name / "seven.jpg").write_bytes(PHOTO)
    (root / name / "labels.csv").write_text(labels)
    return root


def get_only(sets: tuple[UploadSet, ...]) -> UploadSet:
    (upload_set,) = sets
    return upload_set


def test_without_a_folder_everything_is_skipped_with_the_remedy() -> None:
    sets = real_sets.load_real_sets(None)
    assert sets.digits == sets.negatives == sets.numbers == ()
    assert "--real FOLDER or DIGITS_REAL" in sets.skipped["all"]


def test_a_missing_folder_is_skipped_with_the_reason(tmp_path: Path) -> None:
    assert real_sets.load_real_sets(tmp_path / "nowhere").skipped == {"all": "There is no folder nowhere."}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("name,label\nseven.jpg,7\n", "labels.csv needs the columns file and label"),
        ("file,label\nseven.jpg\n", "filled in every row"),
        ("file,label\nseven.jpg,seven\n", "The label 'seven' is not a digit."),
        ("file,label\n", "It holds no picture."),
        ("", "It holds no picture."),
    ],
)
def test_a_folder_with_bad_labels_is_skipped_with_the_reason(
    tmp_path: Path, labels: str, reason: str
) -> None:
    sets = real_sets.load_real_sets(write_set(tmp_path, "photos", labels))
    assert sets.digits == ()
    assert reason in sets.skipped["photos"]


def test_a_folder_without_labels_is_skipped_and_the_next_one_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sets = real_sets.load_real_sets(write_set(tmp_path, "photos", "file,label\nseven.jpg,7\n"))
    assert sets.skipped == {"empty": "labels.csv can't be read (FileNotFoundError)."}
    assert len(sets.digits) == 1


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_damaged_arrays_are_skipped_with_the_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scans.npz").write_bytes(content)
    assert "can't be read as an .npz file" in real_sets.load_real_sets(tmp_path).skipped["scans"]


@pytest.mark.parametrize(
    "arrays",
    [{"x": ONES.astype(float)}, {"x": ONES[0]}, {"x": ONES, "y": np.zeros(2, np.uint8)}],
)
def test_arrays_of_the_wrong_shape_or_dtype_are_skipped_with_the_reason(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "not_digit_scans.npz", allow_pickle=False, **arrays)
    assert (
        "it must be uint8 (n, height, width)" in real_sets.load_real_sets(tmp_path).skipped["not_digit_scans"]
    )


def test_digits_without_labels_are_skipped(tmp_path: Path) -> None:
    np.savez(tmp_path / "scans.npz", x=ONES)
    assert real_sets.load_real_sets(tmp_path).skipped == {"scans": "The label '' is not a digit."}


def test_a_missing_file_is_an_upload_that_cant_be_read(tmp_path: Path) -> None:
    sets = real_sets.load_real_sets(write_set(tmp_path, "photos", "file,label\nseven.jpg,7\ngone.jpg,1\n"))
    assert get_only(sets.digits).uploads == (PHOTO, b"")


def test_files_and_their_digits_are_read(tmp_path: Path) -> None:
    photos = get_only(
        real_sets.load_real_sets(write_set(tmp_path, "paper_photos", "file,label\nseven.jpg,7\n")).digits
    )
    assert photos.digits.tolist() == [7]
    assert photos.polarity == "dark_on_light"


def test_negative_examples_that_could_pass_for_a_digit_are_left_out(tmp_path: Path) -> None:
    labels = "file,what,confusable_with_digit\nseven.jpg,rho,0\nseven.jpg,tau,1\n"
    letters = get_only(real_sets.load_real_sets(write_set(tmp_path, "not_digit_greek", labels)).negatives)
    assert letters.labels == ("rho",)
    assert letters.polarity is None


def test_a_numbers_label_is_split_into_lines(tmp_path: Path) -> None:
    numbers = get_only(
        real_sets.load_real_sets(write_set(tmp_path, "numbers", "file,label\nseven.jpg,012|34\n")).numbers
    )
    assert numbers.labels == ("012\n34",)


def test_all_arrays_of_an_archive_are_read_with_a_margin_where_ink_touches_the_border(tmp_path: Path) -> None:
    digits = np.array([1, 2, 3], np.uint8)
    np.savez(tmp_path / "semeion.npz", x=ONES, y=digits, x_train=ONES[:1], y_train=digits[:1])
    np.savez(tmp_path / "not_digit_signs.npz", x=ONES)
    sets = real_sets.load_real_sets(tmp_path)
    assert get_only(sets.digits).digits.tolist() == [1, 2, 3, 1]
    assert len(get_only(sets.negatives)) == 3
    (tmp_path / "one.png").write_bytes(get_only(sets.digits).uploads[0])
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (24, 24)
        assert image.getpixel((0, 0)) == 0


def test_an_option_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIGITS_REAL", raising=False)
    assert real_sets.find_folder(None) is None
    monkeypatch.setenv("DIGITS_REAL", "there")
    assert real_sets.find_folder(None) == Path("there")
    assert real_sets.find_folder(Path("here")) == Path("here")


def test_cases_are_digits_for_one_route_and_numbers_for_the_other(tmp_path: Path) -> None:
    write_set(tmp_path, "cases", "file,route,expected\nseven.jpg,/predict,7\ngone.jpg,/predict/number,1|2\n")
    cases = real_sets.load_cases(tmp_path / "cases")
    assert (get_only(cases.digits).labels, get_only(cases.numbers).labels) == (("7",), ("1\n2",))
    assert get_only(cases.numbers).uploads == (b"",)
    assert real_sets.load_cases(None) == UploadSets()


def test_cases_without_labels_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels.csv can't be read"):
        real_sets.load_cases(tmp_path)


def test_sets_of_two_places_are_put_together(tmp_path: Path) -> None:
    photos = real_sets.load_real_sets(write_set(tmp_path, "photos", "file,label\nseven.jpg,7\n"))
    both = photos + real_sets.load_real_sets(None)
    assert both.digits == photos.digits
    assert both.skipped.keys() == {"all"}
