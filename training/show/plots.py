"""Draws figures of data, training and results. Each function returns a figure, and displays nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from app.digits import preprocessing
from app.digits.colours import ColourPicture
from app.digits.contract import CLASSES, CanonicalPicture, DigitBatch, GreyPicture, Probabilities
from app.digits.images import Box
from training.data.labelled import Labelled
from training.errors import TrainingError
from training.judge.comparison import Comparison
from training.judge.numbers import Misreading
from training.learn.runs import History, metric_prefix
from training.scenes.corruptions import CORRUPTIONS
from training.search.search_space import Choices, Range, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from training.search.study import TrialResult

INK: Final = "#1f4e79"
RIGHT: Final = "#2e7d32"
WRONG: Final = "#c62828"
PALE: Final = "#b0bec5"
DPI: Final = 144
COLUMNS: Final = 12  # pictures in a row
MISREAD_COLUMNS: Final = 4  # numbers in a row,
MISREAD_ROWS: Final = 4  # and rows
MAX_DIFFERENCES: Final = 2 * COLUMNS  # pictures for each kind of difference


@dataclass(frozen=True)
class Reading:
    """An upload, its canonical picture, and the network's answer."""

    title: str
    upload: GreyPicture  # (height, width)
    canonical: CanonicalPicture
    probabilities: NDArray[np.float32]  # (10,)


