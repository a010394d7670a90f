from __future__ import annotations

import pytest

from training.recipe import RECIPES, Recipe
from training.search.overrides import override
from training.search.search_space import Range, find_space, get_recipe_values


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipes_values_lie_in_its_space_and_give_the_recipe_again(recipe: Recipe) -> None:
    values = get_recipe_values(recipe)
    for name, domain in find_space(recipe).items():
        value = values[name]
        if isinstance(domain, Range):
            assert isinstance(value, float)
            assert domain.low <= value <= domain.high
        else:
            assert value in domain
    assert override(recipe, **values) == recipe
