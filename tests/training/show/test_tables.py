from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.tiny_networks import DRAWINGS, write_network
from training.data import uploads
from training.data.labelled import Labelled
from training.data.real_sets import UploadSet, UploadSets
from training.judge import evaluation
from training.show import tables

FEW = 10
SMALL = Labelled(DRAWINGS.pictures[:, ::2, ::2][:, 1:29, 1:29], DRAWINGS.digits)


@pytest.mark.parametrize("likelihood", [None, 0.25])
def test_a_report_shows_what_was_measured_and_what_was_skipped(
    tmp_path: Path, likelihood: float | None
) -> None:
    folder = write_network(tmp_path, likelihood=likelihood)
    photos = UploadSet("photos", (uploads.encode_png(DRAWINGS.pictures[3]),), ("3",))
    letters = UploadSet("not_digit_letters", (uploads.encode_png(DRAWINGS.pictures[4]),), ("delta",))
    real_sets = UploadSets(digits=(photos,), negatives=(letters,), skipped={"scans": "It holds no picture."})
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(
        *tables.build_report(evaluation.evaluate(folder, SMALL, real_sets=real_sets, corrupted=FEW))
    )
    text = console.export_text()
    for word in ("zigzag", "photos", "skipped scans: It holds no picture.", "confusion", "calibration error"):
        assert word in text
    assert ("AUROC" in text) == (likelihood is not None)
    assert ("nothing is rejected" in text) == (likelihood is None)
