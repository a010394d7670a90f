from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from app.digits.contract import BOXES, HEAT
from tests.training.readers import QUICK_FINDER, QUICK_READER
from tests.training.runs import TRAINS
from training.learn.drawn_batches import (
    Batch,
    bend_strips,
    change_pictures,
    cut_batches,
    list_shards,
    yield_epoch,
    yield_held_out,
)
from training.recipe import ReadingRecipe
from training.scenes.shards import Shelves
from training.scenes.strips import WIDTH_STEP

pytestmark = TRAINS


def flatten(batch: Batch) -> list[np.ndarray]:
    pictures, truth = batch
    return [pictures, *(truth.values() if isinstance(truth, dict) else [truth])]


@pytest.mark.parametrize("recipe", [QUICK_READER, QUICK_FINDER])
def test_an_epoch_is_the_same_whenever_it_is_shown(shelves: Shelves, recipe: ReadingRecipe) -> None:
    one, other, next_one = (list(yield_epoch(recipe, shelves.training, epoch)) for epoch in (1, 1, 2))
    assert len(one) == recipe.steps_in_epoch
    for batch, again in zip(one, other, strict=True):
        for array, same in zip(flatten(batch), flatten(again), strict=True):
            assert np.array_equal(array, same)
    assert not all(np.array_equal(batch[0], later[0]) for batch, later in zip(one, next_one, strict=True))


def test_every_shard_is_shown_in_turn() -> None:
    shown = [list_shards(QUICK_FINDER, "strips", epoch) for epoch in range(6)]
    assert shown[:2] == [[0], [1]]
    assert all(sorted(chain(*shown[at : at + 2])) == [0, 1] for at in (0, 2, 4))


def test_the_finder_sees_strips_and_documents_and_the_reader_strips(shelves: Shelves) -> None:
    shapes = {batch.shape[1:3] for batch, _ in yield_epoch(QUICK_FINDER, shelves.training, 0)}
    assert (128, 128) in shapes
    assert {height for height, _ in shapes} >= {32, 128}
    assert all(height % 16 == width % 16 == 0 for height, width in shapes)
    assert {batch.shape[1] for batch, _ in yield_epoch(QUICK_READER, shelves.training, 0)} == {32}


def test_the_truth_has_a_cell_for_every_four_pixels(shelves: Shelves) -> None:
    for pictures, truth in yield_epoch(QUICK_FINDER, shelves.training, 0):
        count, height, width, _ = pictures.shape
        assert truth[HEAT].shape == (count, height // 4, width // 4, 21)
        assert truth[BOXES].shape == (count, height // 4, width // 4, 5)


def test_batches_of_narrow_strips_hold_more_of_them(shelves: Shelves) -> None:
    groups = shelves.training.load("strips", 0)
    batches = cut_batches(groups, QUICK_READER, np.random.default_rng(0))
    assert sum(map(len, batches)) <= 24
    low, high = QUICK_READER.strips_in_batch
    assert all(len(batch) <= high for batch in batches)
    assert low <= high


def test_changed_pictures_keep_their_marks_and_their_writing(shelves: Shelves) -> None:
    group = shelves.training.load("documents", 0)[0]
    changed = change_pictures(group, np.random.default_rng(0))
    assert changed.marks is group.marks
    assert not np.array_equal(changed.pictures, group.pictures)
    likeness = [
        abs(np.corrcoef(one.ravel(), other.ravel())[0, 1])
        for one, other in zip(group.pictures, changed.pictures, strict=True)
        if one.std() > 20
    ]
    assert np.median(likeness) > 0.9


def test_strips_are_bent_within_bounds_and_keep_their_writing(shelves: Shelves) -> None:
    group = max(shelves.training.load_or_draw("strips", 0), key=len)
    height, width = group.pictures.shape[1:]
    widths = set()
    for seed in range(8):
        bent = bend_strips(group, np.random.default_rng(seed))
        assert bent.pictures.shape[:2] == (len(group), height)
        assert bent.texts is group.texts
        widths.add(bent.pictures.shape[2])
        ink, written = (np.abs(one - np.median(one)).sum() for one in (bent.pictures, group.pictures))
        assert 0.5 < ink / written < 2
    assert all(one % WIDTH_STEP == 0 and 0.5 < one / width < 2 for one in widths)
    assert len(widths) > 1


def test_held_out_pictures_are_always_the_same(shelves: Shelves) -> None:
    one, other = (list(yield_held_out(QUICK_FINDER, shelves.validation, batches=2)) for _ in range(2))
    assert len(one) == 4  # two of strips, two of documents
    for batch, again in zip(one, other, strict=True):
        assert np.array_equal(batch[0], again[0])
