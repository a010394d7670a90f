"""Builds tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from app.digits.contract import CLASSES
from training.search.overrides import format_options

if TYPE_CHECKING:
    from training.search.study import SeedScores, TrialResult
    from training.show.plots import Reading

Metrics = Mapping[str, Any]


def build_report(metrics: Metrics) -> Iterator[RenderableType]:
    """Yield the tables and lines of a report; those about MNIST's test set come last."""
    if "corruptions" in metrics:
        yield _build_corruption_table(metrics["corruptions"])
        yield from _build_real_tables(metrics["real"])
        yield from _build_rejection_table(metrics["rejection"])
    yield from map(_format_number_set, metrics.get("numbers", {}).items())
    yield _build_score_table(metrics)
    yield _build_confusion_table(metrics["test"]["confusion"])
    test, calibration = metrics["test"], metrics["calibration"]
    sure = f"calibration error {calibration['expected_error']:.2%}"
    yield f"accuracy [bold]{test['accuracy']:.2%}[/], loss {test['loss']:.4f}, {sure}"


def list_reading_figures(metrics: Metrics) -> Iterator[str]:
    """Yield lines with the figures of the finder or the line reader."""
    held_out = (
        f"{name.replace('_', ' ')} [bold]{value:.2%}[/]" if isinstance(value, float) else f"{value:,} {name}"
        for name, value in metrics["held_out"].items()
    )
    yield f"held-out writers: {', '.join(held_out)}"
    if "numbers" in metrics:
        numbers = metrics["numbers"]
        right = ", ".join(f"{kind} [bold]{share:.1%}[/]" for kind, share in numbers["right"].items())
        yield f"{numbers['numbers']} drawn numbers, read correctly: {right}; digits {numbers['digits']:.2%}"
        yield from map(_format_number_set, numbers["real"].items())


def _format_number_set(named: tuple[str, Metrics]) -> str:
    name, part = named
    surely = f"{part['surely_wrong']} wrong with a confidence of 90 % or more and no warning"
    return f"{name}: {part['right']} of {part['pictures']} numbers right, {surely}"


