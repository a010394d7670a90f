"""What `evaluate` measured and `tune` found, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.table import Table

from app.digits.contract import CLASSES
from training.spaces import options

if TYPE_CHECKING:
    from training.searches import Tried
    from training.tune import Scores

Metrics = Mapping[str, Any]


def report(metrics: Metrics) -> Iterator[RenderableType]:
    """Yield the tables and lines of a report, those on MNIST's test set last but for one line."""
    if "corruptions" in metrics:
        yield _corruptions(metrics["corruptions"])
        yield from _real(metrics["real"])
        yield from _rejection(metrics["rejection"])
        yield _numbers(metrics["numbers"])
    yield _scores(metrics)
    yield _confusion(metrics["test"]["confusion"])
    test, calibration = metrics["test"], metrics["calibration"]
    sure = f"calibration error {calibration['expected_error']:.2%}"
    yield f"accuracy [bold]{test['accuracy']:.2%}[/], loss {test['loss']:.4f}, {sure}"


def trial(one: Tried, *, pictures: int) -> str:
    """Return what came of a trial as one line; `pictures` is how many it was judged by."""
    epochs = f"{len(one.losses)} epochs" if one.whole else f"stopped after {len(one.losses)}"
    told = f"loss {one.loss:.4f}, {one.errors(pictures)} errors, {epochs}"
    return f"trial {one.number}: {told}: {options(one.values)}"


def trials(found: Sequence[Tried], *, pictures: int) -> Table:
    """Return the table of some trials, as narrow as a terminal of 80 columns."""
    names = [name.replace("_", "\n") for name in found[0].values]
    table = Table("trial", "loss", "errors", *names, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for one in found:
        values = map(str, one.values.values())
        table.add_row(str(one.number), f"{one.loss:.4f}", str(one.errors(pictures)), *values)
    return table


def checked(rows: Mapping[str, Scores]) -> Table:
    """Return the table of what several seeds of some values gave."""
    table = Table("values", "loss of each seed", "mean", "errors", "mean", box=SIMPLE, padding=(0, 1, 0, 0))
    for whose, scores in rows.items():
        losses, errors = " ".join(f"{loss:.4f}" for loss in scores.losses), " ".join(map(str, scores.errors))
        table.add_row(whose, losses, _spread(scores.losses, ".4f"), errors, _spread(scores.errors, ".1f"))
    return table


def _numbers(numbers: Metrics) -> str:
    right = ", ".join(f"{kind} [bold]{share:.1%}[/]" for kind, share in numbers["right"].items())
    real = "".join(f"; {name} {one['right']} of {one['pictures']}" for name, one in numbers["real"].items())
    return f"numbers fully right of {numbers['numbers']}: {right}; digits {numbers['digits']:.2%}{real}"


def _scores(metrics: Metrics) -> Table:
    test = metrics["test"]
    columns = ("precision", "recall", "f1")
    table = Table("digit", "pictures", *columns)
    for row in test["digits"]:
        table.add_row(str(row["digit"]), str(row["pictures"]), *(f"{row[column]:.4f}" for column in columns))
    table.add_section()
    macro = (f"{test[f'macro_{column}']:.4f}" for column in columns)
    table.add_row("macro", str(metrics["data"]["pictures"]), *macro)
    return table


def _confusion(confusion: list[list[int]]) -> Table:
    table = Table("true", *map(str, range(CLASSES)), title="confusion: predicted")
    for digit, counts in enumerate(confusion):
        table.add_row(str(digit), *(str(count or "·") for count in counts))
    return table


def _corruptions(damaged: Metrics) -> Table:
    title = f"{damaged['pictures']:,} test pictures, damaged"
    table = Table("corruption", *_ANSWERED, title=title)
    for name, row in damaged["each"].items():
        table.add_row(name.replace("_", " "), *_answered(row))
    table.add_section()
    table.add_row("mean", f"{damaged['mean']:.2%}")
    return table


def _real(real: Metrics) -> Iterator[RenderableType]:
    if real["sets"]:
        table = Table("set", "pictures", *_ANSWERED, title="real uploads")
        for name, row in real["sets"].items():
            table.add_row(name, f"{row['pictures']:,}", *_answered(row))
        yield table
        yield f"calibration error over all of them {real['calibration']['expected_error']:.2%}"
    for name, reason in real["skipped"].items():
        yield f"[yellow]skipped {name}:[/] {reason}"


def _rejection(rejection: Metrics | None) -> Iterator[RenderableType]:
    if rejection is None:
        yield "The network does not tell how likely a picture is a digit: nothing is rejected."
        return
    title = f"called no digit: likelihood below {rejection['threshold']}"
    table = Table("set", "pictures", "unreadable", "rejected", "AUROC", title=title)
    for part in ("digits", "others"):
        for name, row in rejection[part].items():
            numbers = f"{row['pictures']:,}", str(row["unreadable"]), _share(row["rejected"])
            table.add_row(name, *numbers, _decimals(row.get("auroc")))
        table.add_section()
    table.add_row("all", "", "", "", _decimals(rejection["auroc"]))
    yield table


_ANSWERED = ("accuracy", "polarity errors", "unreadable", "rejected")


def _answered(row: Metrics) -> tuple[str, ...]:
    errors = row["polarity_errors"]
    polarity = "?" if errors is None else str(errors or "·")
    return f"{row['accuracy']:.2%}", polarity, str(row["unreadable"] or "·"), _share(row["rejected"])


def _spread(values: Sequence[float], form: str) -> str:
    return f"{fmean(values):{form}} ± {stdev(values):{form}}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
