"""Draws of chance that scenes share; equal generators give equal draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np

Rng: TypeAlias = np.random.Generator
Item = TypeVar("Item")


def happens(rng: Rng, share: float) -> bool:
    """Whether something that happens in a `share` of cases happens now."""
    return bool(rng.random() < share)


def draw_log_uniform(rng: Rng, low: float, high: float) -> float:
    """Return a number between two others, each doubling as likely as the next."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def pick(rng: Rng, items: Sequence[Item]) -> Item:
    """Return one of some items, all as likely."""
    return items[int(rng.integers(len(items)))]


def pick_weighted(rng: Rng, choices: Sequence[tuple[float, Item]]) -> Item:
    """Return one of some (weight, item); the weights need not sum to 1."""
    at = rng.random() * sum(weight for weight, _ in choices)
    for weight, item in choices:
        at -= weight
        if at < 0:
            return item
    return choices[-1][1]
