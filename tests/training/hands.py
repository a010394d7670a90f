"""Draws handwritten digits for tests that need no MNIST."""

from __future__ import annotations

import numpy as np

from app.digits.preprocessing import canonicalise
from tests.data.strokes import ink
from training.data.labelled import Labelled


def draw_digits(count: int, *, seed: int) -> Labelled:
    """Draw random digits, with random sizes, slants and pens."""
    rng = np.random.default_rng(seed)
    digits = rng.integers(0, 10, count).astype(np.uint8)
    pictures = [
        canonicalise(
            ink(
                digit,
                (120, 120),
                box=(35 + rng.uniform(-8, 8), 20, rng.uniform(35, 60), rng.uniform(60, 85)),
                pen=int(rng.integers(5, 14)),
                slant=rng.uniform(-0.2, 0.3),
            )
        ).picture
        for digit in digits
    ]
    return Labelled(np.stack(pictures), digits)


def draw_upright(count: int) -> Labelled:
    """Draw the digits 0 to 9 in turn, upright and with one pen."""
    digits = np.arange(count, dtype=np.uint8) % 10
    return Labelled(
        np.stack([ink(row % 10, (28, 28), box=(8, 5, 12, 18), pen=2) for row in range(count)]), digits
    )
