"""What is kept of a search, on disk and in Optuna's trials; nothing is trained here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.training.trials import add_trial
from training.errors import RunError
from training.learn.runs import Origin
from training.recipe import find_recipe
from training.search.search_space import SPACES, get_recipe_values
from training.search.study import (
    MIN_IMPORTANCE_TRIALS,
    Search,
    choose_next_trial,
    list_trials,
    measure_importance,
)

RECIPE = find_recipe("mlp-128")
ORIGIN = Origin(recipe=RECIPE, data_sha256="pictures", commit="commit")


@pytest.fixture
def search(tmp_path: Path) -> Search:
    search = Search(tmp_path / "search")
    search.start(ORIGIN)
    return search


def test_a_search_is_never_overwritten_unasked_and_can_be_discarded(search: Search) -> None:
    with pytest.raises(RunError, match=r"holds a search, --resume goes on with it. --fresh discards it"):
        search.start(ORIGIN)
    search.discard()
    assert not search.folder.exists()
    search.start(ORIGIN)


def test_a_folder_that_is_no_search_is_neither_used_nor_discarded(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for method in (Search(tmp_path).discard, lambda: Search(tmp_path).start(ORIGIN)):
        with pytest.raises(RunError, match=r"holds something that is not a search"):
            method()
    assert (tmp_path / "thesis.txt").exists()


def test_a_search_goes_on_only_with_its_own_recipe_space_and_pictures(search: Search) -> None:
    search.check_resumable(RECIPE, data_sha256="pictures")
    with pytest.raises(RunError, match=r"varies another recipe: give the same options, or --fresh"):
        search.check_resumable(dataclasses.replace(RECIPE, epochs=3), data_sha256="pictures")
    with pytest.raises(RunError, match=r"was started on other pictures"):
        search.check_resumable(RECIPE, data_sha256="others")
    file = search.folder / "search.json"
    notes = json.loads(file.read_text())
    file.write_text(json.dumps({**notes, "space": notes["space"].replace("0.5", "0.9")}))  # of dropout
    with pytest.raises(
        RunError, match=r"searches another space than training/search/search_space.py has now"
    ):
        search.check_resumable(RECIPE, data_sha256="pictures")
    file.write_text(json.dumps({**notes, "recipe": {**notes["recipe"], "momentum": 0.9}}))
    with pytest.raises(RunError, match=r"was started with other fields of a recipe: --fresh"):
        search.check_resumable(RECIPE, data_sha256="pictures")
    with pytest.raises(RunError, match=r"There is no search in .*training tune NAME"):
        Search(search.folder / "none").check_resumable(RECIPE, data_sha256="pictures")


def test_one_process_at_a_time_goes_on_with_a_search_and_others_may_look(search: Search) -> None:
    with search.lock():
        with pytest.raises(RunError, match=r"Another process goes on with .*--run FOLDER"), search.lock():
            pass
        with pytest.raises(RunError, match=r"Another process"):
            search.discard()
        with search.open() as study:
            assert list_trials(study) == []
    with search.lock() as study:
        assert choose_next_trial(study, RECIPE).params == get_recipe_values(RECIPE)


def test_a_search_that_stopped_in_a_trial_asks_for_the_same_again(search: Search) -> None:
    for number in range(3):
        asked = []
        for _ in range(2):  # stopped, and gone on with
            with search.lock() as study:
                trial = choose_next_trial(study, RECIPE)
                asked.append(trial.params)
        assert asked[0] == asked[1]
        assert (asked[0] == get_recipe_values(RECIPE)) == (number == 0)
        with search.lock() as study:
            add_trial(study, asked[0], losses=[0.1])
    with search.open() as study:
        assert [one.number for one in list_trials(study)] == [0, 1, 2]


def test_importance_is_told_of_what_moves_the_loss_once_there_are_enough_trials(search: Search) -> None:
    with search.lock() as study:
        for number in range(MIN_IMPORTANCE_TRIALS):
            assert measure_importance(study) == {}
            rate = 0.001 * (1 + number)
            add_trial(
                study,
                {**get_recipe_values(RECIPE), "learning_rate": rate, "dropout": 0.1 * (number % 3)},
                losses=[rate],
            )
        found = measure_importance(study)
    assert found.keys() == SPACES["mlp-128"].keys()
    assert next(iter(found)) == "learning_rate"
    assert found["learning_rate"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
