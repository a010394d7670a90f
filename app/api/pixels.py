"""Pictures as arrays of numbers in JSON.

How the numbers are written decides their scale, and never how large they are. An array of whole numbers
goes from 0 to 255. As soon as one number has a fraction or an exponent (0.5, 1.0, 1e0), the whole array goes
from 0 to 1. An array of zeros and ones without fractions is refused: many JSON libraries write 1.0 as 1, so
that it may mean either.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from itertools import chain
from typing import Any, Final, TypeAlias

import cv2
import numpy as np

from ..wire.problems import MalformedRequest

MAX_LEVEL: Final = 255
_PNG_OPTIONS: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # of 9: a drawing of 28x28 takes 25 µs
Locate: TypeAlias = Callable[[int], str]  # the index of a number among all → its place, as errors name it


def encode_rows(rows: list[Any], where: str) -> bytes:
    """Return rows of numbers as a PNG, which then goes the way of every picture.

    Raises:
        MalformedRequest: they are not numbers of one scale, or have no common length; the text says where.
    """
    width = _measure_rows(rows, where)
    levels = scale_to_bytes(
        list(chain.from_iterable(rows)), lambda index: f"{where}[{index // width}][{index % width}]"
    )
    _, png = cv2.imencode(".png", np.frombuffer(levels, np.uint8).reshape(-1, width), _PNG_OPTIONS)
    return bytes(png)


def scale_to_bytes(values: list[Any], locate: Locate) -> bytes:
    """Return the numbers of an array, at least one, as levels from 0 to 255.

    Raises:
        MalformedRequest: they are not numbers of one scale; the text says where.
    """
    kinds = set(map(type, values))
    if kinds == {int}:  # `bool` is another type
        return _read_whole_numbers(values, locate)
    if kinds <= {int, float}:
        return _read_fractions(values, locate)
    index = next(index for index, value in enumerate(values) if type(value) not in {int, float})
    msg = f"{locate(index)} is {_quote(values[index])}. Send one number for each pixel."
    raise MalformedRequest(msg)


def _measure_rows(rows: list[Any], where: str) -> int:
    """Return the length of all rows."""
    if not rows:
        msg = f"{where!r} has no rows. Send a list of rows, each a list of numbers."
        raise MalformedRequest(msg)
    for index, row in enumerate(rows):
        if not isinstance(row, list):
            msg = f"{where}[{index}] is {_quote(row)}. Send a list of rows, each a list of numbers."
            raise MalformedRequest(msg)
        if len(row) != len(rows[0]):
            msg = (
                f"{where}[{index}] has {len(row)} numbers, {where}[0] has {len(rows[0])}. "
                "Send rows of one length."
            )
            raise MalformedRequest(msg)
    if not rows[0]:
        msg = f"The rows of {where!r} have no numbers. Send one for each pixel."
        raise MalformedRequest(msg)
    return len(rows[0])


def _read_whole_numbers(values: list[int], locate: Locate) -> bytes:
    try:
        levels = bytes(values)
    except ValueError:
        index = next(index for index, value in enumerate(values) if not 0 <= value <= MAX_LEVEL)
        msg = f"{locate(index)} is {_quote(values[index])}. Whole numbers go from 0 to {MAX_LEVEL}."
        raise MalformedRequest(msg) from None
    if max(levels) == 1:
        msg = (
            f"From {locate(0)} on, all numbers are 0 or 1, without a fraction, which may mean two scales. "
            f"For black and white, send 0 and {MAX_LEVEL}, or 0.0 and 1.0."
        )
        raise MalformedRequest(msg)
    return levels


def _read_fractions(values: list[int | float], locate: Locate) -> bytes:
    try:
        shares = np.array(values, np.float64)
    except OverflowError:  # a whole number of more than 308 digits
        shares = np.array([np.inf])
    if not 0 <= shares.min() <= shares.max() <= 1:  # false for NaN, too
        index = next(index for index, value in enumerate(values) if not 0 <= value <= 1)
        first = next(index for index, value in enumerate(values) if isinstance(value, float))
        msg = (
            f"{locate(index)} is {_quote(values[index])}. An array with a fraction or an exponent, as in "
            f"{locate(first)}, goes from 0 to 1. For 0 to {MAX_LEVEL}, send only whole numbers, without '.0'."
        )
        raise MalformedRequest(msg)
    return (shares * MAX_LEVEL).round().astype(np.uint8).tobytes()


def _quote(value: object) -> str:
    kinds = {list: "a list", dict: "an object", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value)) or reprlib.repr(value)
