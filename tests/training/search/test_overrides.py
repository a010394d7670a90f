from __future__ import annotations

import dataclasses

import pytest

from training.errors import TrainingError
from training.recipe import Augmentation, find_recipe
from training.search.overrides import FIELDS, format_options, override, parse_overrides
from training.search.search_space import SPACES, find_space, round_values

RECIPE = find_recipe("mlp-128")


def test_every_searched_value_can_be_set() -> None:
    for space in SPACES.values():
        assert space.keys() <= FIELDS.keys()


def test_values_become_a_recipe_and_options_that_give_the_same_recipe() -> None:
    values = round_values(
        {"learning_rate": 0.00123456, "batch_size": 64, "schedule": "cosine", "augmentation": 0.5}
    )
    options = format_options(values)
    assert options == (
        "--set learning_rate=0.00123 --set batch_size=64 --set schedule=cosine --set augmentation=0.5"
    )
    assert parse_overrides(options.replace("--set ", "").split()) == values
    recipe = override(RECIPE, **values)
    assert (recipe.learning_rate, recipe.batch_size, recipe.schedule) == (0.00123, 64, "cosine")
    assert recipe.augmentation == Augmentation(
        rotation=5.0, shear=0.075, scale=0.05, shift=1.0, bend=0.3, stroke=0.3
    )
    assert override(recipe, augmentation=0.0).augmentation is None


@pytest.mark.parametrize("assignment", ["momentum=0.9", "epochs", "=3", "name=cnn"])
def test_an_unknown_name_is_refused_with_the_known_names(assignment: str) -> None:
    with pytest.raises(TrainingError, match=rf"'{assignment}' can't be set: .* epochs, batch_size, "):
        parse_overrides([assignment])


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("epochs=ten", "Input should be a valid integer"),
        ("epochs=2.5", "Input should be a valid integer"),
        ("batch_size=0", "Input should be greater than 0"),
        ("learning_rate=nan", "Input should be a finite number"),
        ("learning_rate=inf", "Input should be a finite number"),
        ("dropout=1", "Input should be less than or equal to 0.99"),
        ("schedule=linear", "Input should be 'constant' or 'cosine'"),
        ("seed=", "Input should be a valid integer"),
    ],
)
def test_an_invalid_value_is_refused_with_the_expected_type_or_limit(assignment: str, expected: str) -> None:
    with pytest.raises(TrainingError, match=f"'{assignment}' can't be set: {expected}"):
        parse_overrides([assignment])


def test_a_value_that_a_network_cant_use_is_refused() -> None:
    with pytest.raises(TrainingError, match="linear has no hidden layer that dropout could apply to"):
        override(find_recipe("linear"), dropout=0.5)
    with pytest.raises(TrainingError, match="'mine' has no search space: add one"):
        find_space(dataclasses.replace(RECIPE, name="mine"))