def build_plain_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """Return a table without rules."""
    table = Table(*columns, box=SIMPLE, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table


def build_prediction_table(readings: Iterable[Reading]) -> Table:
    """Return a table of pictures, the digits that were read in them, and all probabilities."""
    columns = ("picture", "digit", "confidence", *map(str, range(CLASSES)))
    return build_plain_table(columns, map(_format_prediction, readings))


def _format_prediction(reading: Reading) -> Iterator[str]:
    probabilities = reading.probabilities
    yield escape(reading.title)
    yield f"[bold]{probabilities.argmax()}"
    yield f"{probabilities.max():.1%}"
    yield from ("·" if round(share, 2) == 0 else f"{share:.0%}" for share in probabilities.tolist())


def format_trial(trial: TrialResult, *, pictures: int) -> str:
    """Return the result of a trial as one line; `pictures` is the number of validation pictures."""
    epochs = f"{len(trial.losses)} epochs" if trial.complete else f"stopped after {len(trial.losses)}"
    result = f"loss {trial.loss:.4f}, {trial.errors(pictures)} errors, {epochs}"
    return f"trial {trial.number}: {result}: {format_options(trial.values)}"


def build_trial_table(trials: Sequence[TrialResult], *, pictures: int) -> Table:
    """Return a table of trials that fits a terminal of 80 columns."""
    names = [name.replace("_", "\n") for name in trials[0].values]
    table = Table("trial", "loss", "errors", *names, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for trial in trials:
        values = map(str, trial.values.values())
        table.add_row(str(trial.number), f"{trial.loss:.4f}", str(trial.errors(pictures)), *values)
    return table


def build_seed_table(rows: Mapping[str, SeedScores]) -> Table:
    """Return a table of losses and errors with several seeds, one row for each set of values."""
    table = build_plain_table(("values", "loss of each seed", "mean", "errors", "mean"), ())
    for whose, scores in rows.items():
        losses = " ".join(f"{loss:.4f}" for loss in scores.losses)
        errors = " ".join(map(str, scores.errors))
        mean_loss, mean_errors = _format_spread(scores.losses, ".4f"), _format_spread(scores.errors, ".1f")
        table.add_row(whose, losses, mean_loss, errors, mean_errors)
    return table


def _build_score_table(metrics: Metrics) -> Table:
    test = metrics["test"]
    columns = ("precision", "recall", "f1")
    table = Table("digit", "pictures", *columns)
    for row in test["digits"]:
        table.add_row(str(row["digit"]), str(row["pictures"]), *(f"{row[column]:.4f}" for column in columns))
    table.add_section()
    macro = (f"{test[f'macro_{column}']:.4f}" for column in columns)
    table.add_row("macro", str(metrics["data"]["pictures"]), *macro)
    return table


def _build_confusion_table(confusion: list[list[int]]) -> Table:
    table = Table("true", *map(str, range(CLASSES)), title="confusion: predicted")
    for digit, counts in enumerate(confusion):
        table.add_row(str(digit), *(str(count or "·") for count in counts))
    return table


def _build_corruption_table(corruptions: Metrics) -> Table:
    title = f"{corruptions['pictures']:,} corrupted test pictures"
    table = Table("corruption", *_ANSWER_COLUMNS, title=title)
    for name, row in corruptions["each"].items():
        table.add_row(name.replace("_", " "), *_format_answers(row))
    table.add_section()
    table.add_row("mean", f"{corruptions['mean']:.2%}")
    return table


def _build_real_tables(real: Metrics) -> Iterator[RenderableType]:
    if real["sets"]:
        table = Table("set", "pictures", *_ANSWER_COLUMNS, title="real uploads")
        for name, row in real["sets"].items():
            table.add_row(name, f"{row['pictures']:,}", *_format_answers(row))
        yield table
        for name, row in real["sets"].items():
            if "writers" in row:
                count, mean, worst = (row["writers"][key] for key in ("count", "mean", "worst"))
                yield f"{name}: {count} writers, mean of their accuracies {mean:.2%}, lowest {worst:.1%}"
        calibration = real["calibration"]
        over_all, of_sets = calibration["expected_error"], calibration["mean_of_sets"]
        yield f"calibration error over all real uploads: {over_all:.2%}, mean of the sets: {of_sets:.2%}"
    for name, reason in real["skipped"].items():
        yield f"[yellow]skipped {name}:[/] {reason}"


def _build_rejection_table(rejection: Metrics | None) -> Iterator[RenderableType]:
    if rejection is None:
        yield "The network returns no digit likelihood: nothing is rejected."
        return
    title = f"called no digit: likelihood below {rejection['threshold']}"
    table = Table("set", "pictures", "unreadable", "rejected", "at 99 % kept", "AUROC", title=title)
    for part in ("digits", "others"):
        for name, row in rejection[part].items():
            numbers = f"{row['pictures']:,}", str(row["unreadable"]), format_known(row["rejected"], ".1%")
            at_99, auroc = row.get("rejected_at_99"), row.get("auroc")
            table.add_row(name, *numbers, format_known(at_99, ".1%"), format_known(auroc, ".4f"))
        table.add_section()
    table.add_row("all", "", "", "", "", format_known(rejection["auroc"], ".4f"))
    yield table


_ANSWER_COLUMNS = ("accuracy", "polarity errors", "unreadable", "rejected")


def _format_answers(row: Metrics) -> tuple[str, ...]:
    errors = row["polarity_errors"]
    polarity = "?" if errors is None else str(errors or "·")
    return (
        f"{row['accuracy']:.2%}",
        polarity,
        str(row["unreadable"] or "·"),
        format_known(row["rejected"], ".1%"),
    )


def _format_spread(values: Sequence[float], form: str) -> str:
    return f"{fmean(values):{form}} ± {stdev(values):{form}}"


def format_known(value: float | None, form: str) -> str:
    """Return the formatted value, or "" if it is None."""
    return "" if value is None else format(value, form)
