"""A hand, and the lines that it writes: ink with the box and class of every character.

A hand is a writer's pen paths, MNIST's digits, a font or a display, with a slant, a size, a pen and an
unsteadiness of its own. Neighbours are set apart by their profiles, so they can touch, overlap, lie in each
other or be joined by a stroke, and their boxes stay known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.digits.contract import DigitBatch
from training.data.labelled import Labelled
from training.data.strokes import DIGITS, StrokeSamples, Writer
from training.scenes import characters
from training.scenes.chance import Rng, draw_log_uniform, happens, pick, pick_weighted
from training.scenes.characters import (
    BANDS,
    DIGIT_HEIGHT,
    FAR,
    Character,
    PenCharacter,
    from_paths,
    from_raster,
    resample_paths,
)
from training.scenes.pens import Canvas, Path, Pen, draw_pen, resample, smooth
from training.scenes.shapes import draw_shape

Source: TypeAlias = Literal["strokes", "mnist", "mixed", "font", "print", "segments"]

SOURCE_SHARES: Final[tuple[tuple[float, Source], ...]] = (
    (0.53, "strokes"), (0.16, "mnist"), (0.1, "mixed"), (0.1, "font"), (0.08, "print"), (0.03, "segments"),
)  # fmt: skip
TYPED: Final[tuple[Source, ...]] = ("print", "segments")  # nobody's hand
MARGIN: Final = 8  # pixels round a line
DIGIT_COUNT: Final = 10  # classes that are digits
_ROUND_SIGNS: Final = ".,:'"  # which no hand stretches or turns
_LEVEL_SIGNS: Final = ".:-="  # which slant little
_BLANKS: Final = (0.35, 0.9)  # heights of a digit
_MAX_JOIN: Final = 1.2  # heights of a digit: no pen leads further to the next one


@dataclass(frozen=True)
class Material:
    """What hands are made of: of training or of validation, never of both."""

    strokes: StrokeSamples
    digits: tuple[DigitBatch, ...]  # MNIST's pictures, by digit

    @classmethod
    def of(cls, strokes: StrokeSamples, mnist: Labelled) -> Material:
        """Group MNIST's pictures by digit."""
        return cls(strokes, tuple(mnist.pictures[mnist.digits == digit] for digit in range(DIGIT_COUNT)))


