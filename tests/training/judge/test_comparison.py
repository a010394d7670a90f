from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rich.console import Console

from app.digits.classifier import Classifier
from app.digits.contract import DigitBatch, Metadata
from tests.conftest import GOLDEN, HOSTILE
from tests.tiny import GOOD, tiny_model
from training import plots
from training.data.labelled import Labelled
from training.data.real_sets import RealSet, RealSets
from training.data.uploads import read_canonical
from training.errors import WorkshopError
from training.judge import comparison
from training.judge.comparison import Comparison, Sample
from training.judge.mcnemar import PairedCounts

BLANK = (HOSTILE / "white.png").read_bytes()
PHOTO = (GOLDEN / "7-photo.jpg").read_bytes()
# As many bright pixels as the first network counts: it says 3, 3, 3, 4, 4, 0, 1; the second takes 3 for 4.
COUNTS = (4, 4, 4, 5, 5, 1, 2)
TRUTH = (3, 3, 4, 3, 9, 0, 2)


def pictures(*counts: int) -> DigitBatch:
    batch = np.zeros((len(counts), 28, 28), np.uint8)
    for picture, count in zip(batch, counts, strict=True):
        picture[0, :count] = 255
    return batch


def confused(file: bytes) -> bytes:
    """Return the network with 3 and 4 in each other's place."""
    proto = onnx.load_from_string(file)
    for array in proto.graph.initializer:
        if array.name in {"weights", "bias"}:
            values = numpy_helper.to_array(array)[..., [0, 1, 2, 4, 3, 5, 6, 7, 8, 9]]
            array.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), array.name))
    return bytes(proto.SerializeToString())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a network; the second tells the likelihood of a digit."""
    folder = tmp_path_factory.mktemp("models")
    facts = GOOD | {Metadata.PARAMETERS: "7850", Metadata.MULTIPLY_ADDS: "7840"}
    (folder / "tiny" / "2").mkdir(parents=True)
    (folder / "tiny" / "model.onnx").write_bytes(tiny_model(metadata=facts))
    more = facts | {Metadata.VERSION: "0.0.2", Metadata.PARAMETERS: "8000"}
    (folder / "tiny" / "2" / "model.onnx").write_bytes(confused(tiny_model(metadata=more, likelihood=0.25)))
    return folder


@pytest.fixture(scope="module")
def compared(models: Path) -> Comparison:
    sets = np.array(["photos"] * 3 + ["scans"] * 4)
    asked = Sample("mine", pictures(*COUNTS), np.array(TRUTH, np.uint8), sets, pictures(1, 2), unreadable=2)
    return comparison.compare(models, "tiny@1", "tiny", asked)


def told(compared: Comparison) -> list[str]:
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(*comparison.report(compared))
    return console.export_text().splitlines()


def cells(lines: list[str], first: str) -> list[str]:
    """Return the cells of the row that begins so."""
    return next(
        row[1:-1]
        for row in ([cell.strip() for cell in line.split("│")] for line in lines)
        if row[1:2] == [first]
    )


def test_who_is_right_is_counted_on_the_same_pictures(compared: Comparison) -> None:
    assert compared.paired() == PairedCounts(both=1, first=2, second=2, neither=2)
    assert compared.paired(compared.sample.digits == 3) == PairedCounts(both=0, first=2, second=1, neither=0)


def test_the_report_says_what_changed(compared: Comparison) -> None:
    lines = told(compared)
    assert "on 7 pictures of mine" in lines[0]
    assert cells(lines, "recipe") == ["recipe", "0.0.1", "0.0.2", ""]
    assert cells(lines, "accuracy") == ["accuracy", "42.86%", "42.86%", "+0.00%"]
    assert cells(lines, "parameters") == ["parameters", "7,850", "8,000", "+150"]
    assert cells(lines, "multiply-adds") == ["multiply-adds", "7,840", "7,840", "+0"]
    assert cells(lines, "digits called none") == ["digits called none", "", "100.00%", ""]
    assert cells(lines, "AUROC of that") == ["AUROC of that", "", "0.5000", ""]
    assert all(float(cell) > 0 for cell in cells(lines, "microseconds")[1:3])


def test_the_report_says_where_they_disagree_and_whether_it_is_chance(compared: Comparison) -> None:
    lines = told(compared)
    assert cells(lines, "3") == ["3", "3", "·", "2", "1", "·"]
    assert cells(lines, "9") == ["9", "1", "·", "·", "·", "1"]
    assert cells(lines, "photos") == ["photos", "3", "·", "2", "1", "·"]
    assert cells(lines, "scans") == ["scans", "4", "1", "·", "1", "2"]
    assert cells(lines, "all") == ["all", "7", "1", "2", "2", "2"]
    assert any(line.startswith("2 uploads are refused") for line in lines)
    assert "p = 1.0000" in " ".join(lines)


def test_a_network_is_nowhere_different_from_itself(models: Path, compared: Comparison) -> None:
    same = comparison.compare(models, "tiny@2", "tiny", compared.sample)
    assert same.paired() == PairedCounts(both=3, first=0, second=0, neither=4)
    assert "right and wrong on the same pictures" in " ".join(told(same))


def test_uploads_are_seen_as_the_service_sees_them() -> None:
    digits = RealSet("photos", (PHOTO, BLANK), ("7", "1"))
    letters = RealSet("not_digit_letters", (PHOTO, BLANK, PHOTO), ("a", "b", "c"))
    asked = comparison.sample_uploads("mine", RealSets(digits=(digits,), others=(letters,)))
    np.testing.assert_array_equal(asked.pictures, [read_canonical(PHOTO).picture])
    assert (asked.digits.tolist(), asked.sets.tolist()) == ([7], ["photos"])
    assert (len(asked.others), asked.unreadable) == (2, 2)


def test_mnist_goes_the_same_way(classifier: Classifier) -> None:
    seven = read_canonical(PHOTO).picture
    asked = comparison.sample_mnist("MNIST", Labelled(seven[None], np.array([7], np.uint8)))
    assert classifier.classify(asked.pictures).probabilities.argmax() == asked.digits[0] == 7


def test_nothing_to_compare_on_is_told_with_the_reason() -> None:
    sets = RealSets(digits=(RealSet("blank", (BLANK,), ("1",)),), skipped={"scans": "It holds no picture."})
    with pytest.raises(WorkshopError, match=r"^mine holds no .* be read. scans: It holds no picture.$"):
        comparison.sample_uploads("mine", sets)


def test_each_kind_of_difference_is_drawn_and_agreement_is_not(compared: Comparison) -> None:
    parts = plots.differences(compared).subfigs
    titles = [part.get_suptitle() for part in parts]
    assert titles == ["tiny alone is right: 2", "tiny@1 alone is right: 2", "both are wrong, and differ: 1"]
    drawn = [
        [axis.get_title().partition("\n")[0] for axis in part.axes if axis.get_title()] for part in parts
    ]
    assert drawn == [["4 → 3", "3 → 4"], ["3 → 4", "3 → 4"], ["4 → 3, is 9"]]
    assert [sum(axis.axison for axis in part.axes) for part in parts] == [2, 2, 1]


def test_of_many_differences_the_surest_are_drawn(models: Path) -> None:
    many = plots.MOST + 5
    batch = pictures(*[4] * many)
    batch[7, 0, 2] = 128  # a 3 that is nearly a 2, so that the first network is less sure of it
    asked = Sample(
        "many", batch, np.full(many, 4, np.uint8), np.array(["one"] * many), pictures(), unreadable=0
    )
    first, *_ = plots.differences(comparison.compare(models, "tiny@1", "tiny", asked)).subfigs
    assert first.get_suptitle() == f"tiny alone is right: {many}, {plots.MOST} of them"
    assert len(first.axes) == plots.MOST
    assert len({axis.get_title() for axis in first.axes}) == 1
