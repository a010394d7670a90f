"""The scenes that a network is shown: drawn once by many hands, taken the service's way, kept in a file."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np
from rich.progress import track

from app.digits.colours import ColourPicture
from app.digits.contract import SIDE, CanonicalPicture, DigitBatch
from training import fonts, glyphs, number_scenes, scenes
from training.data import Labelled
from training.glyphs import Glyph
from training.recipe import Recipe, Scenes

HELD_OUT_SEED: Final = 1_000_000  # added to the run's own
CHUNK: Final = 500  # scenes to a task: seconds of work, and a seed of its own
PIECES: Final = "pieces"  # of numbers that were cut at the wrong place: no digits, though made of them
NO_DIGIT: Final = 255  # the label of what is none
FROM_MNIST: Final = 0.55  # of the digits in scenes; the others come from fonts and drawn strokes
DRAWN: Final = 0.35  # of these others
GROUND_ALONE: Final = 0.08  # of what is no digit: no glyph at all

Rng: TypeAlias = np.random.Generator
Kind: TypeAlias = str
Draw: TypeAlias = Callable[[Labelled, Rng], tuple[ColourPicture, int]]
Shown: TypeAlias = tuple[ColourPicture, CanonicalPicture]


@dataclass(frozen=True)
class Pool:
    """Canonical pictures of scenes: digits with their labels, and what is no digit, uint8 (n, 28, 28)."""

    digits: Labelled
    no_digits: DigitBatch


def drawn(training: Labelled, recipe: Recipe, *, file: Path, chunk: int = CHUNK) -> Pool:
    """Return the recipe's scenes, from `file` if they have been drawn before.

    Every chunk has a seed of its own, so the same scenes come out whatever the number of cores.

    Raises:
        DataError: the fonts can't be fetched.
    """
    if not file.exists():
        fonts.fetch()
        pictures, labels = _draw(training, recipe, chunk)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_stem(f"{file.stem}-draft")
        np.savez_compressed(draft, pictures=pictures, labels=labels)
        draft.replace(file)
    with np.load(file) as kept:
        pictures, labels = kept["pictures"], kept["labels"]
    digits = labels != NO_DIGIT
    return Pool(Labelled(pictures[digits], labels[digits]), pictures[~digits])


def held_out(validation: Labelled, recipe: Recipe, *, file: Path) -> Pool:
    """Return scenes of digits that no training saw, as many of each kind; none without a digit."""
    few = Scenes(
        photographs=CHUNK, scans=CHUNK, drawings=CHUNK, worn=CHUNK, boxed=CHUNK, no_digits=0, pieces=0
    )
    return drawn(
        validation, dataclasses.replace(recipe, scenes=few, seed=recipe.seed + HELD_OUT_SEED), file=file
    )


def samples(training: Labelled, *, each: int = 14, seed: int = 0) -> list[tuple[Kind, list[Shown]]]:
    """Return some scenes of every kind with what the network is shown of them."""
    rng = np.random.default_rng(seed)
    return [(kind, list(islice(_shown(KINDS[kind], training, rng), each))) for kind in KINDS]


def _shown(draw: Draw, training: Labelled, rng: Rng) -> Iterator[Shown]:
    while True:
        scene, _ = draw(training, rng)
        picture = scenes.seen(scene)
        if picture is not None:
            yield scene, picture


def _draw(training: Labelled, recipe: Recipe, chunk: int) -> tuple[DigitBatch, np.ndarray]:
    assert recipe.scenes is not None  # noqa: S101  for mypy: only such recipes are drawn
    tasks = list(_tasks(recipe.scenes, chunk))
    work = partial(_chunk, training=training, seed=recipe.seed, size=chunk)
    # spawned, since a fork of a process that runs TensorFlow's threads can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, cv2.setNumThreads, (1,)) as workers:
        done = list(track(workers.map(work, tasks), "Drawing scenes", total=len(tasks), transient=True))
    return np.concatenate([pictures for pictures, _ in done]), np.concatenate([labels for _, labels in done])


def _tasks(counts: Scenes, chunk: int) -> Iterator[tuple[Kind, int]]:
    """Yield the kind and number of every chunk."""
    for kind in (*KINDS, PIECES):
        yield from ((kind, number) for number in range(-(-getattr(counts, kind) // chunk)))


def _chunk(
    task: tuple[Kind, int], *, training: Labelled, seed: int, size: int
) -> tuple[DigitBatch, np.ndarray]:
    kind, number = task
    rng = np.random.default_rng((seed, (*KINDS, PIECES).index(kind), number))
    if kind == PIECES:
        pieces = number_scenes.no_digits(training, count=size, seed=int(rng.integers(2**31)))
        return pieces, np.full(size, NO_DIGIT, np.uint8)
    pictures, labels = np.empty((size, SIDE, SIDE), np.uint8), np.empty(size, np.uint8)
    done = 0
    while done < size:
        scene, label = KINDS[kind](training, rng)
        picture = scenes.seen(scene)
        if picture is not None:
            pictures[done], labels[done] = picture, label
            done += 1
    return pictures, labels


def digit(training: Labelled, rng: Rng) -> tuple[Glyph, int]:
    """Return a digit's glyph and label: one of MNIST, of a font, or drawn."""
    if rng.random() < FROM_MNIST:
        row = rng.integers(len(training))
        glyph, label = glyphs.from_mnist(training.pictures[row]), int(training.digits[row])
    else:
        glyph, label = (glyphs.drawn_digit if rng.random() < DRAWN else glyphs.typed_digit)(rng)
    return glyphs.bent(glyph, rng=rng), label


def _in(scene: Callable[..., ColourPicture], training: Labelled, rng: Rng) -> tuple[ColourPicture, int]:
    glyph, label = digit(training, rng)
    return scene(glyph, rng=rng), label


def _worn(training: Labelled, rng: Rng) -> tuple[ColourPicture, int]:
    row = rng.integers(len(training))
    return scenes.worn(training.pictures[row], rng=rng), int(training.digits[row])


def _no_digit(_: Labelled, rng: Rng) -> tuple[ColourPicture, int]:
    if rng.random() < GROUND_ALONE:
        return scenes.ground_alone(rng), NO_DIGIT
    glyph = glyphs.no_digit(rng)
    glyph = glyphs.bent(glyph, rng=rng)
    scene = (scenes.photograph, scenes.scan, scenes.drawing, scenes.drawing)[rng.integers(4)]
    return scene(glyph, rng=rng), NO_DIGIT


KINDS: Final[dict[Kind, Draw]] = {
    "photographs": partial(_in, scenes.photograph),
    "scans": partial(_in, scenes.scan),
    "drawings": partial(_in, scenes.drawing),
    "worn": _worn,
    "no_digits": _no_digit,
    "boxed": partial(_in, scenes.boxed),
}