@dataclass(frozen=True)
class Hand:
    """How somebody writes a line. Lengths without a unit are heights of a digit."""

    material: Material
    source: Source
    pen: Pen
    writer: Writer | None = None  # None takes every character from another one
    font: str = ""  # file, of fonts and print
    slant: float = 0.0  # tangent
    aspect: float = 1.0  # width, as a share of the usual
    unsteadiness: float = 1.0  # 1 is usual
    climb: float = 0.0  # tangent of the line
    thin: float = 0.3  # by how much MNIST's strokes and segments are thinner
    bends: bool = True  # whether every digit is bent anew
    shape_share: float = 0.03  # of the digits that are drawn by knots
    long_one_share: float = 0.08  # of the 1s that have an upstroke as in Europe
    sizes: dict[str, float] = field(default_factory=dict)  # of some characters, as shares of the usual

    @property
    def is_typed(self) -> bool:
        """Whether a machine writes."""
        return self.source in TYPED

    def draw(self, character: str, rng: Rng) -> Character | None:
        """Draw a character; None if there is no way to."""
        source = self.source
        if source == "mixed":
            source = "strokes" if happens(rng, 0.6) else "mnist"
        drawn = None
        if character in DIGITS and source == "segments":
            drawn = self._draw_segments(character)
        elif character in DIGITS and source == "mnist":
            drawn = self._draw_mnist(character, rng)
        elif source in ("font", "print"):
            drawn = self._typeset(character, rng)
        return drawn or self._draw_strokes(character, rng)

    def _draw_strokes(self, character: str, rng: Rng) -> Character | None:
        lines = self._pick_lines(character, rng)
        scale = (
            DIGIT_HEIGHT * np.exp(rng.normal(0, 0.07 * self.unsteadiness)) * self.sizes.get(character, 1.0)
        )
        linear = self._draw_linear(character, rng) * scale
        paths = resample_paths(tuple((line @ linear).astype(np.float32) for line in lines))
        if self.bends and character in DIGITS:
            paths = _bend(paths, rng)
        return from_paths(character, paths, pen_width=self.pen.width).move(0, self._draw_rise(rng))

    def _pick_lines(self, character: str, rng: Rng) -> tuple[Path, ...]:
        if character == "1" and happens(rng, self.long_one_share):
            return draw_long_one(rng)
        if character in DIGITS and happens(rng, self.shape_share):
            return draw_shape(int(character), rng)
        label = character if character in self.material.strokes.labels else "~"
        writer = self.writer if happens(rng, 0.85) else None  # nobody writes all his 4s one way
        return self.material.strokes.pick(label, rng, writer=writer)

    def _draw_linear(self, character: str, rng: Rng) -> NDArray[np.float64]:
        """Return the matrix, to be multiplied from the right, that stretches, slants and turns a path."""
        wide, turn = self.aspect * np.exp(rng.normal(0, 0.07)), rng.normal(0, 0.05 * self.unsteadiness)
        slant = self.slant + rng.normal(0, 0.05 * self.unsteadiness)
        if character in _ROUND_SIGNS:
            wide, turn = 1.0, 0.0
        if character in _LEVEL_SIGNS:
            slant *= 0.3
        cos, sin = np.cos(turn), np.sin(turn)
        return np.array([[wide, 0], [-slant, 1]]) @ np.array([[cos, sin], [-sin, cos]])

    def _draw_mnist(self, digit: str, rng: Rng) -> Character | None:
        pictures = self.material.digits[int(digit)]
        picture = pictures[int(rng.integers(len(pictures)))]
        raster = characters.enlarge_digit(
            picture,
            height=DIGIT_HEIGHT * np.exp(rng.normal(0, 0.07 * self.unsteadiness)),
            aspect=self.aspect,
            slant=self.slant * 0.7 + rng.normal(0, 0.05),  # MNIST's writers slant themselves
            thin=self.thin,
        )
        found = from_raster(digit, raster, top=0.0)
        return found and found.move(0, self._draw_rise(rng) - found.box[3])

    def _typeset(self, character: str, rng: Rng) -> Character | None:
        typed = characters.typeset(character, self.font)
        if typed is None:
            return None
        raster, top = typed
        if self.is_typed:
            return from_raster(character, characters.slant_raster(raster, self.slant), top=top)
        size = np.exp(rng.normal(0, 0.05 * self.unsteadiness))
        raster = characters.slant_raster(raster, self.slant * 0.5, scale_x=size * self.aspect, scale_y=size)
        found = from_raster(character, raster, top=top * size)
        return found and found.move(0, self._draw_rise(rng))

    def _draw_segments(self, digit: str) -> Character | None:
        thickness = int(DIGIT_HEIGHT * (0.2 - 0.13 * max(0.0, self.thin)))
        ghost = 30 if self.thin > 0.35 else 0
        raster = characters.draw_segments(digit, thickness, 1 + int(self.thin * 3) % 3, ghost=ghost)
        return from_raster(digit, characters.slant_raster(raster, self.slant), top=-DIGIT_HEIGHT)

    def _draw_rise(self, rng: Rng) -> float:
        return float(rng.normal(0, 0.045 * self.unsteadiness) * DIGIT_HEIGHT)


def draw_hand(material: Material, rng: Rng, *, source: Source | None = None) -> Hand:
    """Draw a hand."""
    chosen = pick_weighted(rng, SOURCE_SHARES) if source is None else source
    width = draw_log_uniform(rng, 0.028, 0.17) if happens(rng, 0.94) else rng.uniform(0.17, 0.26)
    return Hand(
        material=material,
        source=chosen,
        pen=draw_pen(rng, DIGIT_HEIGHT * width),
        writer=material.strokes.pick_writer(rng) if happens(rng, 0.65) else None,
        font=_pick_font(chosen, rng),
        slant=_draw_slant(chosen, rng),
        aspect=float(np.exp(rng.normal(-0.02, 0.17))),
        unsteadiness=float(np.exp(rng.normal(-0.2, 0.5))),
        climb=rng.normal(0, 0.02) if happens(rng, 0.5) else 0.0,
        thin=rng.uniform(-0.15, 0.7),
        bends=happens(rng, 0.6),
        shape_share=0.03 if happens(rng, 0.6) else rng.uniform(0.1, 0.5),
        long_one_share=0.08 if happens(rng, 0.6) else rng.uniform(0.3, 1.0),
        sizes=_draw_sizes(rng),
    )


