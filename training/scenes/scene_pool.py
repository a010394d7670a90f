"""The scenes that a network learns from: drawn once by several processes, preprocessed, and kept in a file."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from rich.progress import track

from app.digits.colours import ColourPicture
from app.digits.contract import CanonicalPicture, DigitBatch
from app.digits.preprocessing import canonicalise
from app.digits.process import set_up_process
from training.data import fonts, pen_archives, strokes
from training.data.labelled import Labelled
from training.data.strokes import StrokeSamples
from training.files import open_draft
from training.recipe import Recipe, Scenes
from training.scenes import numbers, pages, pen_glyphs, symbols
from training.scenes.chance import happens, pick_weighted
from training.scenes.numbers import NEGATIVE_LABEL
from training.scenes.symbols import Glyph

HELD_OUT_SEED: Final = 1_000_001
CHUNK: Final = 500  # scenes in a task: seconds of work; each task has its own seed
PIECES: Final = "pieces"  # pieces cut from numbers; not in `KINDS`, because one picture yields many
BACKGROUND_SHARE: Final = 0.07  # of the negative examples: those without a glyph
PIECE_DIGITS: Final = 300  # of MNIST, and as many of pens, of which the numbers of a task are composed
PEN_SHARE: Final = 0.25  # of the other negative examples: real letters and signs
MIN_SIMILARITY: Final = 0.7  # to the drawn digit; below this, the scene is unreadable,
MIN_SIMILARITY_OF_ONES: Final = 0.45  # but a bar is a 1, however broad
MAX_SHIFT: Final = 4  # pixels by which leftovers, such as part of a ruled line, may move the centre of mass

Rng: TypeAlias = np.random.Generator
Kind: TypeAlias = str
Split: TypeAlias = Literal["training", "validation"]
DrawExample: TypeAlias = Callable[["Sources", Rng], "Example"]
DrawDigit: TypeAlias = Callable[["Sources", Rng], tuple[Glyph, int]]
SceneSample: TypeAlias = tuple[ColourPicture, CanonicalPicture]


@dataclass(frozen=True)
class Sources:
    """What glyphs are made of: of training or of validation, never of both."""

    mnist: Labelled
    strokes: StrokeSamples

    @classmethod
    def find(cls, digits: Labelled, split: Split) -> Sources:
        """Return MNIST's `digits` and the strokes of the writers of `split`; fonts are fetched, too.

        Raises:
            DataError: strokes or fonts are missing and can't be fetched.
        """
        fonts.fetch()
        return cls(digits, getattr(strokes.load(pen_archives.fetch()), split))


@dataclass(frozen=True)
class Example:
    """A scene and its label: a digit, or NEGATIVE_LABEL."""

    scene: ColourPicture
    label: int
    glyph: Glyph | None = None  # None for a negative example

    def canonicalise(self) -> CanonicalPicture | None:
        """Return the canonical picture, or None if there is no ink or the digit is no longer readable."""
        picture = pages.read_scene(self.scene)
        if picture is None or self.glyph is None:
            return picture
        needed = MIN_SIMILARITY_OF_ONES if self.label == 1 else MIN_SIMILARITY
        return picture if measure_similarity(picture, canonicalise_glyph(self.glyph)) >= needed else None


@dataclass(frozen=True)
class Pool:
    """Canonical pictures of scenes: digits with their labels, and negative examples, uint8 (n, 28, 28)."""

    digits: Labelled
    negatives: DigitBatch


def load_or_draw(
    find_sources: Callable[[], Sources], recipe: Recipe, *, file: Path, chunk: int = CHUNK
) -> Pool:
    """Return the recipe's scenes: read from `file` if it exists, else drawn and written to it.

    Args:
        find_sources: is called only if there is something to draw.
        recipe: of a network with scenes.
        file: of an earlier call, or to be written.
        chunk: scenes in a task.

    Every chunk has its own seed, so the scenes depend neither on the number of cores nor on the seed of the
    network.
    """
    if not file.exists():
        pictures, labels = _draw(find_sources(), recipe, chunk)
        file.parent.mkdir(parents=True, exist_ok=True)
        with open_draft(file) as draft:
            np.savez_compressed(draft, pictures=pictures, labels=labels)
    with np.load(file) as archive:
        pictures, labels = archive["pictures"], archive["labels"]
    is_digit = labels != NEGATIVE_LABEL
    return Pool(Labelled(pictures[is_digit], labels[is_digit]), pictures[~is_digit])


def load_or_draw_held_out(validation: Labelled, recipe: Recipe, *, file: Path) -> Pool:
    """Return scenes of validation digits, the same number of each kind, without negative examples."""
    counts = Scenes(
        photographs=CHUNK, scans=CHUNK, drawings=CHUNK, worn=CHUNK, boxed=CHUNK, no_digits=0, pieces=0,
        seed=HELD_OUT_SEED,
    )  # fmt: skip
    held_out = dataclasses.replace(recipe, scenes=counts)
    return load_or_draw(partial(Sources.find, validation, "validation"), held_out, file=file)


def draw_samples(
    sources: Sources, *, per_kind: int = 14, seed: int = 0
) -> list[tuple[Kind, list[SceneSample]]]:
    """Return some scenes of every kind with their canonical pictures."""
    rng = np.random.default_rng(seed)
    return [
        (
            kind,
            [(example.scene, picture) for example, picture in _draw_readable(kind, sources, rng, per_kind)],
        )
        for kind in KINDS
    ]


@cache
def draw_scribbles(count: int, *, seed: int) -> DigitBatch:
    """Return negative examples that consist of strokes; they need no fonts, and are drawn in seconds."""
    rng = np.random.default_rng(seed)
    kinds = (symbols.draw_doodle, symbols.draw_invented)
    glyphs = (symbols.distort(kinds[rng.integers(2)](rng), rng=rng) for _ in range(count))
    return np.stack([canonicalise_glyph(glyph) for glyph in glyphs])


def _draw_readable(
    kind: Kind, sources: Sources, rng: Rng, count: int
) -> list[tuple[Example, CanonicalPicture]]:
    readable: list[tuple[Example, CanonicalPicture]] = []
    while len(readable) < count:
        example = KINDS[kind](sources, rng)
        picture = example.canonicalise()
        if picture is not None:
            readable.append((example, picture))
    return readable


def _draw(sources: Sources, recipe: Recipe, chunk: int) -> tuple[DigitBatch, np.ndarray]:
    assert recipe.scenes is not None  # noqa: S101  for mypy
    tasks = list(_list_tasks(recipe.scenes, chunk))
    draw_task = partial(_draw_in_worker, seed=recipe.scenes.seed, count=chunk)
    # spawned, because a fork of a process with TensorFlow's threads can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, _set_up_worker, (sources,)) as workers:
        chunks = list(
            track(workers.map(draw_task, tasks), "Drawing scenes", total=len(tasks), transient=True)
        )
    return np.concatenate([pictures for pictures, _ in chunks]), np.concatenate(
        [labels for _, labels in chunks]
    )


def _list_tasks(counts: Scenes, chunk: int) -> Iterator[tuple[Kind, int]]:
    for kind in (*KINDS, PIECES):
        yield from ((kind, number) for number in range(-(-getattr(counts, kind) // chunk)))


_worker_sources: ContextVar[Sources] = ContextVar("sources")  # sent to a process once, not with every task


def _set_up_worker(sources: Sources) -> None:
    set_up_process()
    _worker_sources.set(sources)


def _draw_in_worker(task: tuple[Kind, int], *, seed: int, count: int) -> tuple[DigitBatch, np.ndarray]:
    return _draw_chunk(task, sources=_worker_sources.get(), seed=seed, count=count)


def _draw_chunk(
    task: tuple[Kind, int], *, sources: Sources, seed: int, count: int
) -> tuple[DigitBatch, np.ndarray]:
    kind, number = task
    rng = np.random.default_rng((seed, (*KINDS, PIECES).index(kind), number))
    if kind == PIECES:
        return numbers.cut_pieces(_mix_digits(sources, rng), count=count, seed=int(rng.integers(2**31)))
    examples, pictures = zip(*_draw_readable(kind, sources, rng, count), strict=True)
    return np.stack(pictures), np.array([example.label for example in examples], np.uint8)


def _mix_digits(sources: Sources, rng: Rng) -> Labelled:
    """Return as many digits of MNIST as a pen writes, with slashed zeros and ligatures."""
    glyphs, labels = zip(
        *(pen_glyphs.write_digit(sources.strokes, rng) for _ in range(PIECE_DIGITS)), strict=True
    )
    rows = sources.mnist[rng.integers(len(sources.mnist), size=PIECE_DIGITS)]
    pictures = np.stack([canonicalise_glyph(glyph) for glyph in glyphs])
    return Labelled(
        np.concatenate([rows.pictures, pictures]),
        np.concatenate([rows.digits, np.array(labels, np.uint8)]),
    )


def measure_similarity(one: CanonicalPicture, other: CanonicalPicture) -> float:
    """Return the cosine similarity of two canonical pictures, from 0 to 1, at the best shift."""
    blurred, other_blurred = (
        cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.2) for picture in (one, other)
    )
    padded = cv2.copyMakeBorder(blurred, *(MAX_SHIFT,) * 4, cv2.BORDER_CONSTANT)
    best = cv2.matchTemplate(padded, other_blurred, cv2.TM_CCORR).max()
    return float(best / max(float(np.linalg.norm(blurred) * np.linalg.norm(other_blurred)), 1.0))


def canonicalise_glyph(glyph: Glyph) -> CanonicalPicture:
    """Return the canonical picture of a glyph, drawn in black on white."""
    return canonicalise(cv2.copyMakeBorder(255 - glyph, *(20,) * 4, cv2.BORDER_CONSTANT, value=255)).picture


def draw_digit(sources: Sources, rng: Rng) -> tuple[Glyph, int]:
    """Return the glyph and the label of a digit from MNIST, a tablet or a font, or drawn by knots."""
    glyph, label = pick_weighted(rng, _DIGIT_SHARES)(sources, rng)
    return symbols.distort(glyph, rng=rng), label


def _pick_from_mnist(sources: Sources, rng: Rng) -> tuple[Glyph, int]:
    row = rng.integers(len(sources.mnist))
    return symbols.enlarge_mnist(sources.mnist.pictures[row]), int(sources.mnist.digits[row])


_DIGIT_SHARES: Final[tuple[tuple[float, DrawDigit], ...]] = (
    (0.36, _pick_from_mnist),
    (0.38, lambda sources, rng: pen_glyphs.write_digit(sources.strokes, rng)),
    (0.14, lambda _, rng: symbols.typeset_digit(rng)),
    (0.12, lambda _, rng: symbols.draw_digit(rng)),
)


def _draw_with(draw_scene: Callable[..., ColourPicture], sources: Sources, rng: Rng) -> Example:
    glyph, label = draw_digit(sources, rng)
    return Example(draw_scene(glyph, rng=rng), label, glyph)


def _draw_worn(sources: Sources, rng: Rng) -> Example:
    row = rng.integers(len(sources.mnist))
    picture = sources.mnist.pictures[row]
    return Example(pages.draw_worn(picture, rng=rng), int(sources.mnist.digits[row]), picture)


def _draw_negative(sources: Sources, rng: Rng) -> Example:
    if happens(rng, BACKGROUND_SHARE):
        return Example(pages.draw_background(rng), NEGATIVE_LABEL)
    is_written = happens(rng, PEN_SHARE)
    glyph = pen_glyphs.write_stranger(sources.strokes, rng) if is_written else symbols.draw_negative(rng)
    # drawings are twice as likely
    drawers = (pages.draw_photograph, pages.draw_scan, pages.draw_drawing, pages.draw_drawing)
    draw_scene = drawers[rng.integers(4)]
    return Example(draw_scene(symbols.distort(glyph, rng=rng), rng=rng), NEGATIVE_LABEL)


KINDS: Final[dict[Kind, DrawExample]] = {
    "photographs": partial(_draw_with, pages.draw_photograph),
    "scans": partial(_draw_with, pages.draw_scan),
    "drawings": partial(_draw_with, pages.draw_drawing),
    "worn": _draw_worn,
    "no_digits": _draw_negative,
    "boxed": partial(_draw_with, pages.draw_boxed),
}
