from __future__ import annotations

import pytest

from training.recipe import RECIPES, Recipe
from training.search.overrides import override
from training.search.search_space import Range, recipe_values, space_of


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipes_own_values_lie_in_its_space_and_make_it_again(recipe: Recipe) -> None:
    values = recipe_values(recipe)
    for name, of in space_of(recipe).items():
        value = values[name]
        if isinstance(of, Range):
            assert isinstance(value, float)
            assert of.low <= value <= of.high
        else:
            assert value in of
    assert override(recipe, **values) == recipe
