from __future__ import annotations

import json

import pytest

from benchmarks.rivals.__main__ import describe, print_tables
from benchmarks.rivals.readers import NOTHING, Reading
from benchmarks.rivals.score import Score, measure
from training.data.real_sets import UploadSet


def test_all_digits_of_a_picture_must_be_right() -> None:
    readings = {
        b"right": Reading("123", 0.95),
        b"one too many": Reading("1230", 0.9),
        b"unsure": Reading("124", 0.89),
        b"nothing": NOTHING,
    }
    labels = ("1\n23", "123", "123", "123")
    score = measure(readings.__getitem__, UploadSet("numbers", tuple(readings), labels))
    assert (score.pictures, score.right, score.surely_wrong) == (4, 1, 1)
    assert score.cpu_ms >= 0


def test_a_table_for_each_figure_leaves_a_gap_where_a_reader_does_not_suit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, theirs = Score(4, 3, 0, 12.34), Score(4, 1, 2, 345.6)
    print_tables({"cheques": {"ours": ours, "theirs": theirs}, "pages": {"ours": ours}}, ["ours", "theirs"])
    right, sure, time = capsys.readouterr().out.strip().split("\n\n")
    assert right.splitlines() == [
        "| right as a whole | pictures | ours | theirs |",
        "| --- | ---: | ---: | ---: |",
        "| cheques | 4 | 3 (75.0%) | 1 (25.0%) |",
        "| pages | 4 | 3 (75.0%) |  |",
    ]
    assert "| cheques | 4 | 0 | 2 |" in sure
    assert "| cheques | 4 | 12.3 | 345.6 |" in time


def test_the_file_has_all_figures() -> None:
    written = json.loads(json.dumps(describe({"cheques": {"ours": Score(4, 3, 0, 12.3)}})))
    assert written == {"cheques": {"ours": {"pictures": 4, "right": 3, "surely_wrong": 0, "cpu_ms": 12.3}}}
