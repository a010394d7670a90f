from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from app.digits.numbers import Mark, Number
from tests.training.tiny_networks import draw_bright_pixels
from training.judge import reliability
from training.judge.comparison import Comparison, Sample, compare
from training.judge.numbers import Misreading
from training.scenes.corruptions import CORRUPTIONS
from training.search.search_space import Range, Space, Values
from training.search.study import TrialResult
from training.show import plots

PROBABILITIES = np.full((10, 10), 0.01) + 0.9 * np.eye(10)
CALIBRATION = reliability.summarise_calibration(PROBABILITIES, np.arange(10) > 0)
EMPTY_CALIBRATION = reliability.summarise_calibration(np.empty((0, 10)), np.empty(0, bool))


@pytest.mark.parametrize(
    ("real", "names"),
    [
        ({}, ["MNIST test"]),
        ({"real": {"calibration": None}}, ["MNIST test"]),
        ({"real": {"calibration": EMPTY_CALIBRATION}}, ["MNIST test", "real uploads"]),
        ({"real": {"calibration": CALIBRATION}}, ["MNIST test", "real uploads"]),
    ],
)
def test_reliability_is_drawn_for_every_part_that_was_measured(
    real: dict[str, Any], names: list[str]
) -> None:
    figure = plots.plot_reliability({"model": {"name": "tiny"}, "calibration": CALIBRATION, **real})
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text().split(",")[0] for text in legend.get_texts()] == names
    assert "calibration error 1.00%" in legend.get_texts()[0].get_text()


def make_trial(number: int, *losses: float, complete: bool = True, schedule: str = "cosine") -> TrialResult:
    values: Values = {"learning_rate": 0.001 * (number + 1), "schedule": schedule}
    return TrialResult(
        number=number, values=values, losses=losses, accuracy=0.9, seconds=60.0 * number, complete=complete
    )


@pytest.mark.parametrize("importance", [{}, {"schedule": 0.75, "learning_rate": 0.25}])
def test_a_search_is_drawn_by_time_and_by_each_value_and_with_the_importance(
    importance: dict[str, float],
) -> None:
    space: Space = {"learning_rate": Range(low=1e-4, high=1e-2, log=True), "schedule": ("constant", "cosine")}
    trials = [
        make_trial(0, 0.3, 0.2, schedule="constant"),
        make_trial(1, 0.9, complete=False),
        make_trial(2, 0.3, 0.1),
        make_trial(3, math.nan, complete=False),
    ]
    figure = plots.plot_search(trials, space, importance=importance, title="tiny")
    axes = {axis.get_label(): axis for axis in figure.axes}
    assert axes.keys() == {"minutes", "learning_rate", "schedule", "importance"}
    stopped, complete, own = (
        np.asarray(dots.get_offsets()).tolist() for dots in axes["schedule"].collections
    )
    assert stopped == [[1, 0.2], [1, 0.2]]  # no higher than the worst complete trial
    assert complete == [[0, 0.2], [1, 0.1]]
    assert own == [[0, 0.2]]
    low, high = axes["learning_rate"].get_xlim()
    assert low < 1e-4
    assert high > 1e-2
    assert [tick.get_text() for tick in axes["schedule"].get_xticklabels()] == ["constant", "cosine"]
    widths = [bar.get_extents().width for bar in axes["importance"].patches]
    assert len(widths) == len(importance)
    assert not widths or widths[0] == pytest.approx(3 * widths[1])
    figure.canvas.draw()


def test_every_corruption_has_a_row() -> None:
    figure = plots.plot_corruptions(np.full((2, 28, 28), 200, np.uint8), seed=1)
    assert len(figure.axes) == 2 * (len(CORRUPTIONS) + 1)


@pytest.mark.parametrize("head", ["", "probabilities_"])
def test_curves_show_the_digits_metrics_with_one_head_or_two(head: str) -> None:
    history = {"loss": [9.0, 8.0], "val_loss": [9.0, 8.0]}
    history |= {f"{head}loss": [0.4, 0.2], f"{head}accuracy": [0.9, 0.95]}
    history |= {f"val_{head}loss": [0.3, 0.1], f"val_{head}accuracy": [0.92, 0.97]}
    error, loss = plots.plot_curves(history, title="tiny", is_augmented=False).axes
    for axis, expected in ((error, [[10, 5], [8, 3]]), (loss, [[0.4, 0.2], [0.3, 0.1]])):
        assert np.allclose([np.asarray(line.get_ydata()) for line in axis.lines], expected)


def test_each_kind_of_difference_is_drawn_and_agreement_is_not(compared: Comparison) -> None:
    parts = plots.plot_differences(compared).subfigs
    titles = [part.get_suptitle() for part in parts]
    assert titles == ["tiny alone is right: 2", "tiny@1 alone is right: 2", "both are wrong, and differ: 1"]
    answers = [
        [axis.get_title().partition("\n")[0] for axis in part.axes if axis.get_title()] for part in parts
    ]
    assert answers == [["4 → 3", "3 → 4"], ["3 → 4", "3 → 4"], ["4 → 3, is 9"]]
    assert [sum(axis.axison for axis in part.axes) for part in parts] == [2, 2, 1]


def test_of_many_differences_the_most_confident_are_drawn(tiny_versions: Path) -> None:
    many = plots.MAX_DIFFERENCES + 5
    batch = draw_bright_pixels(*[4] * many)
    batch[7, 0, 2] = 128  # a 3 that is nearly a 2, so that the first network is less sure of it
    sets = np.array(["one"] * many)
    sample = Sample("many", batch, np.full(many, 4, np.uint8), sets, draw_bright_pixels(), unreadable=0)
    first, *_ = plots.plot_differences(compare(tiny_versions, "tiny@1", "tiny", sample)).subfigs
    assert first.get_suptitle() == f"tiny alone is right: {many}, {plots.MAX_DIFFERENCES} of them"
    assert len(first.axes) == plots.MAX_DIFFERENCES
    assert len({axis.get_title() for axis in first.axes}) == 1


def test_a_misread_number_is_drawn_with_boxes_and_both_texts() -> None:
    marks = (
        Mark("4", 0.9, (2, 3, 8, 20), 0),
        Mark("-", 0.8, (12, 12, 6, 2), 0),
        Mark("7", 0.9, (20, 3, 8, 20), 0),
    )
    number = Number(("4-7",), marks, (), "dark_on_light", 0.72, ())
    misread = [Misreading(np.full((30, 40), 200, np.uint8), "41", number)] * (plots.MISREAD_COLUMNS + 1)
    figure = plots.plot_misreadings(misread, title="5 of 9")
    drawn = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title() for axis in drawn] == ["41 → 47, 72%"] * 5
    assert [to_hex(box.get_edgecolor()) for box in drawn[0].patches] == [plots.WRONG, plots.INK, plots.WRONG]
    assert len(figure.axes) == 2 * plots.MISREAD_COLUMNS
