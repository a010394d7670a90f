from __future__ import annotations

import dataclasses

import pytest

from training.errors import TrainingError
from training.recipe import RECIPES, Recipe, find_recipe


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_survives_a_round_trip_through_the_models_metadata(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_recipes_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        find_recipe("cnn").epochs = 1  # type: ignore[misc]


def test_an_unknown_name_is_refused_with_the_known_names() -> None:
    with pytest.raises(TrainingError, match="'vgg': choose one of linear, mlp-128, mlp-1000, cnn"):
        find_recipe("vgg")
