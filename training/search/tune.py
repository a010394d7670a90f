"""Searches for better hyper-parameters of a recipe, one trial at a time, on validation pictures alone.

Trials are compared by their loss, the mean negative log-probability of the true digit, not by their errors:
a hundred errors vary by ten from one sample of 5,000 pictures to the next, and the loss also rewards
calibrated confidence, which the service returns.

All trials use the recipe's seed, so that `train` with a trial's values gives that trial's network. To tell
how much of the best trial's lead is luck with this seed, `check_seeds` trains with other seeds.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Final

import keras
import optuna
from optuna.trial import TrialState
from scipy import stats

from training.data.labelled import Labelled
from training.errors import RunError
from training.learn.runs import Origin, Run, get_current_commit
from training.learn.train import fit
from training.recipe import Recipe
from training.search.overrides import override
from training.search.search_space import Values, round_values
from training.search.study import (
    ACCURACY,
    SECONDS,
    Search,
    SeedScores,
    TrialResult,
    choose_next_trial,
    list_trials,
)

MINUTE: Final = 60.0  # seconds


def tune(
    search: Search,
    training: Labelled,
    validation: Labelled,
    *,
    minutes: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[TrialResult]:
    """Run trials until the search has taken so many minutes in total, and yield each one that has ended.

    A search can be stopped at any time, and resumes after the last complete epoch. When time is up, the
    current trial completes its epoch, and continues when the search gets more time. RunError if another
    process is using the search.
    """
    recipe = search.read_recipe()
    with search.lock() as study:
        budget = _Budget(study, minutes, clock)
        while not budget.is_spent():
            trial = choose_next_trial(study, recipe)
            callback = _TrialCallback(trial, search.trial, budget, epochs=recipe.epochs)
            _fit(override(recipe, **round_values(trial.params)), training, validation, search.trial, callback)
            state = callback.state()
            if state == TrialState.RUNNING:
                return
            losses, accuracies = search.trial.validation()
            trial.set_user_attr(ACCURACY, accuracies[-1])
            trial.set_user_attr(SECONDS, budget.spent())
            study.tell(trial, losses[-1] if state == TrialState.COMPLETE else None, state)
            yield list_trials(study)[-1]


def check_seeds(
    search: Search, training: Labelled, validation: Labelled, *, values: Values, seeds: int
) -> tuple[SeedScores, SeedScores]:
    """Train with the recipe's own values and with `values`, with the same new seeds; return both scores.

    Every run is kept in the folder of the search, so that an interrupted check can be resumed as well.
    """
    recipe = search.read_recipe()
    scores = {}
    with search.lock():
        for whose, chosen in (("own", {}), ("best", values)):
            scores_by_seed = []
            for seed in range(recipe.seed + 1, recipe.seed + 1 + seeds):
                run = search.check_run(whose, seed=seed)
                _fit(override(recipe, **chosen, seed=seed), training, validation, run)
                losses, accuracies = run.validation()
                scores_by_seed.append((losses[-1], round((1 - accuracies[-1]) * len(validation))))
            scores[whose] = SeedScores(*zip(*scores_by_seed, strict=True))
    return scores["own"], scores["best"]


def welch_p_value(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return how likely samples with equal means differ at least as much (Welch's t-test)."""
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)


class _Budget:
    def __init__(self, study: optuna.Study, minutes: float, clock: Callable[[], float]) -> None:
        self._study = study
        self._seconds = minutes * MINUTE
        self._clock = clock
        self._started: float = clock() - study.user_attrs.get(SECONDS, 0.0)

    def spent(self) -> float:
        seconds = self._clock() - self._started
        self._study.set_user_attr(SECONDS, seconds)
        return seconds

    def is_spent(self) -> bool:
        return self.spent() >= self._seconds


class _TrialCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reports every epoch to the trial, and stops a run that is hopeless or out of time."""

    def __init__(self, trial: optuna.Trial, run: Run, budget: _Budget, *, epochs: int) -> None:
        super().__init__()
        self._trial = trial
        self._run = run
        self._budget = budget
        self._epochs = epochs
        self._reported = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.model.stop_training = self.state() != TrialState.RUNNING or self._budget.is_spent()

    def state(self) -> TrialState:
        """Report all new epochs, including those before the run was resumed, and return the trial's state."""
        losses, _ = self._run.validation()
        for step in range(self._reported, len(losses)):
            self._trial.report(losses[step], step)
        self._reported = len(losses)
        if not math.isfinite(losses[-1]):
            return TrialState.PRUNED
        if len(losses) == self._epochs:
            return TrialState.COMPLETE
        return TrialState.PRUNED if self._trial.should_prune() else TrialState.RUNNING


def _fit(
    recipe: Recipe, training: Labelled, validation: Labelled, run: Run, *callbacks: keras.callbacks.Callback
) -> None:
    """Continue the run after its last complete epoch; restart it if it has another recipe."""
    if not _belongs_to(run, recipe):
        shutil.rmtree(run.folder, ignore_errors=True)
        run.start(Origin(recipe=recipe, data_sha256=training.sha256, commit=get_current_commit()))
    keras.utils.clear_session()  # hundreds of networks in one process would fill its memory
    fit(run, training, validation, callbacks=callbacks, verbose=0)


def _belongs_to(run: Run, recipe: Recipe) -> bool:
    try:
        return run.read_origin().recipe == recipe
    except RunError:  # the process was killed while it removed the folder
        return False
