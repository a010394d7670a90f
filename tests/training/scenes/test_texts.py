from __future__ import annotations

import re

import numpy as np
import pytest

from app.digits.contract import CHARACTERS
from training.scenes import texts
from training.scenes.texts import DrawText

DRAWS = 400


def draw_many(draw: DrawText) -> list[str]:
    rng = np.random.default_rng(1)
    return [draw(rng) for _ in range(DRAWS)]


@pytest.mark.parametrize(
    "draw", [texts.draw_amount, texts.draw_number, texts.draw_signed, texts.draw_phone_number]
)
def test_equal_generators_write_equal_texts(draw: DrawText) -> None:
    assert draw_many(draw) == draw_many(draw)


def test_amounts_begin_as_benford_says_and_are_often_round() -> None:
    amounts = draw_many(texts.draw_amount)
    first = np.array([int(amount[0]) for amount in amounts])
    assert first.min() == 1
    assert 0.24 < (first == 1).mean() < 0.37  # log10(2) = 0.30
    assert sum(bool(re.search("00|000$", re.sub("[^0-9]", "", amount))) for amount in amounts) > DRAWS / 10
    assert any(re.fullmatch(r"\d{1,3}(\.\d{3})+.*", amount) for amount in amounts)


def test_signed_numbers_use_every_sign_that_is_read() -> None:
    written = "".join(draw_many(texts.draw_signed))
    assert set(CHARACTERS[10:-1]) <= set(written)
    assert set(written) <= set(CHARACTERS) | {" ", "'"}


def test_a_share_of_the_digits_are_zeros() -> None:
    assert texts.draw_digits(np.random.default_rng(0), 50, zeros=1.0) == "0" * 50
    assert "0" not in texts.draw_digits(np.random.default_rng(0), 50, zeros=0.0)


def test_words_have_letters_of_all_kinds() -> None:
    words = draw_many(texts.draw_word)
    assert {"Total", "PESOS"} <= set(words)
    assert any(word.islower() and word not in texts.WORDS for word in words)