def _pick_font(source: Source, rng: Rng) -> str:
    if source == "font":
        return pick(rng, characters.list_hand_fonts())
    return pick(rng, characters.list_print_fonts()) if source == "print" else ""


def _draw_slant(source: Source, rng: Rng) -> float:
    if source in TYPED:
        return pick(rng, (0.0, 0.0, 0.0, 0.2))
    return rng.normal(0.12, 0.2) if happens(rng, 0.75) else rng.uniform(0.2, 0.65)


def _draw_sizes(rng: Rng) -> dict[str, float]:
    """Draw how large somebody writes each digit: many write small zeros and tall 1s."""
    sizes = {digit: float(np.exp(rng.normal(0, 0.07))) for digit in DIGITS} if happens(rng, 0.6) else {}
    if happens(rng, 0.35):
        sizes["0"] = rng.uniform(0.5, 0.95)
    if happens(rng, 0.3):
        sizes["1"] = rng.uniform(0.95, 1.4)
    return sizes


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """How characters stand beside each other."""

    gap: float = 0.2  # heights of a digit between the ink of neighbours; below 0 they overlap
    pitch: float = 0.0  # heights of a digit from middle to middle in a comb of cells; 0 is no comb
    touching: float = 0.0  # share of the neighbours that touch
    joined: float = 0.0  # share of the neighbours that a stroke joins
    chained: float = 0.0  # share of the runs of zeros that are written in one stroke


class Mark(NamedTuple):
    """The box of a character, in pixels, and its class; -1 where nobody could tell."""

    label: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class WrittenLine:
    """A line of ink, and its characters in reading order."""

    ink: Canvas
    marks: tuple[Mark, ...]
    baseline: float  # row


def write(text: str, hand: Hand, spacing: Spacing, rng: Rng) -> WrittenLine | None:
    """Write a line; None if nothing of it can be written. A blank in the text is a wide gap."""
    line = _Line(hand, spacing, rng)
    at = 0
    while at < len(text):
        zeros = len(text[at:]) - len(text[at:].lstrip("0"))
        if text[at] == " ":
            line.add_blank()
        elif zeros > 1 and hand.source in ("strokes", "mixed") and happens(rng, spacing.chained):
            line.add(draw_zeros(zeros, hand, rng))
            at += zeros - 1
        else:
            drawn = hand.draw(text[at], rng)
            line.add([drawn] if drawn else [])
        at += 1
    return line.paint() if line.characters else None


