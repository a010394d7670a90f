from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from training.judge.mcnemar import PairedCounts


def count_discordant(first: int, second: int, *, pictures: int = 100) -> PairedCounts:
    return PairedCounts(both=pictures - first - second, first=first, second=second, neither=0)


def test_all_four_outcomes_are_counted() -> None:
    first = np.array([1, 1, 1, 0, 0, 0, 1, 0, 0, 0], bool)
    second = np.array([1, 0, 0, 1, 0, 0, 1, 1, 1, 0], bool)
    paired = PairedCounts.count(first, second)
    assert paired == PairedCounts(both=2, first=2, second=3, neither=3)
    assert paired.pictures == 10
    assert paired.gain == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        (0, 0, 1),
        (3, 3, 1),
        (0, 1, 1),  # twice a half
        (0, 5, 2 / 32),  # two of the 32 outcomes of tossing five coins
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (1, 7, 2 * (1 + 8) / 256),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (3, 4, 1),
    ],
)
def test_the_p_value_equals_that_computed_by_hand(first: int, second: int, p_value: float) -> None:
    assert count_discordant(first, second).p_value == pytest.approx(p_value, rel=1e-12)


@pytest.mark.parametrize(("first", "second"), [(8, 100), (97, 241), (500, 480), (1500, 1499), (0, 2000)])
def test_the_p_value_is_that_of_a_binomial_test(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second).pvalue
    assert count_discordant(first, second, pictures=10_000).p_value == pytest.approx(expected, rel=1e-9)


def test_the_interval_equals_that_computed_by_hand() -> None:
    # of 98 pictures, only the first reads 3 and only the second 7: with the adjustment, 4 and 8 of 100
    low, high = count_discordant(3, 7, pictures=98).interval
    reach = 1.959964 * np.sqrt((0.04 + 0.08 - 0.04**2) / 100)
    assert (low, high) == pytest.approx((0.04 - reach, 0.04 + reach), abs=1e-7)


def test_the_interval_contains_the_true_gain_as_often_as_it_claims() -> None:
    rng = np.random.default_rng(1)
    true = np.array([0.9, 0.01, 0.06, 0.03])  # both, first, second, neither
    contained = 0
    for both, first, second, neither in rng.multinomial(300, true, size=4_000):
        low, high = PairedCounts(int(both), int(first), int(second), int(neither)).interval
        contained += low <= true[2] - true[1] <= high
    assert 0.94 < contained / 4_000 < 0.975


def test_agreement_on_few_pictures_leaves_the_interval_wide() -> None:
    low, high = count_discordant(0, 0, pictures=10).interval
    assert low == -high < -0.2
    assert count_discordant(0, 1, pictures=1).interval[1] == 1


@pytest.mark.parametrize(
    ("paired", "words"),
    [
        (
            count_discordant(1, 9),
            """new is 8.00 percentage points more accurate than old (95 % confidence interval: 1.36 to 14.32).
            Of 10 pictures that only one reads correctly, 9 are new's. McNemar's exact test: p = 0.0215.
            That is more than chance: new is the better one on such pictures.""",
        ),
        (
            count_discordant(20, 0),
            """new is 20.00 percentage points less accurate than old (95 % confidence interval:
            11.44 to 27.78). Of 20 pictures that only one reads correctly, 0 are new's.
            McNemar's exact test: p < 0.0001. That is more than chance: old is the better one
            on such pictures.""",
        ),
        (
            count_discordant(2, 3),
            """new is 1.00 percentage points more accurate than old (95 % confidence interval: -4.10 to 6.06).
            Of 5 pictures that only one reads correctly, 3 are new's. McNemar's exact test: p = 1.0000.
            That is no more than chance can explain: nothing shows that one of them is better.""",
        ),
        (
            count_discordant(0, 0),
            """old and new are right on the same pictures: 0 percentage points apart
            (95 % confidence interval: -2.72 to 2.72).""",
        ),
    ],
)
def test_the_difference_is_summarised_in_words(paired: PairedCounts, words: str) -> None:
    assert paired.summarise("old", "new") == " ".join(words.split())
