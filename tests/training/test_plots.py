from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training import calibration, plots
from training.corruptions import CORRUPTIONS

SURE = np.full((10, 10), 0.01) + 0.9 * np.eye(10)
MEASURED = calibration.report(SURE, np.arange(10) > 0)
NOTHING = calibration.report(np.empty((0, 10)), np.empty(0, bool))


@pytest.mark.parametrize(
    ("real", "names"),
    [
        ({}, ["MNIST test"]),
        ({"real": {"calibration": None}}, ["MNIST test"]),
        ({"real": {"calibration": NOTHING}}, ["MNIST test", "real uploads"]),
        ({"real": {"calibration": MEASURED}}, ["MNIST test", "real uploads"]),
    ],
)
def test_reliability_is_drawn_of_what_was_measured(real: dict[str, Any], names: list[str]) -> None:
    figure = plots.reliability({"model": {"name": "tiny"}, "calibration": MEASURED, **real})
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text().split(",")[0] for text in legend.get_texts()] == names
    assert "calibration error 1.00%" in legend.get_texts()[0].get_text()


def test_every_corruption_has_its_row() -> None:
    figure = plots.corruptions(np.full((2, 28, 28), 200, np.uint8), seed=1)
    assert len(figure.axes) == 2 * (len(CORRUPTIONS) + 1)
