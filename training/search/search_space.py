"""The hyper-parameters that a search varies, and their ranges, for each recipe.

Epochs and width are not searched: more is nearly always better, but epochs make training slower, and width
makes the service slower. Label smoothing is left out as well: it pays for accuracy with underconfidence.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Final, TypeAlias

from training.errors import TrainingError
from training.recipe import Augmentation, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, drawn uniformly; with `log`, their logarithms are drawn uniformly."""

    low: float
    high: float
    log: bool = False


Value: TypeAlias = float | str
Values: TypeAlias = Mapping[str, Value]  # by the names in `overrides.FIELDS`: learning_rate, dropout …
Choices: TypeAlias = tuple[Value, ...]
Space: TypeAlias = Mapping[str, Range | Choices]

_DENSE: Final[Space] = {
    "learning_rate": Range(low=1e-4, high=1e-2, log=True),  # a decade on each side of Adam's default
    "batch_size": (32, 64, 128, 256),
    "schedule": ("constant", "cosine"),
    "weight_decay": Range(low=0.0, high=0.2),  # is multiplied by the learning rate, so even 0.2 is little
    "dropout": Range(low=0.0, high=0.5),
    "augmentation": Range(low=0.0, high=1.0),  # share of `Augmentation`'s ranges
}
SPACES: Final[Mapping[str, Space]] = {
    "linear": {  # too small to overfit, so it needs neither dropout nor augmentation
        name: _DENSE[name] for name in ("learning_rate", "batch_size", "schedule", "weight_decay")
    },
    "mlp-128": _DENSE,
    "mlp-1000": _DENSE,
    "cnn": {
        "learning_rate": Range(low=5e-4, high=1e-2, log=True),
        "batch_size": (64, 128, 256),
        "weight_decay": Range(low=0.0, high=0.2),
        "augmentation": Range(low=0.25, high=1.5),
    },
}


def find_space(recipe: Recipe) -> Space:
    """Return the search space of a recipe."""
    if recipe.name not in SPACES:
        msg = f"{recipe.name!r} has no search space: add one in training/search/search_space.py."
        raise TrainingError(msg)
    return SPACES[recipe.name]


def to_json(space: Space) -> str:
    """Return a space as one line of JSON, to compare it with another."""
    return json.dumps(space, default=dataclasses.asdict)


def get_recipe_values(recipe: Recipe) -> dict[str, Value]:
    """Return the recipe's values of the hyper-parameters in its search space."""
    augmentation = recipe.augmentation
    share = augmentation.rotation / Augmentation().rotation if augmentation else 0.0
    fields = vars(recipe) | {"augmentation": share}
    return {name: fields[name] for name in find_space(recipe)}


def round_values(values: Values) -> dict[str, Value]:
    """Round numbers to three significant digits, which keeps commands short."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in values.items()
    }
