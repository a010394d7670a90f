"""Numbers written with a pen, so that the tests' pictures are ours."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.data.strokes import ink

# A comma's ends, (x, y) in a box as wide and high as a digit's: 0…1, y downwards.
COMMA = ((0.5, 0.93), (0.28, 1.22))


def draw_lines(*lines: str, height: int = 60) -> NDArray[np.uint8]:
    """Write lines dark on light, with a pen and room enough: digits, commas and blanks."""
    step, pitch, pen = round(height * 0.9), round(height * 1.7), height // 9
    size = (step * max(map(len, lines)) + height, pitch * len(lines) + height)
    page = np.zeros(size[::-1], np.uint8)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            box = (height // 2 + column * step, height // 2 + row * pitch, height * 0.6, height)
            if character.isdigit():
                page |= ink(int(character), size, box=box, pen=pen)
            elif character == ",":
                start, end = (np.rint(np.multiply(point, box[2:]) + box[:2]).astype(int) for point in COMMA)
                cv2.line(page, start, end, 255, pen, cv2.LINE_AA)
    return 255 - page


def shade(page: NDArray[np.uint8], *, seed: int = 1) -> NDArray[np.uint8]:
    """Return a page as a photograph shows it: grey, darker on one side, with noise."""
    light = np.linspace(0.6, 0.8, page.shape[1])
    noise = np.random.default_rng(seed).normal(0, 3, page.shape)
    return np.clip(page * light + 20 + noise, 0, 255).astype(np.uint8)


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Return the picture as a file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
