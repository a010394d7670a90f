"""Things and scrawls beside and on numbers, which are taken for digits by whoever has not seen them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from training.scenes import texts
from training.scenes.backgrounds import Ink
from training.scenes.chance import happens, pick, pick_weighted
from training.scenes.characters import DIGIT_HEIGHT
from training.scenes.handwriting import Material, Spacing, draw_hand, write
from training.scenes.pens import FRACTION_BITS, Path, smooth
from training.scenes.surfaces import Surface, draw_ellipse, draw_quadrilateral

_STAMPS: Final = ("PAID", "CHECKED", "COPY", "VOID", "BEZAHLT", "OK")
_SHADOW: Final = Ink(0, 0.25)
_TICK: Final = ((0, 0.55), (0.35, 1), (1, 0))
_CROSS: Final = ((0, 0), (1, 1), (1, 1), (0.5, 0.5), (1, 0), (0, 1))

PutThing = Callable[[Surface, Material], None]


def put_pen(surface: Surface, _: Material) -> None:
    """Lay a pen beside the writing, or on it."""
    rng = surface.rng
    length, width = surface.unit * rng.uniform(2, 6), surface.unit * rng.uniform(0.06, 0.2)
    corner = surface.find_free_corner(length * 0.6)
    if corner is None:
        return
    angle = rng.uniform(0, 2 * np.pi)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-ahead[1], ahead[0]]) * width
    middle = np.array(corner) + length * 0.3
    tail, neck, tip = middle - ahead * length / 2, middle + ahead * length * 0.4, middle + ahead * length / 2
    body = np.array([tail + aside, neck + aside, tip, neck - aside, tail - aside])
    surface.draw(body + 2, _SHADOW, 1, filled=True)
    surface.draw(body, Ink(rng.uniform(20, 230)), 1, filled=True)
    gleam = np.array([middle - ahead * length * 0.45, middle + ahead * length * 0.35])
    surface.draw(gleam, Ink(rng.uniform(60, 255), 0.6), width * 0.4)
    surface.hide_below(body)


def put_ring(surface: Surface, _: Material) -> None:
    """Leave the ring of a cup."""
    rng = surface.rng
    radius = surface.unit * rng.uniform(0.5, 2.2)
    corner = surface.find_free_corner(radius * 2)
    if corner is None:
        return
    ring = draw_ellipse(
        np.array(corner) + radius, (radius, radius * rng.uniform(0.9, 1.1)), turns=rng.uniform(0.7, 1)
    )
    tone = float(surface.picture.mean()) * rng.uniform(0.4, 0.85)
    surface.draw(ring, Ink(tone, rng.uniform(0.3, 0.9)), radius * rng.uniform(0.03, 0.15))


def put_stamp(surface: Surface, material: Material) -> None:
    """Stamp a word in a frame."""
    rng = surface.rng
    hand = draw_hand(material, rng, source="print")
    line = write(pick(rng, _STAMPS), hand, Spacing(gap=0.15), rng)
    unit = surface.unit * rng.uniform(0.35, 0.8)
    if line is None:
        return
    width, height = line.ink.shape[1] * unit / DIGIT_HEIGHT, line.ink.shape[0] * unit / DIGIT_HEIGHT
    corner = surface.find_free_corner(width)
    turn = rng.normal(0, 0.12)
    ink = Ink(float(surface.picture.mean()) * rng.uniform(0.3, 0.75), rng.uniform(0.5, 0.9))
    if corner and surface.write(line, hand, corner, unit=unit, turn=turn, ink=ink):
        middle = corner[0] + width / 2, corner[1] + height / 2
        frame = draw_quadrilateral(middle, (width + unit * 0.5, height + unit * 0.3), rng, turn=-turn)
        surface.draw(frame, ink, unit * 0.08, closed=True)


def put_thumb(surface: Surface, _: Material) -> None:
    """Hold the paper at an edge."""
    rng = surface.rng
    width, at = surface.unit * rng.uniform(0.6, 1.6), rng.uniform(0.1, 0.9)
    if happens(rng, 0.5):
        middle, axes = (at * surface.width, pick(rng, (0, surface.height))), (width / 2, width * 1.4)
    else:
        middle, axes = (pick(rng, (0, surface.width)), at * surface.height), (width * 1.4, width / 2)
    thumb = draw_ellipse(middle, axes, count=40)
    if not surface.is_occupied(surface.clip_box(thumb)):
        surface.draw(thumb + 2, _SHADOW, 1, filled=True)
        surface.draw(thumb, Ink(rng.uniform(90, 210)), 1, filled=True)


def scrawl(surface: Surface, _: Material) -> None:
    """Write a tick, a cross, a doodle or a crossing out."""
    rng = surface.rng
    size = surface.unit * rng.uniform(0.6, 1.6)
    corner = surface.find_free_corner(size)
    if corner is None:
        return
    points = pick_weighted(rng, ((0.35, _draw_tick), (0.15, _draw_cross), (0.5, _draw_doodle)))(rng)
    placed = points * size + np.array(corner)
    ink = surface.pick_ink()
    surface.draw(placed, ink, surface.unit * rng.uniform(0.03, 0.12))
    surface.mark_other_writing(placed)


def write_words(surface: Surface, material: Material) -> None:
    """Write or print words where there is room."""
    rng = surface.rng
    hand = draw_hand(material, rng)
    for _ in range(rng.integers(1, 4)):
        line = write(texts.draw_word(rng), hand, Spacing(gap=rng.uniform(0.02, 0.3)), rng)
        unit = surface.unit * rng.uniform(0.5, 1.0)
        corner = line and surface.find_free_corner(line.ink.shape[1] * unit / DIGIT_HEIGHT)
        if corner:
            surface.write(line, hand, corner, unit=unit)


def bind(surface: Surface, _: Material) -> None:
    """Punch the holes of a spiral binding along an edge, with or without its wire."""
    rng = surface.rng
    step, radius = surface.unit * rng.uniform(0.4, 1.2), surface.unit * rng.uniform(0.08, 0.22)
    inset = rng.uniform(0.02, 0.1) * surface.width
    is_upright, has_wire, is_square = happens(rng, 0.6), happens(rng, 0.5), happens(rng, 0.4)
    for along in np.arange(step / 2, surface.height, step):
        middle = (inset, along) if is_upright else (along, inset)
        hole = draw_ellipse(middle, (radius, radius), count=5 if is_square else 16, start=np.pi / 4)
        surface.draw(hole, Ink(float(surface.picture.mean()) * 0.3, 0.9), 1, filled=True)
        if has_wire:
            _draw_wire(surface, middle, step if is_upright else radius, radius if is_upright else step)
    edge = inset + 2 * radius
    corners = [(0, 0), (edge, surface.height)] if is_upright else [(0, 0), (surface.width, edge)]
    surface.occupy(np.array(corners, float), rim=0)


def sprinkle(surface: Surface, _: Material) -> None:
    """Drop specks."""
    rng = surface.rng
    for _number in range(rng.integers(2, 20)):
        at = int(rng.integers(surface.width)), int(rng.integers(surface.height))
        radius = int(rng.integers(0, max(1, int(surface.unit / 14)) + 1))
        cv2.circle(surface.picture, at, radius, rng.uniform(0, 160), -1, cv2.LINE_AA)


# With how often each lies on a document.
THINGS: Final[tuple[tuple[float, PutThing], ...]] = (
    (0.07, put_pen), (0.08, put_ring), (0.06, put_stamp), (0.04, put_thumb), (0.08, scrawl), (0.1, write_words),
    (0.08, sprinkle), (0.08, bind),
)  # fmt: skip


def _draw_tick(rng: np.random.Generator) -> Path:
    return (np.array(_TICK) + rng.normal(0, 0.06, (3, 2))).astype(np.float32)


def _draw_cross(rng: np.random.Generator) -> Path:
    return _round_off(np.array(_CROSS) + rng.normal(0, 0.04, (6, 2)))


def _draw_doodle(rng: np.random.Generator) -> Path:
    return _round_off(np.clip(np.cumsum(rng.normal(0, 0.4, (rng.integers(6, 16), 2)), axis=0) + 0.5, 0, 1))


def _round_off(knots: np.ndarray) -> Path:
    at = np.linspace(0, len(knots) - 1, len(knots) * 8)
    points = [np.interp(at, np.arange(len(knots)), axis) for axis in knots.T]
    return smooth(np.stack(points, axis=1).astype(np.float32), 7)


def _draw_wire(surface: Surface, middle: tuple[float, float], across: float, down: float) -> None:
    axes = [max(1, round(length * 0.6 * (1 << FRACTION_BITS))) for length in (across, down)]
    at = [round(value * (1 << FRACTION_BITS)) for value in middle]
    tone = float(surface.picture.mean() * 0.6)
    thickness = max(1, round(surface.unit * 0.04))
    cv2.ellipse(surface.picture, at, axes, 0, 180, 360, tone, thickness, cv2.LINE_AA, FRACTION_BITS)
