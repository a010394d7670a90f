from __future__ import annotations

from pathlib import Path

from benchmarks.rivals.sets import choose_pictures, is_single_digits, is_single_line, load_sets
from training.data.real_sets import UploadSet


def write_table(folder: Path, *lines: str) -> None:
    folder.mkdir()
    (folder / "labels.csv").write_text("\n".join(lines))
    for line in lines[1:]:
        name = line.partition(",")[0]
        (folder / name).write_bytes(name.encode())


def describe(sets: list[UploadSet]) -> dict[str, tuple[str, ...]]:
    return {each.name: each.labels for each in sets}


def test_numbers_of_one_line_and_of_several_are_two_sets(tmp_path: Path) -> None:
    write_table(tmp_path / "numbers", "file,label", "a.png,12", "b.png,3|4", "c.png,56")
    write_table(tmp_path / "drawn", "file,label", "d.png,7")
    sets, skipped = load_sets(tmp_path)
    assert describe(sets) == {"numbers": ("12", "56"), "numbers, several lines": ("3\n4",), "drawn": ("7",)}
    assert sets[1].uploads == (b"b.png",)
    assert [is_single_line(each) for each in sets] == [True, False, True]
    assert [is_single_digits(each) for each in sets] == [False, False, True]
    assert skipped == {}


def test_cases_are_a_set_for_each_route(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    folder.mkdir()
    write_table(
        folder / "pictures",
        "file,route,expected,written,kind",
        "a.png,/predict,3,,plain",
        "b.png,/predict/number,120,1.20,point",
        "c.png,/predict/number,1|2,,lines",
    )
    sets, skipped = load_sets(folder)
    assert describe(sets) == {
        "cases /predict": ("3",),
        "cases /predict/number": ("120",),
        "cases /predict/number, several lines": ("1\n2",),
    }
    assert sets[1].uploads == (b"b.png",)
    assert skipped == {}


def test_a_table_of_another_layout_is_skipped_with_the_reason(tmp_path: Path) -> None:
    write_table(tmp_path / "other", "name,digit", "a.png,3")
    sets, skipped = load_sets(tmp_path)
    assert sets == []
    assert "labels.csv needs the columns file and label" in skipped["other"]


def test_pictures_that_show_no_digit_are_no_set(tmp_path: Path) -> None:
    write_table(tmp_path / "not_digit_letters", "file,what", "a.png,rho")
    assert load_sets(tmp_path) == ([], {})


def test_a_limit_chooses_the_same_pictures_each_time() -> None:
    numbers = [str(number) for number in range(100, 200)]
    all_pictures = UploadSet("numbers", tuple(map(str.encode, numbers)), tuple(numbers))
    some = choose_pictures(all_pictures, 10)
    assert some == choose_pictures(all_pictures, 10)
    assert len(set(some.labels)) == 10
    assert list(some.labels) == sorted(some.labels) != numbers[:10]
    assert [upload.decode() for upload in some.uploads] == list(some.labels)
    assert choose_pictures(all_pictures, 100) == choose_pictures(all_pictures, None) == all_pictures
