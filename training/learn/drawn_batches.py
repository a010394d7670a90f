"""Batches of strips and documents for the line reader and the finder, from shards.

An epoch takes the next few shards and shows so many batches of them. Which these are, and how each picture is
changed, depends on the seed and the epoch alone, so a resumed run goes the way of an unbroken one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, cycle
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from app.digits.contract import FINDER_MULTIPLE, STRIP_HEIGHT
from training.learn import finder, line_reader
from training.recipe import ReadingRecipe, ShardKind
from training.scenes.chance import Rng, happens
from training.scenes.documents import clip_marks
from training.scenes.shards import Group, Shelf
from training.scenes.strips import WIDTH_STEP, Marks

Truth: TypeAlias = Any  # an array, or one by output
Batch: TypeAlias = tuple[NDArray[np.uint8], Truth]  # pictures (batch, height, width, 1), and what they say
MakeBatch: TypeAlias = Callable[[Group, Rng], Batch]

GAMMA_SPREAD: Final = 0.2  # standard deviation of gamma's logarithm: a screen's contrast, more or less
MAX_NOISE: Final = 7.7  # grey levels, standard deviation: a phone's in a dim room
INVERTED_SHARE: Final = 0.08  # of the pictures, beside those that are drawn light on dark
CROP_ON_WRITING: Final = 0.85  # of the crops of documents: most of a document is blank
CROP_PLACE: Final = (0.15, 0.85)  # of a crop's side: where the character lies that it is cut about
STRETCH_SPREAD: Final = 0.14  # standard deviations of the logarithm of the width,
TALLNESS_SPREAD: Final = 0.1  # and of the height;
SLANT_SPREAD: Final = 0.18  # of the tangent,
SHIFT_SPREAD: Final = 1.2  # and in pixels
UNSTEADY_SHARE: Final = 0.5  # of the strips: strokes are displaced
MAX_UNSTEADY: Final = 0.9  # pixels, standard deviation
UNSTEADINESS: Final = 8  # pixels between displacements, which are interpolated
TALL_STRIP: Final = 48  # pixels: the finder also sees strips enlarged to that,
TALL_SHARE: Final = 1 / 3  # of them


def yield_epoch(recipe: ReadingRecipe, shelf: Shelf, epoch: int) -> Iterator[Batch]:
    """Yield an epoch's batches; shards that were not drawn yet are drawn now."""
    rng = np.random.default_rng((recipe.seed, epoch))
    make = MAKE_BATCH[recipe.network]
    batches = {
        kind: _cycle_batches(recipe, _load_shards(recipe, shelf, kind, epoch), rng)
        for kind, _ in recipe.shards_in_epoch
    }
    for _ in range(recipe.steps_in_epoch):
        kind: ShardKind = "strips"
        if "documents" in batches and happens(rng, recipe.document_share):
            kind = "documents"
        group = next(batches[kind])
        if recipe.network == "line_reader":
            group = bend_strips(group, rng)
        yield make(change_pictures(group, rng), rng)


def yield_held_out(recipe: ReadingRecipe, shelf: Shelf, *, batches: int) -> Iterator[Batch]:
    """Yield batches of validation writers' pictures, unchanged, always the same ones."""
    rng = np.random.default_rng(0)
    make = MAKE_BATCH[recipe.network]
    for kind, _ in recipe.shards_in_epoch:
        groups = shelf.load_or_draw(kind, 0)
        cut = cut_batches(groups, recipe, rng)
        yield from (make(group, rng) for group in cut[:batches])


def list_shards(recipe: ReadingRecipe, kind: ShardKind, epoch: int) -> list[int]:
    """Return the numbers of an epoch's shards: all in turn, the first time in their order, then in any."""
    count, in_epoch = dict(recipe.shards)[kind], dict(recipe.shards_in_epoch)[kind]
    numbers = []
    for at in range(epoch * in_epoch, (epoch + 1) * in_epoch):
        turn, place = divmod(at, count)
        order = np.random.default_rng((recipe.seed, turn)).permutation(count) if turn else np.arange(count)
        numbers.append(int(order[place]))
    return numbers


