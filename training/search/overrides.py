"""Values that replace a recipe's own: parsed from NAME=VALUE, applied, and written as options again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

from training.errors import WorkshopError
from training.recipe import Augmentation, Recipe, Schedule
from training.search.search_space import SPACES, Choices, Value, Values


@dataclasses.dataclass(frozen=True)
class Number:
    """Numbers of one kind within limits."""

    kind: type[int | float]
    low: float
    high: float = math.inf

    def parse(self, text: str) -> Value:
        """Return the number; ValueError if it is none, or out of bounds."""
        value = self.kind(text)
        if not (self.low <= value <= self.high and math.isfinite(value)):
            raise ValueError
        return value

    def __str__(self) -> str:
        what = "a whole number" if self.kind is int else "a number"
        return f"{what} of at least {self.low:g}" + (f" and at most {self.high:g}" * (self.high < math.inf))


FIELDS: Final[Mapping[str, Number | Choices]] = {
    "epochs": Number(int, 1),
    "batch_size": Number(int, 1),
    "learning_rate": Number(float, 0),
    "schedule": get_args(Schedule),
    "weight_decay": Number(float, 0),
    "dropout": Number(float, 0, 0.99),  # share of the hidden units, of dense networks
    "augmentation": Number(float, 0, 1.5),  # share of `Augmentation`'s widths
    "seed": Number(int, 0),
}


def parse_overrides(assignments: Iterable[str]) -> dict[str, Value]:
    """Return the values of some NAME=VALUE, by name.

    Raises:
        WorkshopError: a recipe has no such name, or the value is not of its type.
    """
    return dict(map(_parse, assignments))


def _parse(assignment: str) -> tuple[str, Value]:
    name, equals, text = assignment.partition("=")
    if not equals or name not in FIELDS:
        msg = f"{assignment!r} can't be set: write NAME=VALUE, with one of the names {', '.join(FIELDS)}."
        raise WorkshopError(msg)
    field = FIELDS[name]
    try:
        return name, field.parse(text) if isinstance(field, Number) else field[field.index(text)]
    except ValueError:
        expected = field if isinstance(field, Number) else " or ".join(map(str, field))
        msg = f"{assignment!r} can't be set: {name} is {expected}."
        raise WorkshopError(msg) from None


def override(recipe: Recipe, **values: Value) -> Recipe:
    """Return the recipe with other values; `augmentation` is a share of its widths.

    Raises:
        WorkshopError: its network has no use for one of them.
    """
    changes: dict[str, Any] = dict(values)
    if changes.get("dropout") and "dropout" not in SPACES.get(recipe.name, {}):
        msg = f"{recipe.name} has no hidden layer of its own to drop units of: leave dropout out."
        raise WorkshopError(msg)
    if "augmentation" in changes:
        share = changes["augmentation"]
        changes["augmentation"] = Augmentation().scale_by(share) if share else None
    return dataclasses.replace(recipe, **changes)


def format_options(values: Values) -> str:
    """Return the values as options of `train`."""
    return " ".join(f"--set {name}={value}" for name, value in values.items())
