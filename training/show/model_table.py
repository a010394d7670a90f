"""The table of all evaluated networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from app.digits.catalogue import METRICS_FILE, find_files, name_versions
from training.errors import TrainingError
from training.markdown import format_table

COLUMNS: Final = (
    "network", "parameters", "multiply-adds", "file", "accuracy", "macro F1", "network alone", "from PNG",
)  # fmt: skip


def build_rows(models: Path) -> list[tuple[str, ...]]:
    """Return a row of text for each network, in the order of `COLUMNS`, the least accurate network first."""
    try:
        files = find_files(models, METRICS_FILE)
        names = name_versions(find_files(models) | files)
        metrics_by_name = [(names[version], json.loads(file.read_text())) for version, file in files.items()]
        metrics_by_name = [named for named in metrics_by_name if "held_out" not in named[1]]  # classifiers
        metrics_by_name.sort(key=lambda named: named[1]["test"]["accuracy"])
    except (ValueError, KeyError, TypeError) as error:
        remedy = "`python -m training evaluate NAME` writes it again"
        msg = f"A {METRICS_FILE} below {models} is damaged: {remedy}."
        raise TrainingError(msg) from error
    if not metrics_by_name:
        msg = f"No network below {models} has been evaluated: run `python -m training evaluate NAME`."
        raise TrainingError(msg)
    return [_format_row(name, metrics) for name, metrics in metrics_by_name]


def format_markdown(models: Path) -> str:
    """Return the README's table in Markdown."""
    return format_table(COLUMNS, build_rows(models))


def _format_row(name: str, metrics: dict[str, Any]) -> tuple[str, ...]:
    model, test, speed = metrics["model"], metrics["test"], metrics["microseconds"]
    return (
        f"`{name}`",
        f"{model['parameters']:,}",
        f"{model['multiply_adds']:,}",
        f"{model['bytes'] / 1024:,.0f} KiB",
        f"{test['accuracy']:.2%}",
        f"{test['macro_f1']:.4f}",
        f"{speed['network']:,.0f} µs",
        f"{speed['from_png']:,.0f} µs",
    )
