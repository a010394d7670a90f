"""What people write: amounts, numbers, dates, times, telephone numbers, words.

A blank is a wide gap. Whatever `contract.CHARACTERS` lacks is drawn too, and labelled as other writing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from training.scenes.chance import Rng, happens, pick, pick_weighted

DrawText: TypeAlias = Callable[[Rng], str]

WORDS: Final = (
    "Room", "Page", "Points", "Total", "CHF", "EUR", "USD", "Fr.", "Nr", "No", "Date", "Grade", "Team", "Name",
    "Score", "Qty", "kg", "cm", "Sum", "Class", "Tel", "Invoice", "Betrag", "Rp.", "SFr", "S/.", "Rs", "$", "€",
    "£", "#", "***", "Q", "A", "B", "x", "n", "=", "%", "m", "km", "PESOS", "Son:",
)  # fmt: skip
_BENFORD: Final = np.log10(1 + 1 / np.arange(1, 10))  # of the first digits 1 to 9 of amounts (Benford, 1938)
_SEPARATORS: Final = (".", "/", "-")


def draw_digits(rng: Rng, count: int, *, zeros: float = 0.1) -> str:
    """Return some digits, a share of them zeros."""
    shares = np.full(10, (1 - zeros) / 9)
    shares[0] = zeros
    return "".join(map(str, rng.choice(10, count, p=shares)))


def draw_amount(rng: Rng) -> str:
    """Return an amount as it stands on cheques: often round, grouped, and closed by a dash."""
    count = int(rng.choice([3, 4, 5, 6, 7], p=[0.12, 0.36, 0.36, 0.12, 0.04]))
    amount = str(rng.choice(np.arange(1, 10), p=_BENFORD)) + _draw_whole(rng, count)[1:]
    if count > 3 and happens(rng, 0.62):
        amount = _group(amount, pick(rng, (".", ".", ".", ".", ",", " ", "'")))
    return amount + pick_weighted(rng, _AMOUNT_ENDS)


_AMOUNT_ENDS: Final = (
    (0.42, ""), (0.1, "."), (0.06, ".-"), (0.03, ". -"), (0.03, ",-"), (0.03, ".="), (0.02, ".--"), (0.06, "-"),
    (0.04, " -"), (0.03, "--"), (0.05, "="), (0.03, " ="), (0.02, "=="), (0.01, ","), (0.01, "/"), (0.01, ")"),
    (0.01, "+"), (0.01, ":"), (0.02, ",00"), (0.02, ".00"), (0.01, ",50"), (0.01, ",00."),
)  # fmt: skip


def draw_number(rng: Rng) -> str:
    """Return a number of one to ten digits."""
    counts, shares = (1, 2, 3, 4, 5, 6, 7, 8, 10), (0.12, 0.14, 0.18, 0.16, 0.14, 0.1, 0.07, 0.06, 0.03)
    return draw_digits(rng, int(rng.choice(counts, p=shares)), zeros=0.12)


def draw_signed(rng: Rng) -> str:
    """Return a number with signs: a decimal, a date, a time, a fraction, a sum, something in parentheses."""
    return pick_weighted(rng, _SIGNED)(rng)


def draw_phone_number(rng: Rng) -> str:
    """Return a telephone number in groups."""
    groups = [draw_digits(rng, int(count)) for count in rng.choice([2, 3], rng.integers(1, 3))]
    return " ".join(["0" + draw_digits(rng, int(rng.integers(1, 4))), *groups])


def draw_word(rng: Rng) -> str:
    """Return a word that stands beside numbers, or any letters."""
    if happens(rng, 0.6):
        return pick(rng, WORDS)
    letters = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(1, 8)))
    return pick_weighted(rng, ((0.4, letters.capitalize()), (0.12, letters.upper()), (0.48, letters)))


def _draw_whole(rng: Rng, count: int) -> str:
    if happens(rng, 0.3):
        zeros = int(rng.integers(1, count))
        return draw_digits(rng, count - zeros, zeros=0.05) + "0" * zeros
    return draw_digits(rng, count, zeros=pick(rng, (0.1, 0.1, 0.25)))


def _group(digits: str, mark: str) -> str:
    head = len(digits) % 3 or 3
    return mark.join([digits[:head], *(digits[at : at + 3] for at in range(head, len(digits), 3))])


def _draw_some(rng: Rng, low: int = 1, high: int = 3) -> str:
    return draw_digits(rng, int(rng.integers(low, high + 1)))


def _draw_decimal(rng: Rng) -> str:
    return _draw_some(rng) + pick(rng, (".", ",")) + _draw_some(rng)


def _draw_negative_number(rng: Rng) -> str:
    return "-" + _draw_some(rng) + ("." + _draw_some(rng, 1, 1) if happens(rng, 0.3) else "")


def _draw_dialling_code(rng: Rng) -> str:
    return f"({_draw_some(rng)}){pick(rng, ('', ' '))}{_draw_some(rng, 2, 4)}"


def _draw_date(rng: Rng) -> str:
    first, second = pick(rng, _SEPARATORS), pick(rng, _SEPARATORS)
    return (
        f"{_draw_some(rng, 1, 2)}{first}{_draw_some(rng, 1, 2)}{second}{draw_digits(rng, pick(rng, (2, 4)))}"
    )


def _draw_time(rng: Rng) -> str:
    parts = 3 if happens(rng, 0.2) else 2
    return ":".join(draw_digits(rng, 2) for _ in range(parts))


def _draw_fraction(rng: Rng) -> str:
    return f"{_draw_some(rng, 1, 2)}/{_draw_some(rng, 1, 2)}"


def _draw_international_number(rng: Rng) -> str:
    return f"+{draw_digits(rng, 2)} {draw_digits(rng, 2)} {draw_digits(rng, 3)}"


def _draw_grouped(rng: Rng) -> str:
    return _group(_draw_some(rng, 4, 7), pick(rng, (".", ",", " ", "'")))


def _draw_sum(rng: Rng) -> str:
    return (
        f"{_draw_some(rng, 1, 2)}{pick(rng, ('+', '-', ':'))}{_draw_some(rng, 1, 2)}={_draw_some(rng, 1, 2)}"
    )


def _draw_item_number(rng: Rng) -> str:
    return _draw_some(rng) + pick(rng, (".", ":", ")"))


def _draw_hyphenated(rng: Rng) -> str:
    return f"{_draw_some(rng, 2, 3)}-{_draw_some(rng, 2, 4)}"


_SIGNED: Final[tuple[tuple[float, DrawText], ...]] = (
    (0.2, _draw_decimal),
    (0.1, _draw_negative_number),
    (0.08, _draw_dialling_code),
    (0.06, lambda rng: f"({_draw_some(rng)})"),
    (0.08, _draw_date),
    (0.08, _draw_time),
    (0.08, _draw_fraction),
    (0.06, _draw_international_number),
    (0.06, lambda rng: "+" + _draw_some(rng)),
    (0.1, _draw_grouped),
    (0.04, _draw_sum),
    (0.03, _draw_item_number),
    (0.03, _draw_hyphenated),
)
