"""A search on disk: its recipe, its trials and their results."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from training.errors import RunError
from training.learn.runs import DescribedFolder, Origin, Run
from training.recipe import Recipe
from training.search.search_space import (
    Range,
    Space,
    Values,
    find_space,
    get_recipe_values,
    round_values,
    to_json,
)

# Optuna's attributes
SECONDS: Final = "seconds"  # of a study: its time so far; of a trial: the study's time when it ended
ACCURACY: Final = "accuracy"  # of a trial, on the validation pictures
LOCK_FILE: Final = "lock.db"
RANDOM_TRIALS: Final = 10  # trials before the sampler uses the results of earlier ones
UNPRUNED_TRIALS: Final = 5  # complete trials before any other is stopped early
MIN_IMPORTANCE_TRIALS: Final = 10  # complete trials; fewer say nothing about importance


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The result of a trial. Trial 0 has the recipe's own values."""

    number: int
    values: Values
    losses: tuple[float, ...]  # on the validation pictures, by epoch
    accuracy: float  # on the validation pictures
    seconds: float  # duration of the search when the trial ended
    complete: bool  # whether it reached the last epoch, and was not stopped early

    @property
    def loss(self) -> float:
        """The loss after the last epoch."""
        return self.losses[-1]

    def errors(self, pictures: int) -> int:
        """Return the number of errors among the validation pictures, of which there are `pictures`."""
        return round((1 - self.accuracy) * pictures)


@dataclass(frozen=True)
class SeedScores:
    """The results of one set of values with several seeds, on the validation pictures."""

    losses: tuple[float, ...]
    errors: tuple[int, ...]


@dataclass(frozen=True)
class Search(DescribedFolder):
    """The folder of one search."""

    kind = "search"
    command = "tune"
    description_name = "search.json"

    @property
    def trial(self) -> Run:
        """The run of the current trial, or of the trial during which the search was stopped."""
        return Run(self.folder / "trial", scenes_folder=self.folder)

    def check_run(self, whose: str, *, seed: int) -> Run:
        """Return the run that checks the recipe's values ("own") or the best ones ("best") with a seed."""
        return Run(self.folder / f"{whose}-{seed}", scenes_folder=self.folder)

    def start(self, origin: Origin[Recipe]) -> None:
        """Create the folder, and write down the origin and the search space."""
        self.describe({**dataclasses.asdict(origin), "space": to_json(find_space(origin.recipe))})

    def discard(self) -> None:
        """Remove the search, if it exists and no other process is using it."""
        if self._description_file.exists():
            with _hold_lock(self.folder / LOCK_FILE):
                pass  # released at once, because some systems can't remove an open file
        super().discard()

    def read_recipe(self) -> Recipe:
        """Return the recipe whose values are varied.

        Raises:
            RunError: there is no search, or its recipe has other fields than recipes have now.
        """
        try:
            return Recipe.from_json(json.dumps(self.read_description()["recipe"]))
        except (KeyError, TypeError) as error:
            msg = f"{self.folder} was started when recipes had other fields: --fresh discards it."
            raise RunError(msg) from error

    def check_resumable(self, recipe: Recipe, *, data_sha256: str) -> None:
        """Raise RunError unless the search has this recipe, its current search space and these pictures."""
        description = self.read_description()
        if self.read_recipe() != recipe:
            problem = "varies another recipe"
        elif description["space"] != to_json(find_space(recipe)):
            problem = "was started with another search space than training/search/search_space.py has now"
        elif description["data_sha256"] != data_sha256:
            problem = "was started on other pictures"
        else:
            return
        msg = f"{self.folder} {problem}: give the same options, or --fresh."
        raise RunError(msg)

    @contextmanager
    def lock(self) -> Iterator[optuna.Study]:
        """Open the study to add trials; RunError if another process does so already."""
        with self.open() as study, _hold_lock(self.folder / LOCK_FILE):
            yield study

    @contextmanager
    def open(self) -> Iterator[optuna.Study]:
        """Open the study to read its trials."""
        self.read_description()  # refuses a folder without a search
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # SQLite, because a killed process may leave half a line in Optuna's journal, which can't be read then
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.folder / 'trials.db'}")
        try:
            yield optuna.create_study(storage=storage, study_name="search", load_if_exists=True)
        finally:
            storage.remove_session()
            storage.engine.dispose()


def choose_next_trial(study: optuna.Study, recipe: Recipe) -> optuna.Trial:
    """Return the next trial; the first has the recipe's own values.

    The choice depends only on the trials that have ended, so a search that was stopped during a trial
    resumes with the same values.
    """
    for interrupted in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(interrupted.number, state=TrialState.FAIL)
    ended = len(list_trials(study))
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if not ended and not waiting:
        study.enqueue_trial(get_recipe_values(recipe))
    study.sampler = optuna.samplers.TPESampler(seed=ended, n_startup_trials=RANDOM_TRIALS)
    # with cosine decay and augmentation, the first third of the epochs says little about the last
    study.pruner = optuna.pruners.MedianPruner(
        n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=recipe.epochs // 3
    )
    return study.ask(to_distributions(find_space(recipe)))


def list_trials(study: optuna.Study) -> list[TrialResult]:
    """Return the trials that have ended, in order."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [_read_result(number, trial) for number, trial in enumerate(ended)]


def rank_trials(trials: Iterable[TrialResult]) -> list[TrialResult]:
    """Return the trials that reached the last epoch, with the lowest loss first."""
    return sorted((trial for trial in trials if trial.complete), key=lambda trial: trial.loss)


def measure_importance(study: optuna.Study) -> dict[str, float]:
    """Return each hyper-parameter's share of the variance of the loss, largest first; empty for few trials.

    Measured on complete trials by functional ANOVA over a random forest (Hutter, Hoos, Leyton-Brown: An
    Efficient Approach for Assessing Hyperparameter Importance, 2014).
    """
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < MIN_IMPORTANCE_TRIALS:
        return {}
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def _read_result(number: int, trial: FrozenTrial) -> TrialResult:
    return TrialResult(
        number=number,
        values=round_values(trial.params),
        losses=tuple(loss for _, loss in sorted(trial.intermediate_values.items())),
        accuracy=trial.user_attrs[ACCURACY],
        seconds=trial.user_attrs[SECONDS],
        complete=trial.state == TrialState.COMPLETE,
    )


def to_distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return a search space as Optuna's distributions."""
    return {
        name: FloatDistribution(domain.low, domain.high, log=domain.log)
        if isinstance(domain, Range)
        else CategoricalDistribution(domain)
        for name, domain in space.items()
    }


@contextmanager
def _hold_lock(file: Path) -> Iterator[None]:
    """Hold a lock: an open SQLite transaction, which every system ends with the process."""
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            remedy = "wait for it, or search elsewhere with --run FOLDER"
            msg = f"Another process is using {file.parent}: {remedy}."
            raise RunError(msg) from error
        yield
