"""Overrides of a recipe's values: parsed from NAME=VALUE, applied, and formatted as options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from training.errors import TrainingError
from training.recipe import Augmentation, Recipe, Schedule
from training.search.search_space import SPACES, Value, Values

_Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]

FIELDS: Final[Mapping[str, TypeAdapter[Any]]] = {
    "epochs": TypeAdapter(PositiveInt),
    "batch_size": TypeAdapter(PositiveInt),
    "learning_rate": TypeAdapter(_Share),
    "schedule": TypeAdapter(Schedule),
    "weight_decay": TypeAdapter(_Share),
    "dropout": TypeAdapter(
        Annotated[_Share, Field(le=0.99)]
    ),  # share of the hidden units; dense networks only
    "augmentation": TypeAdapter(Annotated[_Share, Field(le=1.5)]),  # share of `Augmentation`'s ranges
    "seed": TypeAdapter(NonNegativeInt),
}


def parse_overrides(assignments: Iterable[str]) -> dict[str, Value]:
    """Parse assignments, NAME=VALUE, into values by name."""
    return dict(map(_parse, assignments))


def _parse(assignment: str) -> tuple[str, Value]:
    name, equals, text = assignment.partition("=")
    if not equals or name not in FIELDS:
        msg = f"{assignment!r} can't be set: write NAME=VALUE, with one of the names {', '.join(FIELDS)}."
        raise TrainingError(msg)
    try:
        return name, FIELDS[name].validate_python(text)
    except ValidationError as error:
        msg = f"{assignment!r} can't be set: {error.errors()[0]['msg']}."
        raise TrainingError(msg) from None


def override(recipe: Recipe, **values: Value) -> Recipe:
    """Return the recipe with some values replaced; `augmentation` is a share of the default ranges."""
    changes: dict[str, Any] = dict(values)
    if changes.get("dropout") and "dropout" not in SPACES.get(recipe.name, {}):
        msg = f"{recipe.name} has no hidden layer that dropout could apply to: leave dropout out."
        raise TrainingError(msg)
    if "augmentation" in changes:
        share = changes["augmentation"]
        changes["augmentation"] = Augmentation().scale_by(share) if share else None
    return dataclasses.replace(recipe, **changes)


def format_options(values: Values) -> str:
    """Format values as options of `train`."""
    return " ".join(f"--set {name}={value}" for name, value in values.items())