def save(figure: Figure, file: Path) -> None:
    """Write the figure; the file's extension sets the format."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=DPI, facecolor="white")
    except (OSError, ValueError) as error:  # ValueError: no format has this extension
        msg = f"{file} can't be written: {error}."
        raise TrainingError(msg) from error


def plot_samples(labelled: Labelled) -> Figure:
    """Draw the first twelve pictures of every digit, one row for each digit."""
    figure = _create_figure(COLUMNS * 0.55, CLASSES * 0.55 + 0.4)
    figure.suptitle(f"MNIST: {len(labelled):,} pictures to train on")
    _plot_rows(figure, [labelled.pictures[labelled.digits == digit][:COLUMNS] for digit in range(CLASSES)])
    return figure


def plot_curves(history: History, *, title: str, is_augmented: bool) -> Figure:
    """Draw error and loss by epoch, on training pictures, which augmentation makes harder, and validation."""
    training_label = "training, augmented" if is_augmented else "training"
    figure = _create_figure(9, 3.6)
    figure.suptitle(title)
    error, loss = figure.subplots(1, 2)
    epochs, head = range(1, len(history["loss"]) + 1), metric_prefix(history)
    for part, prefix, colour in ((training_label, head, PALE), ("validation", f"val_{head}", INK)):
        percents = [100 - 100 * share for share in history[f"{prefix}accuracy"]]
        error.plot(epochs, percents, color=colour, label=part)
        loss.plot(epochs, history[f"{prefix}loss"], color=colour, label=part)
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  see `_create_figure`

    for axis, metric in ((error, "error"), (loss, "loss")):
        axis.set(xlabel="epoch", ylabel=metric)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _scale_logarithmically(axis)
        axis.grid(which="both", alpha=0.25)
        _remove_frame(axis)
    error.yaxis.set_major_formatter("{x:.3g} %")
    loss.legend(frameon=False)
    return figure


def plot_search(
    trials: Sequence[TrialResult], space: Space, *, importance: Mapping[str, float], title: str
) -> Figure:
    """Draw the loss of every trial by time and by each hyper-parameter, and the importance of each.

    At least one trial must be complete; `importance` is empty if there are too few to measure it.
    """
    names = [*space, *"." * (-len(space) % 3)]  # "." leaves a panel empty
    panels: list[Any] = [names[start : start + 3] for start in range(0, len(names), 3)]
    figure = _create_figure(10, 2.6 * (1 + len(panels)))
    stopped = sum(not trial.complete for trial in trials)
    figure.suptitle(f"{title}: {len(trials)} trials, {stopped} of them stopped early")
    axes = figure.subplot_mosaic([["minutes", "minutes", "importance"], *panels])
    _plot_importance(axes.pop("importance"), importance)
    minutes = [trial.seconds / 60 for trial in trials]
    for name, axis in axes.items():
        _plot_trials(
            axis, minutes if name == "minutes" else _place_values(axis, trials, name, space[name]), trials
        )
        axis.sharey(axes["minutes"])
        axis.set(xlabel=name.replace("_", " "))
        _remove_frame(axis)
    complete = [trial for trial in trials if trial.complete]
    lowest = np.minimum.accumulate([trial.loss for trial in complete])
    by_time = axes["minutes"]
    by_time.step([trial.seconds / 60 for trial in complete], lowest, where="post", color=INK, lw=1)
    by_time.set(ylabel="loss on validation", xlim=(0, None))
    _scale_logarithmically(by_time)
    by_time.legend(frameon=False, fontsize=8)
    return figure


def plot_reliability(metrics: Mapping[str, Any]) -> Figure:
    """Draw accuracy by confidence, and below it the number of answers, on a logarithmic scale."""
    parts = [("MNIST test", metrics["calibration"], INK)]
    if (real := metrics.get("real", {}).get("calibration")) is not None:
        parts.append(("real uploads", real, WRONG))
    figure = _create_figure(5, 5.6)
    figure.suptitle(f"{metrics['model']['name']}: is its confidence calibrated?")
    share, count = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    share.plot((0, 1), (0, 1), color=PALE)
    for number, (name, calibration, colour) in enumerate(parts):
        columns = ("confidence", "accuracy", "pictures")
        confidence, accuracy, pictures = (
            np.array([bin_[column] for bin_ in calibration["bins"]]) for column in columns
        )
        label = f"{name}, calibration error {calibration['expected_error']:.2%}"
        share.plot(confidence, accuracy, "o-", color=colour, label=label)
        count.bar(confidence + (number - 0.5) * 0.016, pictures, width=0.016, color=colour)
    share.set(ylabel="share of right answers", xlim=(0, 1.03), ylim=(0, 1.03))
    share.legend(frameon=False)
    count.set(xlabel="confidence", ylabel="pictures", yscale="log", ylim=(0.5, None))
    for axis in (share, count):
        axis.grid(alpha=0.25)
        _remove_frame(axis)
    return figure


def plot_corruptions(pictures: DigitBatch, *, seed: int) -> Figure:
    """Draw the pictures, (n, 28, 28), with every corruption, one row for each."""
    rows = {"original": pictures} | {
        name: corrupt(pictures, np.random.default_rng(seed)) for name, corrupt in CORRUPTIONS.items()
    }
    figure = _create_figure(len(pictures) * 0.7 + 1.5, len(rows) * 0.7)
    for axes, name in zip(_plot_rows(figure, list(rows.values())), rows, strict=True):
        axes[0].set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center")
    return figure


def plot_confusion(metrics: Mapping[str, Any]) -> Figure:
    """Draw the confusion matrix; the colours show only the errors."""
    counts = np.array(metrics["test"]["confusion"])
    errors = np.where(np.eye(CLASSES, dtype=bool), 0, counts)
    figure = _create_figure(6.2, 5.8)
    axis = figure.subplots()
    axis.imshow(errors, cmap="Reds", vmin=0, vmax=max(1, errors.max()))
    axis.set(xlabel="predicted", ylabel="true", xticks=range(CLASSES), yticks=range(CLASSES))
    axis.set_title(
        f"{metrics['model']['name']}: {errors.sum()} errors in {counts.sum():,} pictures "
        f"({metrics['test']['accuracy']:.2%} right)"
    )
    for (true, predicted), count in np.ndenumerate(counts):
        if count:
            strong = true != predicted and count > errors.max() / 2
            colour = "white" if strong else "#90a4ae" if true == predicted else "black"
            axis.text(predicted, true, str(count), ha="center", va="center", size=8, color=colour)
    _remove_frame(axis)
    axis.tick_params(length=0)
    return figure


def plot_predictions(labelled: Labelled, probabilities: Probabilities, *, title: str) -> Figure:
    """Draw pictures with answers: the most confident errors, in red, then the least confident right ones."""
    predicted = probabilities.argmax(axis=1)
    wrong = predicted != labelled.digits
    sure = probabilities.max(axis=1)
    order = np.lexsort((np.where(wrong, -sure, sure), ~wrong))[: COLUMNS * 6]
    figure = _create_figure(COLUMNS * 0.85, 6 * 1.05 + 0.6)
    figure.suptitle(f"{title}: {wrong.sum()} errors in {len(labelled):,} pictures")
    for axis, row in zip(figure.subplots(6, COLUMNS).flat, order, strict=True):
        _plot_picture(axis, labelled.pictures[row])
        answer = f"{predicted[row]}, is {labelled.digits[row]}" if wrong[row] else f"{predicted[row]}"
        axis.set_title(f"{answer}\n{sure[row]:.0%}", size=8, color=WRONG if wrong[row] else RIGHT, pad=2)
    return figure


def plot_differences(compared: Comparison) -> Figure:
    """Draw pictures that two networks read differently, with the first's answer → the second's answer.

    There are three kinds: only the second network is right, only the first, or neither. Each kind begins with
    the most confident wrong answers.
    """
    digits, sides = compared.sample.digits, (compared.first, compared.second)
    right = [side.digits == digits for side in sides]
    differs = compared.first.digits != compared.second.digits
    kinds = (
        (f"{compared.second.name} alone is right", RIGHT, right[1] & differs),
        (f"{compared.first.name} alone is right", WRONG, right[0] & differs),
        ("both are wrong, and differ", INK, ~right[0] & ~right[1] & differs),
    )
    sure = np.array([side.scores.probabilities.max(axis=1) for side in sides])
    order = np.argsort(np.where(right, 0, -sure).min(axis=0), kind="stable")
    chosen = [order[of_kind[order]][:MAX_DIFFERENCES] for _, _, of_kind in kinds]
    heights = [max(1, math.ceil(len(rows) / COLUMNS)) for rows in chosen]
    figure = _create_figure(COLUMNS * 0.85, sum(heights) * 1.15 + 1.2)
    figure.suptitle(f"{compared.first.name} → {compared.second.name} on {compared.sample.name}")
    parts = figure.subfigures(len(kinds), 1, squeeze=False, height_ratios=[one + 0.3 for one in heights])
    for part, rows, height, (kind, colour, of_kind) in zip(parts.flat, chosen, heights, kinds, strict=True):
        drawn = "" if len(rows) == of_kind.sum() else f", {len(rows)} of them"
        part.suptitle(f"{kind}: {of_kind.sum()}{drawn}", size=9, x=0.01, ha="left")
        axes = part.subplots(height, COLUMNS, squeeze=False).ravel()
        for axis in axes[len(rows) :]:
            axis.set_axis_off()
        for axis, row in zip(axes, rows, strict=False):
            _plot_picture(axis, compared.sample.pictures[row])
            answers = " → ".join(str(side.digits[row]) for side in sides)
            truth = f", is {digits[row]}" if colour == INK else ""
            sureness = " → ".join(f"{share:.0%}" for share in sure[:, row])
            axis.set_title(f"{answers}{truth}\n{sureness}", size=7, color=colour, pad=2)
    return figure


def plot_side_by_side(readings: Sequence[Reading]) -> Figure:
    """Draw a row for each upload: the upload, the canonical picture, the ten probabilities."""
    figure = _create_figure(9, 2.6 * len(readings))
    for row, one in zip(figure.subplots(len(readings), 3, squeeze=False), readings, strict=True):
        _plot_picture(row[0], one.upload)
        row[0].set_title(one.title, size=9)
        _plot_picture(row[1], one.canonical)
        row[1].set_title("what the network sees", size=9)
        _plot_bars(row[2], one.probabilities)
    return figure


def plot_above_and_below(readings: Sequence[Reading]) -> Figure:
    """Draw the uploads above, the canonical pictures below, and the answer under each."""
    figure = _create_figure(1.5 * len(readings), 3.3)
    rows = [[one.upload for one in readings], [one.canonical for one in readings]]
    for axis, one in zip(_plot_rows(figure, rows)[1], readings, strict=True):
        digit = int(one.probabilities.argmax())
        axis.set_xlabel(f"{digit}   {one.probabilities[digit]:.1%}", size=11, color=INK)
    return figure


PLOTTED_STEPS: Final = ("normalise_polarity", "even_light", "extract_ink", "isolate_digit", "centre")


def plot_steps(uploads: Sequence[tuple[str, GreyPicture, Box]]) -> Figure:
    """Draw a row for each upload: its digit in a box, and the digit after each of `PLOTTED_STEPS`."""
    figure = _create_figure(1.25 * (len(PLOTTED_STEPS) + 1), 1.25 * len(uploads) + 0.3)
    grid = _plot_rows(figure, [[grey, *_trace_plotted_steps(grey, box)] for _, grey, box in uploads])
    for axes, (title, _, box) in zip(grid, uploads, strict=True):
        axes[0].set_ylabel(title, size=7)
        _draw_box(axes[0], box, colour=WRONG, line_width=1)
    for axis, title in zip(grid[0], ("upload", *PLOTTED_STEPS), strict=True):
        axis.set_title(title, size=8)
    return figure


def _trace_plotted_steps(grey: GreyPicture, box: Box) -> Iterator[GreyPicture]:
    pictures = dict(preprocessing.trace_part(grey, box))
    for step in PLOTTED_STEPS:
        mask = pictures[step].mask if step == "extract_ink" else None
        yield pictures[step].pixels if mask is None else mask * 255


def plot_scenes(drawn: Sequence[tuple[str, Sequence[tuple[ColourPicture, CanonicalPicture]]]]) -> Figure:
    """Draw a row of scenes for each kind, and below it their canonical pictures."""
    rows = [row for _, pairs in drawn for row in zip(*pairs, strict=True)]
    figure = _create_figure(0.95 * len(rows[0]), len(rows))
    for axes, (kind, _) in zip(_plot_rows(figure, rows)[::2], drawn, strict=True):
        axes[0].set_ylabel(kind, size=8)
    return figure


def plot_misreadings(misread: Sequence[Misreading], *, title: str) -> Figure:
    """Draw numbers that were read wrongly, with what was read: digits in red boxes, signs in blue ones."""
    shown = misread[: MISREAD_COLUMNS * MISREAD_ROWS]
    rows = max(1, math.ceil(len(shown) / MISREAD_COLUMNS))
    figure = _create_figure(MISREAD_COLUMNS * 2.2, rows * 1.25 + 0.4)
    figure.suptitle(title)
    grid = figure.subplots(rows, MISREAD_COLUMNS, squeeze=False).ravel()
    for axis in grid[len(shown) :]:
        axis.set_axis_off()
    for axis, (picture, expected, number) in zip(grid, shown, strict=False):
        _plot_picture(axis, picture)
        for mark in number.marks:
            _draw_box(axis, mark.box, colour=WRONG if mark.character.isdigit() else INK, line_width=0.8)
        read = "|".join(number.lines) or "nothing"
        axis.set_title(f"{expected} → {read}, {number.confidence:.0%}", size=7, pad=2)
    return figure


def _create_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415  slow, and few commands draw figures

    return Figure((width, height), layout="constrained")


def _plot_trials(axis: Axes, places: Sequence[float], trials: Sequence[TrialResult]) -> None:
    # stopped trials are drawn no higher than the worst complete trial
    highest = max(trial.loss for trial in trials if trial.complete)
    heights = np.fmin([trial.loss for trial in trials], highest)  # which also replaces NaN
    kinds = (
        ("stopped early", [not trial.complete for trial in trials], PALE, "x"),
        ("complete", [trial.complete for trial in trials], INK, "o"),
        ("the recipe's own values", [trial.number == 0 for trial in trials], WRONG, "D"),
    )
    for label, belong, colour, marker in kinds:
        where = np.array(places)[belong], heights[belong]
        axis.scatter(*where, color=colour, marker=marker, label=label)


def _place_values(
    axis: Axes, trials: Sequence[TrialResult], name: str, domain: Range | Choices
) -> list[float]:
    values = [trial.values[name] for trial in trials]
    if isinstance(domain, Range):
        axis.set(xscale="log" if domain.log else "linear")
        axis.update_datalim(((domain.low, 0), (domain.high, 0)), updatey=False)  # shows the whole range
        return [float(value) for value in values]
    axis.set_xticks(range(len(domain)), [str(choice) for choice in domain])
    axis.set_xlim(-0.5, len(domain) - 0.5)
    return [domain.index(value) for value in values]


def _plot_importance(axis: Axes, importance: Mapping[str, float]) -> None:
    if not importance:
        axis.set_axis_off()
        axis.set_title("too few trials to measure importance", size=9)
        return
    shares = [100 * share for share in importance.values()]
    axis.barh([name.replace("_", " ") for name in importance], shares, color=INK)
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter("{x:.0f} %")
    axis.set_title("importance for the loss", size=9)
    _remove_frame(axis)


def _plot_rows(figure: Figure, rows: Sequence[Sequence[NDArray[np.uint8]] | DigitBatch]) -> Any:  # noqa: ANN401  axes
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for axes, pictures in zip(grid, rows, strict=True):
        for axis, picture in zip(axes, pictures, strict=True):
            _plot_picture(axis, picture)
    return grid


def _plot_picture(axis: Axes, picture: NDArray[np.uint8]) -> None:
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axis.set(xticks=[], yticks=[])


def _draw_box(axis: Axes, box: Box, *, colour: str, line_width: float) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415  see `_create_figure`

    x, y, width, height = box
    axis.add_patch(Rectangle((x, y), width, height, fill=False, color=colour, linewidth=line_width))


def _plot_bars(axis: Axes, probabilities: NDArray[np.float32]) -> None:
    best = int(probabilities.argmax())
    colours = [INK if digit == best else PALE for digit in range(CLASSES)]
    axis.barh(range(CLASSES), probabilities, color=colours)
    axis.set(xlim=(0, 1), yticks=range(CLASSES))
    axis.invert_yaxis()
    axis.set_title(f"{best}, {probabilities[best]:.1%} sure", size=9)
    _remove_frame(axis)


def _scale_logarithmically(axis: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415  see `_create_figure`

    axis.set(yscale="log")
    axis.yaxis.set_major_locator(
        LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8))
    )  # short runs span less than a decade
    axis.yaxis.set_major_formatter("{x:.3g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def _remove_frame(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
