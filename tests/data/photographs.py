"""Draws the photographs that the page offers to try: `python -m tests.data.photographs`.

Each is a flat scene, larger than the picture and in linear light, that is then laid on a table, lit, seen at an
angle and recorded by a small sensor. Nobody photographed or wrote any of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.api.page import FOLDER
from tests.data.strokes import curves

Colours = NDArray[np.float32]  # (height, width, 3), red, green and blue from 0 to 1
Mask = NDArray[np.float32]  # (height, width), from 0 to 1
Colour = tuple[float, float, float]
Corners = list[tuple[float, float]]  # in shares of width and height

SIZE: Final = (640, 512)  # pixels of a photograph: as wide as the page's drawing sheet is on a phone
SCALE: Final = 2  # of a scene, whose pixels are then averaged
WIDTH, HEIGHT = SIZE[0] * SCALE, SIZE[1] * SCALE
THUMB_SIZE: Final = (128, 102)
MAX_BYTES: Final = 12_288  # of a photograph
MAX_THUMB_BYTES: Final = 2_048
BLUE_INK: Final = (0.10, 0.16, 0.45)
BLACK_INK: Final = (0.09, 0.09, 0.11)


def main() -> None:
    """Write all photographs."""
    for subject, draw in PHOTOGRAPHS.items():
        photograph = draw()
        thumb = cv2.resize(photograph, THUMB_SIZE, interpolation=cv2.INTER_AREA)
        (FOLDER / f"photo-{subject}.webp").write_bytes(encode(photograph, MAX_BYTES))
        (FOLDER / f"thumb-{subject}.webp").write_bytes(encode(thumb, MAX_THUMB_BYTES))


def encode(photograph: Colours, max_bytes: int) -> bytes:
    """Return a photograph as WebP, in the best quality that is small enough."""
    picture = Image.fromarray(np.rint(np.clip(photograph, 0, 1) * 255).astype(np.uint8))
    for quality in range(80, 10, -4):
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=6)
        if file.tell() <= max_bytes:
            break
    return file.getvalue()


def as_array(values: Sequence[float]) -> NDArray[np.float32]:
    """Return numbers, such as a colour, for arithmetic in the precision of pictures."""
    return np.array(values, np.float32)


def draw_squared_paper() -> Colours:
    """Return a 3 in ballpoint on squared paper, in the shadow of a hand."""
    rng = np.random.default_rng(7)
    paper = draw_paper((0.93, 0.92, 0.88), rng)
    for position in range(-20, WIDTH, 74):
        rule(paper, (0.62, 0.72, 0.84), x=position)
        rule(paper, (0.62, 0.72, 0.84), y=position)
    write(paper, "3", (WIDTH * 0.36, HEIGHT * 0.24, 360, 500), BLUE_INK, width=17, rng=rng)
    scene = lay_on_table(paper, [(0.10, 0.10), (1.20, -0.06), (1.25, 1.18), (0.03, 1.30)], rng, tone=0.34)
    light = draw_light((0.75, 0.1), fall=0.55) * draw_shadow(
        [(0.62, 1.1), (0.78, 0.66), (1.1, 0.5), (1.2, 1.2)]
    )
    return take(scene, light, rng, warmth=1.05)


def draw_envelope() -> Colours:
    """Return a postcode on an envelope with a stamp."""
    rng = np.random.default_rng(11)
    paper = draw_paper((0.86, 0.78, 0.64), rng, roughness=0.01)
    for fold in ((0.0, 0.5), (1.0, 0.5)):  # the flap shows through
        ends = np.array([(fold[0] * WIDTH, 0), (0.5 * WIDTH, 0.42 * HEIGHT)], np.int32)
        cv2.line(paper, ends[0].tolist(), ends[1].tolist(), (0.81, 0.73, 0.59), 5, cv2.LINE_AA)
    stick_stamp(paper, (int(WIDTH * 0.78), int(HEIGHT * 0.07), 190, 230))
    write(paper, "20457", (WIDTH * 0.10, HEIGHT * 0.48, 900, 260), BLACK_INK, width=17, rng=rng)
    scene = lay_on_table(paper, [(0.04, 0.13), (0.93, 0.05), (0.99, 0.86), (0.07, 0.95)], rng, tone=0.16)
    light = draw_light((0.2, 0.05), fall=0.7) * draw_shadow(
        [(-0.1, 0.8), (0.5, 1.0), (0.7, 1.3), (-0.1, 1.3)]
    )
    return take(scene, light, rng, warmth=1.12)


def draw_meter() -> Colours:
    """Return an electricity meter with five drums behind glass."""
    rng = np.random.default_rng(5)
    case = draw_paper((0.80, 0.81, 0.80), rng, roughness=0.012)
    left, top, drum, tall = int(WIDTH * 0.18), int(HEIGHT * 0.36), 160, 210
    cv2.rectangle(
        case, (left - 26, top - 26), (left + 5 * drum + 26, top + tall + 26), (0.30, 0.31, 0.32), -1
    )
    cv2.rectangle(
        case, (left - 12, top - 12), (left + 5 * drum + 12, top + tall + 12), (0.03, 0.03, 0.03), -1
    )
    for index, digit in enumerate("48163"):
        turn_drum(case, digit, (left + index * drum + 8, top, drum - 16, tall))
    for x, y in ((0.08, 0.12), (0.92, 0.12), (0.08, 0.88), (0.92, 0.88)):
        turn_screw(case, (int(WIDTH * x), int(HEIGHT * y)))
    print_text(case, "kWh", (int(WIDTH * 0.44), int(HEIGHT * 0.74)), 2.2, (0.3, 0.31, 0.32), thickness=4)
    scene = lay_on_table(case, [(-0.05, -0.06), (1.08, 0.01), (1.02, 1.1), (-0.02, 1.02)], rng, tone=0.3)
    glare = draw_shadow([(0.55, -0.1), (0.75, -0.1), (0.45, 1.1), (0.25, 1.1)], depth=1.0, softness=40) - 1
    scene += -0.07 * glare[..., None]
    return take(scene, draw_light((0.35, 0.0), fall=0.6), rng, warmth=0.97)


PHOTOGRAPHS: Final[Mapping[str, Callable[[], Colours]]] = {
    "digit": draw_squared_paper,
    "number": draw_envelope,
    "meter": draw_meter,
}


def draw_paper(colour: Colour, rng: np.random.Generator, *, roughness: float = 0.015) -> Colours:
    """Return a sheet of paper with fibres."""
    fibres = np.sum([draw_noise(rng, grain) for grain in (1.5, 6, 60)], axis=0)
    return np.asarray(as_array(colour) * (1 + roughness * fibres[..., None]), np.float32)


def draw_noise(rng: np.random.Generator, grain: float) -> Mask:
    """Return noise of unit variance whose spots are about `grain` pixels wide."""
    small = rng.normal(0, 1, (int(HEIGHT / grain) + 2, int(WIDTH / grain) + 2)).astype(np.float32)
    return np.asarray(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.float32)


def rule(paper: Colours, colour: Colour, *, x: int | None = None, y: int | None = None) -> None:
    """Print a line across the paper, or down it."""
    start, end = ((x, 0), (x, HEIGHT)) if x is not None else ((0, y), (WIDTH, y))
    cv2.line(paper, start, end, colour, 3, cv2.LINE_AA)


def write(
    paper: Colours,
    text: str,
    box: tuple[float, float, float, float],
    ink: Colour,
    *,
    width: float,
    rng: np.random.Generator,
) -> None:
    """Write digits side by side into a box, with an unsteady hand, and ink that varies with the pressure."""
    x, y, wide, tall = box
    pitch = wide / len(text)
    cover = np.zeros((HEIGHT, WIDTH), np.float32)
    for index, digit in enumerate(text):
        size = np.array([min(0.74 * pitch, 0.62 * tall), tall]) * rng.normal(1, 0.05, 2)
        corner = np.array([x + (index + 0.1) * pitch, y]) + rng.normal(0, 0.03 * tall, 2)
        for stroke in curves(int(digit)):
            stroke[:, 0] += 0.18 * (0.5 - stroke[:, 1])
            unsteady = np.cumsum(rng.normal(0, 0.0022, stroke.shape), axis=0)
            draw_stroke(cover, corner + (stroke + unsteady) * size, width, rng)
    cover = cv2.GaussianBlur(cover, (0, 0), 1.2) * (0.9 + 0.06 * draw_noise(rng, 3))
    paper += np.clip(cover, 0, 1)[..., None] * (as_array(ink) - paper)


def draw_stroke(cover: Mask, points: NDArray[np.float64], width: float, rng: np.random.Generator) -> None:
    """Draw a stroke that begins firmly and ends lightly."""
    pressure = np.linspace(1.08, 0.8, len(points)) + np.cumsum(rng.normal(0, 0.02, len(points)))
    for start, end, firm in zip(points, points[1:], pressure, strict=False):
        ends = np.rint(np.array([start, end]) * 16).astype(np.int32)
        thickness = max(2, round(width * float(firm)))
        cv2.line(cover, ends[0].tolist(), ends[1].tolist(), 1.0, thickness, cv2.LINE_8, 4)


def stick_stamp(paper: Colours, box: tuple[int, int, int, int]) -> None:
    """Stick a perforated stamp with a hill and a sun on the paper."""
    x, y, wide, tall = box
    cv2.rectangle(paper, (x, y), (x + wide, y + tall), (0.95, 0.94, 0.90), -1)
    for step in range(0, wide + 1, 19):
        for edge in (y, y + tall):
            cv2.circle(paper, (x + step, edge), 6, (0.80, 0.72, 0.58), -1, cv2.LINE_AA)
    for step in range(0, tall + 1, 19):
        for edge in (x, x + wide):
            cv2.circle(paper, (edge, y + step), 6, (0.80, 0.72, 0.58), -1, cv2.LINE_AA)
    picture = paper[y + 18 : y + tall - 18, x + 18 : x + wide - 18]
    picture[:] = (0.55, 0.73, 0.80)
    rows, columns = picture.shape[:2]
    cv2.circle(picture, (int(columns * 0.68), int(rows * 0.34)), 26, (0.93, 0.62, 0.30), -1, cv2.LINE_AA)
    hill = [
        (0, rows),
        (0, int(rows * 0.72)),
        (int(columns * 0.4), int(rows * 0.5)),
        (columns, int(rows * 0.85)),
        (columns, rows),
    ]
    cv2.fillPoly(picture, [np.array(hill, np.int32)], (0.27, 0.47, 0.36), cv2.LINE_AA)


def turn_drum(case: Colours, digit: str, box: tuple[int, int, int, int]) -> None:
    """Draw a drum of a counter, which curves away from the light at its top and bottom."""
    x, y, wide, tall = box
    drum = np.zeros((tall, wide, 3), np.float32)
    drum[:] = (0.09, 0.09, 0.10)
    (text_width, text_height), _ = cv2.getTextSize(digit, cv2.FONT_HERSHEY_DUPLEX, 4.6, 13)
    corner = ((wide - text_width) // 2, (tall + text_height) // 2)
    print_text(drum, digit, corner, 4.6, (0.93, 0.93, 0.90), thickness=13)
    curve = np.cos(np.linspace(-1.25, 1.25, tall, dtype=np.float32))
    case[y : y + tall, x : x + wide] = (drum + 0.03) * curve[:, None, None]


def turn_screw(case: Colours, middle: tuple[int, int]) -> None:
    """Draw a screw with its slot."""
    x, y = middle
    cv2.circle(case, (x + 3, y + 4), 27, (0.55, 0.56, 0.56), -1, cv2.LINE_AA)
    cv2.circle(case, middle, 25, (0.70, 0.71, 0.72), -1, cv2.LINE_AA)
    cv2.line(case, (x - 17, y - 9), (x + 17, y + 9), (0.35, 0.36, 0.37), 7, cv2.LINE_AA)


def print_text(
    surface: Colours, text: str, corner: tuple[int, int], size: float, colour: Colour, *, thickness: int
) -> None:
    """Print a text whose lower left corner is given."""
    cover = np.zeros(surface.shape[:2], np.uint8)
    cv2.putText(cover, text, corner, cv2.FONT_HERSHEY_DUPLEX, size, 255, thickness, cv2.LINE_AA)
    surface += (cover / np.float32(255))[..., None] * (as_array(colour) - surface)


def lay_on_table(sheet: Colours, corners: Corners, rng: np.random.Generator, *, tone: float) -> Colours:
    """Return a wooden table with a sheet on it, whose corners are given from the upper left one clockwise."""
    grain = cv2.GaussianBlur(draw_noise(rng, 3), (0, 0), sigmaX=60, sigmaY=1.2)
    rings = np.sin(np.linspace(0, 40, HEIGHT, dtype=np.float32))[:, None] * 0.05
    wood = as_array((1.25, 0.95, 0.68)) * (tone * (1 + 1.4 * grain + rings))[..., None]
    flat = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)], np.float32)
    seen = np.array(corners, np.float32) * as_array((WIDTH, HEIGHT))
    matrix = cv2.getPerspectiveTransform(flat, seen)
    laid = cv2.warpPerspective(sheet, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    cover = cv2.warpPerspective(np.ones(sheet.shape[:2], np.float32), matrix, (WIDTH, HEIGHT))
    below = np.roll(cv2.GaussianBlur(cover, (0, 0), 18), (16, 12), (0, 1))
    table = wood * (1 - 0.55 * below)[..., None]
    return np.asarray(table + cover[..., None] * (laid - table), np.float32)


def draw_light(lamp: tuple[float, float], *, fall: float) -> Mask:
    """Return the light of a lamp at a place, in shares of width and height; it falls off to both sides."""
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j].astype(np.float32)
    return np.asarray(1.08 - fall * ((x - lamp[0]) ** 2 * 0.55 + (y - lamp[1]) ** 2 * 0.5), np.float32)


def draw_shadow(corners: Corners, *, depth: float = 0.42, softness: float = 55) -> Mask:
    """Return the light around a soft shadow with these corners, in shares of width and height."""
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    outline = np.rint(np.array(corners) * (WIDTH, HEIGHT)).astype(np.int32)
    cv2.fillPoly(mask, [outline], 1.0)
    return np.asarray(1 - depth * cv2.GaussianBlur(mask, (0, 0), softness), np.float32)


def take(scene: Colours, light: Mask, rng: np.random.Generator, *, warmth: float) -> Colours:
    """Return what a phone records of a lit scene: a little out of focus, noisy, and sharpened."""
    lit = scene * light[..., None] * as_array((warmth, 1.0, 1 / warmth))
    seen = cv2.resize(cv2.GaussianBlur(lit, (0, 0), 1.6), SIZE, interpolation=cv2.INTER_AREA)
    noise = rng.normal(0, 0.008, seen.shape).astype(np.float32)
    noisy = seen + cv2.GaussianBlur(noise, (0, 0), 0.6)
    sharp = noisy + 0.5 * (noisy - cv2.GaussianBlur(noisy, (0, 0), 1.5))
    return np.asarray(np.clip(sharp, 0, 1), np.float32)


if __name__ == "__main__":
    main()
