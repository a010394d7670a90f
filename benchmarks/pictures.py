"""The pictures to send: a small picture, drawings, and photographs like those of phones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from tests.data.strokes import ink

GOLDEN: Final = Path(__file__).parent.parent / "tests" / "data" / "golden"
SMALL: Final = (GOLDEN / "3-canvas-black-on-white.png.canonical.png").read_bytes()  # 28x28, as in MNIST
CANVAS: Final = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()  # 280x280, grey
CLEAR_CANVAS: Final = (GOLDEN / "3-canvas-black-on-clear.png").read_bytes()  # 280x280, with transparency
DIGIT: Final = 7


def draw_photograph(width: int, height: int) -> bytes:
    """Return a digit on paper under a lamp, with the paper's grain and the sensor's noise, as a JPEG."""
    rng = np.random.default_rng(5)
    length = int(0.45 * height)
    box = (int(0.4 * width), int(0.25 * height), int(0.6 * length), length)
    drawn = ink(DIGIT, (width, height), box=box, pen=length // 14).astype(np.float32)
    cover = cv2.GaussianBlur(drawn, (0, 0), width / 1000)[..., None] / 255
    down, across = np.mgrid[0 : 1 : 1j * height, 0 : 1 : 1j * width].astype(np.float32)
    light = (205 - 60 * across - 25 * down)[..., None]
    grain = cv2.resize(rng.normal(0, 3, (height // 3, width // 3)).astype(np.float32), (width, height))
    paper = (light + grain[..., None]) * np.array([0.93, 0.97, 1.0], np.float32)
    pen = light * np.array([0.54, 0.22, 0.17], np.float32)
    noise = rng.normal(0, 5, (height, width, 3)).astype(np.float32)
    picture = paper * (1 - cover) + pen * cover + 1.5 * cv2.GaussianBlur(noise, (0, 0), 0.7)
    _, jpeg = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return bytes(jpeg)


def draw_line(text: str, *, width: int = 1000) -> bytes:
    """Return a photograph of a number in one line, as a JPEG."""
    return _draw_lines([text], width, line_height=width // 5)


def draw_page(*texts: str, width: int = 1240) -> bytes:
    """Return a photograph of a page with a number in each line, as a JPEG."""
    return _draw_lines(texts, width, line_height=width // 4)


def _draw_lines(texts: Sequence[str], width: int, *, line_height: int) -> bytes:
    height = line_height * len(texts)
    ink_mask = np.zeros((height, width), np.uint8)
    for row, text in enumerate(texts):
        step = width // (len(text) + 1)
        for place, digit in enumerate(text):
            left, top = step // 2 + place * step, row * line_height + line_height // 4
            box = (left, top, int(0.55 * step), line_height // 2)
            ink_mask = cv2.max(ink_mask, ink(int(digit), (width, height), box=box, pen=line_height // 30))
    light = np.linspace(225, 170, width, dtype=np.float32)
    noise = np.random.default_rng(5).normal(0, 4, ink_mask.shape)
    picture = light * (1 - 0.75 * ink_mask / 255) + noise
    _, jpeg = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return bytes(jpeg)
