"""Searches with small networks, on drawn digits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.training.runs import TRAINING, TRAINS, VALIDATION
from tests.training.trials import add_trial
from training.learn.runs import Origin, Run
from training.learn.train import train
from training.recipe import Recipe, find_recipe
from training.search.overrides import override
from training.search.search_space import get_recipe_values
from training.search.study import SECONDS, UNPRUNED_TRIALS, Search, TrialResult, list_trials, rank_trials
from training.search.tune import check_seeds, tune, welch_p_value

pytestmark = TRAINS
SHORT = dataclasses.replace(find_recipe("mlp-128"), epochs=2)


class Clock:
    """A clock that advances by a second whenever it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def start_search(folder: Path, recipe: Recipe = SHORT) -> Search:
    search = Search(folder)
    search.start(Origin(recipe=recipe, data_sha256=TRAINING.sha256, commit="0"))
    return search


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """A search of two trials that was never interrupted."""
    search = start_search(tmp_path_factory.mktemp("searches") / "uninterrupted")
    assert len(list(tune(search, TRAINING, VALIDATION, minutes=6 / 60, clock=Clock()))) == 2
    return search


def read_trials(search: Search) -> list[TrialResult]:
    with search.open() as study:
        return list_trials(study)


def test_the_first_trial_has_the_recipes_values_and_train_repeats_every_trial(
    uninterrupted: Search, tmp_path: Path
) -> None:
    first, second = read_trials(uninterrupted)
    assert first.values == get_recipe_values(SHORT)
    assert second.values != first.values
    run = Run(tmp_path / "again")
    train(override(SHORT, **second.values), TRAINING, VALIDATION, run=run)
    np.testing.assert_allclose(run.read_history()["val_loss"], second.losses, rtol=1e-3)
    assert second.errors(len(VALIDATION)) == pytest.approx(
        200 * (1 - run.read_history()["val_accuracy"][-1]), abs=1
    )


def test_a_search_out_of_time_stops_after_an_epoch_and_more_time_resumes_it(
    uninterrupted: Search, tmp_path: Path
) -> None:
    search = start_search(tmp_path / "broken")
    assert list(tune(search, TRAINING, VALIDATION, minutes=2 / 60, clock=Clock())) == []
    assert (
        len(search.trial.read_history()["loss"]) == 1
    )  # the clock was read once at the start and once after this epoch
    assert len(list(tune(search, TRAINING, VALIDATION, minutes=7 / 60, clock=Clock()))) == 2
    with search.open() as study:
        assert study.user_attrs[SECONDS] == 8  # 2 in the first call, 6 in the second
    for one, other in zip(read_trials(uninterrupted), read_trials(search), strict=True):
        assert one.values == other.values
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-3)
    assert list(tune(search, TRAINING, VALIDATION, minutes=7 / 60, clock=Clock())) == []


def test_a_hopeless_trial_is_stopped_after_a_third_of_its_epochs(tmp_path: Path) -> None:
    longer = dataclasses.replace(SHORT, epochs=4)
    search = start_search(tmp_path / "hopeless", longer)
    with search.lock() as study:
        for _ in range(UNPRUNED_TRIALS):
            add_trial(study, get_recipe_values(longer), losses=[1e-6] * 4)
    (trial,) = tune(search, TRAINING, VALIDATION, minutes=3 / 60, clock=Clock())
    assert not trial.complete
    assert len(trial.losses) == 2
    assert trial.loss == trial.losses[-1] > 1e-6


def test_a_trial_that_diverges_is_stopped_at_once(tmp_path: Path) -> None:
    search = start_search(tmp_path / "diverged", dataclasses.replace(SHORT, learning_rate=1e30))
    (trial,) = tune(search, TRAINING, VALIDATION, minutes=2 / 60, clock=Clock())
    assert not trial.complete
    assert len(trial.losses) == 1
    assert rank_trials(read_trials(search)) == []


def test_the_best_values_are_checked_with_other_seeds_and_nothing_is_trained_twice(tmp_path: Path) -> None:
    search = start_search(tmp_path / "checked", dataclasses.replace(SHORT, epochs=1))
    better = {"learning_rate": 0.01}
    own_scores, scores = check_seeds(search, TRAINING, VALIDATION, values=better, seeds=1)
    assert scores.losses < own_scores.losses
    assert scores.errors < own_scores.errors
    checkpoints = {file: file.stat().st_mtime_ns for file in search.folder.rglob("checkpoint.keras")}
    assert {file.parent.name for file in checkpoints} == {"own-2", "best-2"}
    assert check_seeds(search, TRAINING, VALIDATION, values=better, seeds=1) == (own_scores, scores)
    assert checkpoints == {file: file.stat().st_mtime_ns for file in search.folder.rglob("checkpoint.keras")}


def test_welchs_p_value_is_large_for_equal_samples_and_small_for_different_ones() -> None:
    assert welch_p_value((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)) == 1
    # by hand: means 1 apart, variances 0.01 of three each, so t = -12.25 with 4 degrees of freedom
    assert welch_p_value((1.0, 1.1, 0.9), (2.0, 2.1, 1.9)) == pytest.approx(0.000255, rel=0.01)
