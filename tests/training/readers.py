"""Recipes of the finder and the line reader for the shards of tests/training/conftest.py: seconds."""

from __future__ import annotations

import dataclasses

from training.recipe import FINDER, LINE_READER, ReadingRecipe


def _shorten(recipe: ReadingRecipe) -> ReadingRecipe:
    return dataclasses.replace(
        recipe,
        epochs=2,
        steps_in_epoch=6,
        warmup=3,
        learning_rate=0.002,
        average=0.5,
        shards=tuple((kind, 2) for kind, _ in recipe.shards),
        shards_in_epoch=tuple((kind, 1) for kind, _ in recipe.shards),
        columns_in_batch=400,
        strips_in_batch=(2, 4),
        documents_in_batch=4,
    )


QUICK_READER, QUICK_FINDER = _shorten(LINE_READER), _shorten(FINDER)
