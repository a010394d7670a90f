"""The scenes that a network learns from: drawn once by several processes, preprocessed, and kept in a file."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np
from rich.progress import track

from app.digits.colours import ColourPicture
from app.digits.contract import CanonicalPicture, DigitBatch
from app.digits.preprocessing import canonicalise
from app.digits.process import set_up_process
from training.data import fonts
from training.data.labelled import Labelled
from training.files import open_draft
from training.recipe import Recipe, Scenes
from training.scenes import numbers, pages, symbols
from training.scenes.numbers import NEGATIVE_LABEL
from training.scenes.symbols import Glyph

HELD_OUT_SEED: Final = 1_000_001
CHUNK: Final = 500  # scenes in a task: seconds of work; each task has its own seed
PIECES: Final = "pieces"  # pieces cut from numbers; not in `KINDS`, because one picture yields many
MNIST_SHARE: Final = 0.55  # of the digits in scenes; the others come from fonts and drawn strokes
DRAWN_SHARE: Final = 0.35  # of the digits that are not MNIST's; the rest come from fonts
BACKGROUND_SHARE: Final = 0.08  # of the negative examples: those without a glyph
MIN_SIMILARITY: Final = 0.7  # to the drawn digit; below this, the scene is unreadable
MAX_SHIFT: Final = 4  # pixels by which leftovers, such as part of a ruled line, may move the centre of mass

Rng: TypeAlias = np.random.Generator
Kind: TypeAlias = str
DrawExample: TypeAlias = Callable[[Labelled, Rng], "Example"]
SceneSample: TypeAlias = tuple[ColourPicture, CanonicalPicture]


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
        return picture if measure_similarity(picture, _canonicalise(self.glyph)) >= MIN_SIMILARITY else None


@dataclass(frozen=True)
class Pool:
    """Canonical pictures of scenes: digits with their labels, and negative examples, uint8 (n, 28, 28)."""

    digits: Labelled
    negatives: DigitBatch


def load_or_draw(training: Labelled, recipe: Recipe, *, file: Path, chunk: int = CHUNK) -> Pool:
    """Return the recipe's scenes: read from `file` if it exists, else drawn and written to it.

    Every chunk has its own seed, so the scenes depend neither on the number of cores nor on the seed of the
    network.
    """
    if not file.exists():
        fonts.fetch()
        pictures, labels = _draw(training, recipe, chunk)
        file.parent.mkdir(parents=True, exist_ok=True)
        with open_draft(file) as draft:
            np.savez_compressed(draft, pictures=pictures, labels=labels)
    with np.load(file) as archive:
        pictures, labels = archive["pictures"], archive["labels"]
    digits = labels != NEGATIVE_LABEL
    return Pool(Labelled(pictures[digits], labels[digits]), pictures[~digits])


def load_or_draw_held_out(validation: Labelled, recipe: Recipe, *, file: Path) -> Pool:
    """Return scenes of validation digits, the same number of each kind, without negative examples."""
    counts = Scenes(
        photographs=CHUNK, scans=CHUNK, drawings=CHUNK, worn=CHUNK, boxed=CHUNK, no_digits=0, pieces=0,
        seed=HELD_OUT_SEED,
    )  # fmt: skip
    return load_or_draw(validation, dataclasses.replace(recipe, scenes=counts), file=file)


def draw_samples(
    training: Labelled, *, per_kind: int = 14, seed: int = 0
) -> list[tuple[Kind, list[SceneSample]]]:
    """Return some scenes of every kind with their canonical pictures."""
    rng = np.random.default_rng(seed)
    return [
        (
            kind,
            [(example.scene, picture) for example, picture in _draw_readable(kind, training, rng, per_kind)],
        )
        for kind in KINDS
    ]


@cache
def draw_scribbles(count: int, *, seed: int) -> DigitBatch:
    """Return negative examples that consist of strokes; they need no fonts, and are drawn in seconds."""
    rng = np.random.default_rng(seed)
    kinds = (symbols.draw_doodle, symbols.draw_invented)
    glyphs = (symbols.distort(kinds[rng.integers(2)](rng), rng=rng) for _ in range(count))
    return np.stack([_canonicalise(glyph) for glyph in glyphs])


def _draw_readable(
    kind: Kind, training: Labelled, rng: Rng, count: int
) -> list[tuple[Example, CanonicalPicture]]:
    readable: list[tuple[Example, CanonicalPicture]] = []
    while len(readable) < count:
        example = KINDS[kind](training, rng)
        picture = example.canonicalise()
        if picture is not None:
            readable.append((example, picture))
    return readable


def _draw(training: Labelled, recipe: Recipe, chunk: int) -> tuple[DigitBatch, np.ndarray]:
    assert recipe.scenes is not None  # noqa: S101  for mypy
    tasks = list(_list_tasks(recipe.scenes, chunk))
    draw_task = partial(_draw_chunk, training=training, seed=recipe.scenes.seed, count=chunk)
    # spawned, because a fork of a process with TensorFlow's threads can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, set_up_process) as workers:
        chunks = list(
            track(workers.map(draw_task, tasks), "Drawing scenes", total=len(tasks), transient=True)
        )
    return np.concatenate([pictures for pictures, _ in chunks]), np.concatenate(
        [labels for _, labels in chunks]
    )


def _list_tasks(counts: Scenes, chunk: int) -> Iterator[tuple[Kind, int]]:
    for kind in (*KINDS, PIECES):
        yield from ((kind, number) for number in range(-(-getattr(counts, kind) // chunk)))


def _draw_chunk(
    task: tuple[Kind, int], *, training: Labelled, seed: int, count: int
) -> tuple[DigitBatch, np.ndarray]:
    kind, number = task
    rng = np.random.default_rng((seed, (*KINDS, PIECES).index(kind), number))
    if kind == PIECES:
        return numbers.cut_pieces(training, count=count, seed=int(rng.integers(2**31)))
    examples, pictures = zip(*_draw_readable(kind, training, rng, count), strict=True)
    return np.stack(pictures), np.array([example.label for example in examples], np.uint8)


def measure_similarity(one: CanonicalPicture, other: CanonicalPicture) -> float:
    """Return the cosine similarity of two canonical pictures, from 0 to 1, at the best shift."""
    blurred, other_blurred = (
        cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.2) for picture in (one, other)
    )
    padded = cv2.copyMakeBorder(blurred, *(MAX_SHIFT,) * 4, cv2.BORDER_CONSTANT)
    best = cv2.matchTemplate(padded, other_blurred, cv2.TM_CCORR).max()
    return float(best / max(float(np.linalg.norm(blurred) * np.linalg.norm(other_blurred)), 1.0))


def _canonicalise(glyph: Glyph) -> CanonicalPicture:
    return canonicalise(cv2.copyMakeBorder(255 - glyph, *(20,) * 4, cv2.BORDER_CONSTANT, value=255)).picture


def draw_digit(training: Labelled, rng: Rng) -> tuple[Glyph, int]:
    """Return the glyph and the label of a digit from MNIST, from a font, or drawn stroke by stroke."""
    if rng.random() < MNIST_SHARE:
        row = rng.integers(len(training))
        glyph, label = symbols.enlarge_mnist(training.pictures[row]), int(training.digits[row])
    else:
        glyph, label = (symbols.draw_digit if rng.random() < DRAWN_SHARE else symbols.typeset_digit)(rng)
    return symbols.distort(glyph, rng=rng), label


def _draw_with(draw_scene: Callable[..., ColourPicture], training: Labelled, rng: Rng) -> Example:
    glyph, label = draw_digit(training, rng)
    return Example(draw_scene(glyph, rng=rng), label, glyph)


def _draw_worn(training: Labelled, rng: Rng) -> Example:
    row = rng.integers(len(training))
    picture = training.pictures[row]
    return Example(pages.draw_worn(picture, rng=rng), int(training.digits[row]), picture)


def _draw_negative(_: Labelled, rng: Rng) -> Example:
    if rng.random() < BACKGROUND_SHARE:
        return Example(pages.draw_background(rng), NEGATIVE_LABEL)
    glyph = symbols.distort(symbols.draw_negative(rng), rng=rng)
    # drawings are twice as likely
    drawers = (pages.draw_photograph, pages.draw_scan, pages.draw_drawing, pages.draw_drawing)
    draw_scene = drawers[rng.integers(4)]
    return Example(draw_scene(glyph, rng=rng), NEGATIVE_LABEL)


KINDS: Final[dict[Kind, DrawExample]] = {
    "photographs": partial(_draw_with, pages.draw_photograph),
    "scans": partial(_draw_with, pages.draw_scan),
    "drawings": partial(_draw_with, pages.draw_drawing),
    "worn": _draw_worn,
    "no_digits": _draw_negative,
    "boxed": partial(_draw_with, pages.draw_boxed),
}
