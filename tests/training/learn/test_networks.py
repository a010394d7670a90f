from __future__ import annotations

from tests.training.runs import TRAINS
from training.learn.networks import NETWORKS
from training.recipe import RECIPES

pytestmark = TRAINS


def test_there_is_a_network_for_every_recipe() -> None:
    assert {recipe.network for recipe in RECIPES.values()} <= NETWORKS.keys()
