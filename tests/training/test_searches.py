"""What is kept of a search, on disk and in Optuna's trials; nothing is trained here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.test_docs import WORKSHOP
from training.errors import RunError, WorkshopError
from training.learn.runs import Origin
from training.recipe import RECIPES, Augmentation, Recipe, recipe_named
from training.spaces import SPACES, Range, Values, changed, options, own, rounded, space_of

pytest.importorskip("optuna", reason="needs the training extra")

import optuna

from training import searches
from training.searches import ACCURACY, SECONDS, Search

RECIPE = recipe_named("mlp-128")
ORIGIN = Origin(recipe=RECIPE, data_sha256="pictures", commit="commit")


@pytest.fixture
def search(tmp_path: Path) -> Search:
    search = Search(tmp_path / "search")
    search.start(ORIGIN)
    return search


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipes_own_values_lie_in_its_space_and_make_it_again(recipe: Recipe) -> None:
    values = own(recipe)
    for name, of in space_of(recipe).items():
        value = values[name]
        if isinstance(of, Range):
            assert isinstance(value, float)
            assert of.low <= value <= of.high
        else:
            assert value in of
    assert changed(recipe, **values) == recipe


def test_everything_that_is_searched_is_an_option_of_train() -> None:
    for space in SPACES.values():
        assert {f"--{name.replace('_', '-')}" for name in space} <= WORKSHOP["train"]


def test_values_become_a_recipe_and_the_options_that_give_it() -> None:
    values = rounded(
        {"learning_rate": 0.00123456, "batch_size": 64, "schedule": "cosine", "augmentation": 0.5}
    )
    assert options(values) == ("--learning-rate 0.00123 --batch-size 64 --schedule cosine --augmentation 0.5")
    recipe = changed(RECIPE, **values)
    assert (recipe.learning_rate, recipe.batch_size, recipe.schedule) == (0.00123, 64, "cosine")
    assert recipe.augmentation == Augmentation(
        rotation=5.0, shear=0.075, scale=0.05, shift=1.0, bend=0.3, stroke=0.3
    )
    assert changed(recipe, augmentation=0.0).augmentation is None


def test_a_value_that_a_network_has_no_place_for_is_refused() -> None:
    with pytest.raises(WorkshopError, match="linear has no hidden layer of its own to drop units of"):
        changed(recipe_named("linear"), dropout=0.5)
    with pytest.raises(WorkshopError, match="Nothing of 'mine' may be searched: give it a space"):
        space_of(dataclasses.replace(RECIPE, name="mine"))


def test_a_search_is_never_overwritten_unasked_and_can_be_discarded(search: Search) -> None:
    with pytest.raises(RunError, match=r"holds a search: --resume goes on with it, --fresh discards it"):
        search.start(ORIGIN)
    search.discard()
    assert not search.folder.exists()
    search.start(ORIGIN)


def test_a_folder_that_is_no_search_is_neither_used_nor_discarded(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for method in (Search(tmp_path).discard, lambda: Search(tmp_path).start(ORIGIN)):
        with pytest.raises(RunError, match=r"holds something that is no search"):
            method()
    assert (tmp_path / "thesis.txt").exists()


def test_a_search_goes_on_only_with_its_own_recipe_space_and_pictures(search: Search) -> None:
    search.require(RECIPE, data_sha256="pictures")
    with pytest.raises(RunError, match=r"varies another recipe: give the same options, or --fresh"):
        search.require(dataclasses.replace(RECIPE, epochs=3), data_sha256="pictures")
    with pytest.raises(RunError, match=r"was started on other pictures"):
        search.require(RECIPE, data_sha256="others")
    file = search.folder / "search.json"
    notes = json.loads(file.read_text())
    file.write_text(json.dumps({**notes, "space": notes["space"].replace("0.5", "0.9")}))  # of dropout
    with pytest.raises(RunError, match=r"searches another space than training/spaces.py has now"):
        search.require(RECIPE, data_sha256="pictures")
    file.write_text(json.dumps({**notes, "recipe": {**notes["recipe"], "momentum": 0.9}}))
    with pytest.raises(RunError, match=r"was started with other fields of a recipe: --fresh"):
        search.require(RECIPE, data_sha256="pictures")
    with pytest.raises(RunError, match=r"There is no search in .*training tune NAME"):
        Search(search.folder / "none").require(RECIPE, data_sha256="pictures")


def test_one_process_at_a_time_goes_on_with_a_search_and_others_may_look(search: Search) -> None:
    with search.held():
        with pytest.raises(RunError, match=r"Another process goes on with .*--run FOLDER"), search.held():
            pass
        with pytest.raises(RunError, match=r"Another process"):
            search.discard()
        with search.opened() as study:
            assert searches.tried(study) == []
    with search.held() as study:
        assert searches.ask(study, RECIPE).params == own(RECIPE)


def test_a_search_that_stopped_in_a_trial_asks_for_the_same_again(search: Search) -> None:
    for number in range(3):
        asked = []
        for _ in range(2):  # stopped, and gone on with
            with search.held() as study:
                trial = searches.ask(study, RECIPE)
                asked.append(trial.params)
        assert asked[0] == asked[1]
        assert (asked[0] == own(RECIPE)) == (number == 0)
        with search.held() as study:
            ended(study, asked[0], losses=[0.1])
    with search.opened() as study:
        assert [one.number for one in searches.tried(study)] == [0, 1, 2]


def test_importance_is_told_of_what_moves_the_loss_once_there_are_enough_trials(search: Search) -> None:
    with search.held() as study:
        for number in range(searches.FOREST):
            assert searches.importance(study) == {}
            rate = 0.001 * (1 + number)
            ended(study, {**own(RECIPE), "learning_rate": rate, "dropout": 0.1 * (number % 3)}, losses=[rate])
        found = searches.importance(study)
    assert found.keys() == SPACES["mlp-128"].keys()
    assert next(iter(found)) == "learning_rate"
    assert found["learning_rate"] > 0.8
    assert sum(found.values()) == pytest.approx(1)


def ended(study: optuna.Study, values: Values, *, losses: Sequence[float]) -> None:
    """Add a trial as if it had been trained to its last epoch."""
    study.enqueue_trial(dict(values))
    trial = study.ask(searches.distributions(space_of(RECIPE)))
    for epoch, loss in enumerate(losses):
        trial.report(loss, epoch)
    trial.set_user_attr(ACCURACY, 0.9)
    trial.set_user_attr(SECONDS, 1.0)
    study.tell(trial, losses[-1])
