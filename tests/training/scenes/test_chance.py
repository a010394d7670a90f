from __future__ import annotations

import numpy as np
import pytest

from training.scenes.chance import draw_log_uniform, happens, pick, pick_weighted


def test_things_happen_as_often_as_they_are_said_to() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([happens(rng, 0.3) for _ in range(2000)]) == pytest.approx(0.3, abs=0.04)


def test_weights_are_shares_of_their_sum() -> None:
    rng = np.random.default_rng(0)
    picked = [pick_weighted(rng, ((3, "often"), (1, "seldom"), (0, "never"))) for _ in range(2000)]
    assert picked.count("often") / len(picked) == pytest.approx(0.75, abs=0.04)
    assert "never" not in picked


def test_every_item_is_picked() -> None:
    rng = np.random.default_rng(0)
    assert {pick(rng, "abc") for _ in range(40)} == set("abc")


def test_doublings_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_log_uniform(rng, 1, 16) for _ in range(2000)])
    assert drawn.min() >= 1
    assert drawn.max() <= 16
    assert np.mean(drawn < 4) == pytest.approx(0.5, abs=0.04)