class _Line:
    """A line as far as it is written."""

    def __init__(self, hand: Hand, spacing: Spacing, rng: Rng) -> None:
        self.characters: list[Character] = []
        self._joins: list[tuple[Character, Character]] = []
        self._hand, self._spacing, self._rng = hand, spacing, rng
        self._front = np.full(BANDS, -FAR)  # how far the line reaches, by band
        self._end = 0.0
        self._blank = 0.0

    def add_blank(self) -> None:
        self._blank += self._rng.uniform(*_BLANKS)

    def add(self, group: Sequence[Character]) -> None:
        """Place characters that keep their distances from each other behind what is written."""
        if not group:
            return
        at = self._place(group)
        rise = 0.0 if self._spacing.pitch else -self._hand.climb * at
        placed = [character.move(at, rise) for character in group]
        if self.characters and len(group) == 1 and happens(self._rng, self._spacing.joined):
            self._joins.append((self.characters[-1], placed[0]))
        self.characters += placed
        self._front = np.maximum(self._front, np.max([one.right + one.x for one in placed], axis=0))
        self._end = max(self._end, *(one.bounds[2] for one in placed))
        self._blank = 0.0

    def _place(self, group: Sequence[Character]) -> float:
        start = min(one.bounds[0] for one in group)
        if not self.characters:
            return -start
        if self._spacing.pitch:
            left, _, right, _ = group[0].bounds
            first = self.characters[0].bounds
            middle = (first[0] + first[2]) / 2 + len(self.characters) * self._spacing.pitch * DIGIT_HEIGHT
            return middle - (left + right) / 2 + self._rng.normal(0, 0.06) * DIGIT_HEIGHT
        boxed = self._end - start
        if self._hand.is_typed:
            return boxed + (max(self._spacing.gap, 0.03) + self._blank) * DIGIT_HEIGHT
        is_sign = max(group[0].label, self.characters[-1].label) >= DIGIT_COUNT
        left = np.min([one.left + one.x for one in group], axis=0)
        near = (_widen(self._front, np.maximum) - _widen(left, np.minimum)).max()
        nearest = boxed - (0.3 if is_sign else 0.63) * DIGIT_HEIGHT  # or a comma slips below a whole 7
        return max(near, nearest) + (self._draw_gap(is_sign=is_sign) + self._blank) * DIGIT_HEIGHT

    def _draw_gap(self, *, is_sign: bool) -> float:
        rng = self._rng
        gap = self._spacing.gap + rng.normal(0, 0.06 * self._hand.unsteadiness)
        if happens(rng, self._spacing.touching):
            gap = -abs(rng.normal(0.03, 0.06)) if happens(rng, 0.75) else -rng.uniform(0.05, 0.3)
        return float(max(gap * 0.6, -0.1) if is_sign else gap)

    def paint(self) -> WrittenLine:
        """Draw all of it on a canvas of its size."""
        bounds = np.array([character.bounds for character in self.characters])
        left, top = bounds[:, :2].min(axis=0) - MARGIN
        right, bottom = bounds[:, 2:].max(axis=0) + MARGIN
        ink = np.zeros((int(bottom - top) + 2, int(right - left) + 2), np.uint8)
        for character in self.characters:
            character.paint(ink, (-left, -top), self._hand.pen, self._rng)
        for one, other in self._joins:
            join = _draw_join(one, other, self._rng)
            if join is not None:
                self._hand.pen.draw(ink, join - np.array([left, top], np.float32), self._rng)
        boxes = bounds - (left, top, left, top)
        marks = (Mark(one.label, *box.tolist()) for one, box in zip(self.characters, boxes, strict=True))
        return WrittenLine(ink, tuple(marks), float(-top))


def _widen(profile: NDArray[np.float64], reach: np.ufunc) -> NDArray[np.float64]:
    """Let each band reach as far as the bands above and below it."""
    wide = profile.copy()
    wide[1:] = reach(wide[1:], profile[:-1])
    wide[:-1] = reach(wide[:-1], profile[1:])
    return wide


def _bend(paths: tuple[Path, ...], rng: Rng) -> tuple[Path, ...]:
    """Bend paths along two waves about as long as a digit."""
    pitch = rng.uniform(0.4, 1.1, 2) / DIGIT_HEIGHT
    phase, height = rng.uniform(0, 2 * np.pi, 2), rng.normal(0, 0.035 * DIGIT_HEIGHT, 2)
    return tuple(
        (path + height * np.sin(2 * np.pi * path[:, ::-1] * pitch + phase)).astype(np.float32)
        for path in paths
    )


def _draw_join(one: Character, other: Character, rng: Rng) -> Path | None:
    """Lead the pen from the end of one digit to the start of the next, if a pen would."""
    if one.ends is None or other.ends is None or max(one.label, other.label) >= DIGIT_COUNT:
        return None
    start, end = one.ends[1], other.ends[0]
    if not 0 < end[0] - start[0] < _MAX_JOIN * DIGIT_HEIGHT:
        return None
    sag = np.array([0, rng.normal(0, 0.12) * DIGIT_HEIGHT], np.float32)
    along = np.linspace(0, 1, 14, dtype=np.float32)[:, None]
    middle = (start + end) / 2 + sag
    return (1 - along) ** 2 * start + 2 * along * (1 - along) * middle + along**2 * end


