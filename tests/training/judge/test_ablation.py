from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.digits.classifier import Classifier
from app.digits.finder import LEVELS
from app.digits.numbers import NumberReader
from tests.data.strokes import ink
from tests.data.writing import draw_lines
from tests.training.hands import draw_digits
from training.data.real_sets import UploadSet, UploadSets
from training.data.uploads import encode_png
from training.judge import ablation

MAX_PER_SET = 4


def draw_set(*digits: int, paper: int) -> UploadSet:
    drawn = (ink(digit, (60, 80), box=(15, 12, 28, 50), pen=5) for digit in digits)
    name = "dark on light" if paper else "light on dark"
    uploads = tuple(encode_png(np.asarray(abs(paper - one.astype(int)), np.uint8)) for one in drawn)
    return UploadSet(name, uploads, tuple(map(str, digits)))


@pytest.fixture(scope="module")
def digits(classifier: Classifier) -> ablation.Ablation:
    sets = draw_set(*range(10), paper=0), draw_set(*range(10), paper=255)
    blot = UploadSet(
        "blot", (encode_png(np.pad(np.zeros((40, 40), np.uint8), 20, constant_values=255)),), ("",)
    )
    return ablation.ablate_digits(classifier, None, UploadSets(digits=sets, negatives=(blot,)))


def test_a_step_that_a_set_needs_is_named_with_the_set(digits: ablation.Ablation) -> None:
    assert digits.complete.accuracy == 1.0
    ((name, counts),) = digits.list_changes("normalise_polarity")
    assert (name, counts.first, counts.second) == ("light on dark", 10, 0)


def test_a_step_that_no_set_needs_changes_nothing(digits: ablation.Ablation) -> None:
    assert not list(digits.list_changes("remove_bands"))


def test_every_row_has_a_cell_for_each_column(digits: ablation.Ablation) -> None:
    rows = list(digits.build_rows())
    assert [row[0] for row in rows[:2]] == ["nothing", "the finder"]
    assert {len(row) for row in rows} == {len(ablation.COLUMNS)}
    assert (
        "light on dark -10 +0" in dict(zip((row[0] for row in rows), rows, strict=True))["normalise_polarity"]
    )


@pytest.mark.needs("fonts")
def test_sets_are_real_corrupted_and_drawn(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "file,route,expected\none.png,/predict,1\ntwo.png,/predict/number,1|2\n"
    )
    real_sets = UploadSets(
        digits=(draw_set(*range(10), paper=0),), numbers=(UploadSet("numbers", (b"",), ("7",)),)
    )
    validation = draw_digits(12, seed=1)
    sample = ablation.sample_digits(validation, real_sets, cases_folder=tmp_path, max_per_set=MAX_PER_SET)
    sizes = {digits.name: len(digits) for digits in sample.digits}
    assert {"light on dark", "fog", "scan scenes", "framed"} < sizes.keys()
    assert sizes.pop("cases") == 1
    assert set(sizes.values()) == {MAX_PER_SET}
    numbers = ablation.sample_numbers(validation, real_sets, cases_folder=tmp_path, max_per_set=MAX_PER_SET)
    assert [one.name for one in numbers] == ["touching digits", "separate digits", "numbers", "cases"]
    assert numbers[-1].labels == ("1\n2",)


def test_numbers_are_read_by_each_network_alone_and_without_each_size(number_reader: NumberReader) -> None:
    uploads = tuple(encode_png(draw_lines(text)) for text in ("407", "28"))
    result = ablation.ablate_numbers(number_reader, [UploadSet("numbers", uploads, ("407", "28"))])
    assert result.complete.accuracy == 1.0
    assert result.without["the line reader"].accuracy == 1.0
    sizes = {f"{side} pixels" for side in LEVELS}
    assert result.without.keys() == {"the line reader", "the finder", "second opinions"} | sizes