def cut_batches(groups: Sequence[Group], recipe: ReadingRecipe, rng: Rng) -> list[Group]:
    """Split groups into batches of about equal cost, in random order; drop remainders."""
    batches = []
    for group in groups:
        height, width = group.pictures.shape[1:]
        is_strip = height == STRIP_HEIGHT
        size = recipe.documents_in_batch
        if is_strip:
            size = int(np.clip(recipe.columns_in_batch // width, *recipe.strips_in_batch))
        order = rng.permutation(len(group))
        starts = range(
            0, len(order) - size // 2, size
        )  # a batch of less than half says little of the average
        batches += [group.take(order[start : start + size]) for start in starts]
    return [batches[at] for at in rng.permutation(len(batches))]


def change_pictures(group: Group, rng: Rng) -> Group:
    """Change contrast and noise of every picture, and turn some light on dark."""
    gammas = np.exp(rng.normal(0, GAMMA_SPREAD, len(group)))
    noise = rng.uniform(0, MAX_NOISE, len(group))
    levels = np.arange(256) / 255
    changed = np.empty_like(group.pictures)
    for picture, out, gamma, spread in zip(group.pictures, changed, gammas, noise, strict=True):
        curve = levels**gamma * 255
        if happens(rng, INVERTED_SHARE):
            curve = 255 - curve
        toned = cv2.LUT(picture, curve.astype(np.float32))
        toned += rng.standard_normal(picture.shape, np.float32) * np.float32(spread)
        np.clip(toned, 0, 255, out=toned)
        out[:] = toned
    return Group(changed, group.marks, group.texts)


def make_reader_batch(group: Group, _: Rng) -> Batch:
    """Return strips and the classes of their texts."""
    return group.pictures[..., None], line_reader.encode_texts(group.texts.tolist())


def bend_strips(group: Group, rng: Rng) -> Group:
    """Write strips anew: wider or narrower, slanted, higher or lower, with unsteady strokes."""
    height, old_width = group.pictures.shape[1:]
    stretch = float(np.exp(rng.normal(0, STRETCH_SPREAD)))
    width = max(WIDTH_STEP, round(old_width * stretch / WIDTH_STEP) * WIDTH_STEP)
    bent = np.empty((len(group), height, width), np.uint8)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    for picture, out in zip(group.pictures, bent, strict=True):
        slant, tall = rng.normal(0, SLANT_SPREAD), np.exp(rng.normal(0, TALLNESS_SPREAD))
        shift = rng.normal(0, SHIFT_SPREAD)
        y = (rows - height / 2) / np.float32(tall) + np.float32(height / 2 + shift)
        x = columns * np.float32(old_width / width) + np.float32(slant) * (rows - height / 2)
        if happens(rng, UNSTEADY_SHARE):
            spread = rng.uniform(0, MAX_UNSTEADY)
            x, y = (at + _draw_displacements((height, width), spread, rng) for at in (x, y))
        cv2.remap(picture, x, y, cv2.INTER_LINEAR, out, cv2.BORDER_REPLICATE)
    return Group(bent, group.marks, group.texts)


def make_finder_batch(group: Group, rng: Rng) -> Batch:
    """Return crops of documents, or strips at one of two sizes, with the heat and the boxes to be found."""
    if group.pictures.shape[1] == STRIP_HEIGHT:
        pictures, marks = (
            _enlarge_strips(group) if happens(rng, TALL_SHARE) else (group.pictures, list(group.marks))
        )
    else:
        pictures, marks = _crop_documents(group, finder.CROP, rng)
    height, width = pictures.shape[1:]
    return pictures[..., None], finder.make_truth(marks, (height, width))


def _draw_displacements(size: tuple[int, int], spread: float, rng: Rng) -> NDArray[np.float32]:
    """Return smooth displacements in pixels, (height, width), of a standard deviation of about `spread`."""
    height, width = size
    knots = max(2, height // UNSTEADINESS), max(2, width // UNSTEADINESS)
    displacements = rng.normal(0, spread, knots).astype(np.float32)
    return np.asarray(cv2.resize(displacements, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _cycle_batches(recipe: ReadingRecipe, groups: list[Group], rng: Rng) -> Iterator[Group]:
    return cycle(cut_batches(groups, recipe, rng))


def _load_shards(recipe: ReadingRecipe, shelf: Shelf, kind: ShardKind, epoch: int) -> list[Group]:
    loaded = chain.from_iterable(
        shelf.load_or_draw(kind, number) for number in list_shards(recipe, kind, epoch)
    )
    by_width: dict[int, list[Group]] = {}
    for group in loaded:
        by_width.setdefault(group.pictures.shape[2], []).append(group)
    return [_join(groups) for _, groups in sorted(by_width.items())]


def _join(groups: Sequence[Group]) -> Group:
    marks = tuple(chain.from_iterable(group.marks for group in groups))
    pictures, texts = ([getattr(group, name) for group in groups] for name in ("pictures", "texts"))
    return Group(np.concatenate(pictures), marks, np.concatenate(texts))


def _enlarge_strips(group: Group) -> tuple[NDArray[np.uint8], list[Marks]]:
    scale = TALL_STRIP / STRIP_HEIGHT
    width = int(group.pictures.shape[2] * scale) // FINDER_MULTIPLE * FINDER_MULTIPLE
    pictures = [
        cv2.resize(picture, (width, TALL_STRIP), interpolation=cv2.INTER_LINEAR) for picture in group.pictures
    ]
    factors = np.array([1, *(width / group.pictures.shape[2], scale) * 2], np.float32)
    return np.stack(pictures), [marks * factors for marks in group.marks]


def _crop_documents(group: Group, side: int, rng: Rng) -> tuple[NDArray[np.uint8], list[Marks]]:
    """Cut a square out of every document, mostly one with writing."""
    pictures, cropped = [], []
    for picture, marks in zip(group.pictures, group.marks, strict=True):
        room = np.array(picture.shape[::-1]) - side
        corner = rng.random(2) * room
        if len(marks) and happens(rng, CROP_ON_WRITING):
            mark = marks[int(rng.integers(len(marks)))]
            corner = (mark[1:3] + mark[3:5]) / 2 - side * rng.uniform(*CROP_PLACE, 2)
        left, top = np.clip(corner, 0, room).astype(int)
        pictures.append(picture[top : top + side, left : left + side])
        cropped.append(clip_marks(marks - np.array([0, left, top, left, top], np.float32), side))
    return np.stack(pictures), cropped


MAKE_BATCH: Final[dict[str, MakeBatch]] = {
    "line_reader": make_reader_batch,
    "finder": make_finder_batch,
}