def draw_long_one(rng: Rng) -> tuple[Path, ...]:
    """Return a 1 with an upstroke up to as long as its stem, some with a foot."""
    rise = rng.uniform(0.25, 1.1)
    run = rng.uniform(0.15, 0.7) * rise
    if happens(rng, 0.15):
        rise, run = 0.02, 0.0  # a plain stroke
    bend = rng.uniform(-0.08, 0.08)
    upstroke = np.array([(0, rise - 1), (run * 0.5 + bend, rise * 0.45 - 1), (run, -1)], np.float32)
    stem = [(run + rng.normal(0, 0.02), -0.5), (run + rng.normal(0, 0.05), 0)]
    line = np.concatenate([resample(upstroke, 0.05), np.array(stem, np.float32)])
    if happens(rng, 0.15):
        line[:, 0] -= np.float32(rng.normal(0, 0.25)) * line[:, 1]
    lines = [line]
    if happens(rng, 0.15):
        ends = (run - rng.uniform(0.1, 0.35), run + rng.uniform(0.1, 0.35))
        lines.append(np.array([(x, rng.normal(0, 0.02)) for x in ends], np.float32))
    return tuple(lines)


def draw_zeros(count: int, hand: Hand, rng: Rng) -> list[PenCharacter]:
    """Write zeros in one stroke, loop after loop, joined above, between or below."""
    loops = _draw_loops(count, hand, rng)
    whole = smooth(np.concatenate(loops), 5)
    ends = np.cumsum([len(loop) for loop in loops])
    zeros = []
    for loop, end in zip(loops, ends, strict=True):
        left = np.array([loop[:, 0].min(), 0], np.float32)
        paths = [whole[end - len(loop) : end + 1]]  # one point more leads to the next loop
        if end == len(whole) and happens(rng, 0.25):
            paths.append(_draw_tail(whole[-1], rng))
        box_of = from_paths("0", (loop,), pen_width=hand.pen.width)
        zeros.append(_with_paths(box_of, tuple(path - left for path in paths)).move(float(left[0])))
    return zeros


def _with_paths(one: PenCharacter, paths: tuple[Path, ...]) -> PenCharacter:
    return PenCharacter(one.label, one.left, one.right, one.box, paths=paths)


def _draw_loops(count: int, hand: Hand, rng: Rng) -> list[Path]:
    height = DIGIT_HEIGHT * rng.uniform(0.33, 1.0)
    lift = DIGIT_HEIGHT * rng.uniform(0.05, 0.4) if happens(rng, 0.25) else 0.0
    openness = rng.uniform(0.3, 1.0) if happens(rng, 0.25) else 0.0  # radians that a loop lacks
    climb = rng.normal(0, 0.08)
    width = height * rng.uniform(0.55, 1.15) * hand.aspect
    step = width * rng.uniform(0.92, 1.45)
    start, overrun = np.radians(rng.uniform(-120, -30)), np.radians(rng.uniform(0, 120))
    way = -1 if happens(rng, 0.8) else 1
    loops = []
    for number in range(count):
        across, down = np.exp(rng.normal(0, (0.1, 0.08))) * (width / 2, height / 2)
        x, y = (number * step, -down - lift - climb * number * height) + rng.normal(0, 0.04, 2) * (
            width,
            height,
        )
        turn = (
            2 * np.pi
            + overrun * rng.uniform(0.5, 1.2) * (number < count - 1)
            - openness * rng.uniform(0.3, 1)
        )
        angles = start + way * np.linspace(0, turn, 26)
        points = np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)
        points[:, 0] -= hand.slant * points[:, 1]
        loops.append(points.astype(np.float32))
    return loops


def _draw_tail(start: NDArray[np.float32], rng: Rng) -> Path:
    """Let the pen run on to the right."""
    along = np.linspace(0, 1, 12)
    run, rise = rng.uniform(0.2, 0.9) * DIGIT_HEIGHT, rng.normal(0, 0.1) * DIGIT_HEIGHT
    return (start + np.stack([along * run, rise * along**2], axis=1)).astype(np.float32)
