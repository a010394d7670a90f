"""A search on disk and in Optuna's storage; no network is trained here."""

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


def test_a_search_is_not_overwritten_without_fresh_and_can_be_discarded(search: Search) -> None:
    with pytest.raises(RunError, match=r"holds a search, --resume continues it. --fresh discards it"):
        search.start(ORIGIN)
    search.discard()
    assert not search.folder.exists()
    search.start(ORIGIN)


def test_a_folder_with_other_files_is_neither_used_nor_discarded(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for method in (Search(tmp_path).discard, lambda: Search(tmp_path).start(ORIGIN)):
        with pytest.raises(RunError, match=r"holds files that are not a search"):
            method()
    assert (tmp_path / "thesis.txt").exists()


def test_a_search_is_resumed_only_with_its_own_recipe_space_and_pictures(search: Search) -> None:
    search.check_resumable(RECIPE, data_sha256="pictures")
    with pytest.raises(RunError, match=r"varies another recipe: give the same options, or --fresh"):
        search.check_resumable(dataclasses.replace(RECIPE, epochs=3), data_sha256="pictures")
    with pytest.raises(RunError, match=r"was started on other pictures"):
        search.check_resumable(RECIPE, data_sha256="others")
    file = search.folder / "search.json"
    notes = json.loads(file.read_text())
    file.write_text(json.dumps({**notes, "space": notes["space"].replace("0.5", "0.9")}))  # of dropout
    with pytest.raises(RunError, match=r"another search space than training/search/search_space.py has now"):
        search.check_resumable(RECIPE, data_sha256="pictures")
    file.write_text(json.dumps({**notes, "recipe": {**notes["recipe"], "momentum": 0.9}}))
    with pytest.raises(RunError, match=r"was started when recipes had other fields: --fresh"):
        search.check_resumable(RECIPE, data_sha256="pictures")
    with pytest.raises(RunError, match=r"There is no search in .*training tune NAME"):
        Search(search.folder / "none").check_resumable(RECIPE, data_sha256="pictures")


def test_one_process_at_a_time_may_add_trials_and_others_may_read_them(search: Search) -> None:
    with search.lock():
        with pytest.raises(RunError, match=r"Another process is using .*--run FOLDER"), search.lock():
            pass
        with pytest.raises(RunError, match=r"Another process"):
            search.discard()
        with search.open() as study:
            assert list_trials(study) == []
    with search.lock() as study:
        assert choose_next_trial(study, RECIPE).params == get_recipe_values(RECIPE)


def test_a_search_that_stopped_during_a_trial_resumes_with_the_same_values(search: Search) -> None:
    for number in range(3):
        values = []
        for _ in range(2):  # stopped, and resumed
            with search.lock() as study:
                trial = choose_next_trial(study, RECIPE)
                values.append(trial.params)
        assert values[0] == values[1]
        assert (values[0] == get_recipe_values(RECIPE)) == (number == 0)
        with search.lock() as study:
            add_trial(study, values[0], losses=[0.1])
    with search.open() as study:
        assert [trial.number for trial in list_trials(study)] == [0, 1, 2]


def test_importance_is_measured_once_there_are_enough_trials(search: Search) -> None:
    with search.lock() as study:
        for number in range(MIN_IMPORTANCE_TRIALS):
            assert measure_importance(study) == {}
            rate = 0.001 * (1 + number)
            add_trial(
                study,
                {**get_recipe_values(RECIPE), "learning_rate": rate, "dropout": 0.1 * (number % 3)},
                losses=[rate],
            )
        importance = measure_importance(study)
    assert importance.keys() == SPACES["mlp-128"].keys()
    assert next(iter(importance)) == "learning_rate"
    assert importance["learning_rate"] > 0.8
    assert sum(importance.values()) == pytest.approx(1)
