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

SECONDS: Final = "seconds"  # attribute: of the search so far; of a trial: of the search when it ended
ACCURACY: Final = "accuracy"  # attribute of a trial, on the validation pictures
LOCK_FILE: Final = "lock.db"
RANDOM_TRIALS: Final = 10  # trials before the sampler looks at what came of the earlier ones
UNPRUNED_TRIALS: Final = 5  # trials that reach the last epoch before others are measured by them
MIN_IMPORTANCE_TRIALS: Final = 10  # trials to the last epoch; fewer say nothing of importance


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The result of one set of values; those of number 0 are the recipe's own."""

    number: int
    values: Values
    losses: tuple[float, ...]  # on the validation pictures, by epoch
    accuracy: float  # on the validation pictures
    seconds: float  # of the search when it ended
    complete: bool  # whether it reached the last epoch; else it was stopped early

    @property
    def loss(self) -> float:
        """The loss of the last epoch, and of the network that training would give."""
        return self.losses[-1]

    def errors(self, pictures: int) -> int:
        """Return the number of errors in so many validation pictures."""
        return round((1 - self.accuracy) * pictures)


@dataclass(frozen=True)
class SeedScores:
    """The results of the same values with several seeds, on the validation pictures."""

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
        """The run of the current trial, or of the one in which the search was stopped."""
        return Run(self.folder / "trial", scenes_folder=self.folder)

    def check_run(self, whose: str, *, seed: int) -> Run:
        """Return the run that trains with the recipe's own or the best values, and another seed."""
        return Run(self.folder / f"{whose}-{seed}", scenes_folder=self.folder)

    def start(self, origin: Origin) -> None:
        """Make the folder and write down what is searched."""
        self.describe({**dataclasses.asdict(origin), "space": to_json(find_space(origin.recipe))})

    def discard(self) -> None:
        """Remove the search, if there is one and no other process goes on with it."""
        if self._description_file.exists():
            with _exclusive(self.folder / LOCK_FILE):
                pass  # released at once, since not every system removes an open file
        super().discard()

    def read_recipe(self) -> Recipe:
        """Return the recipe that is varied.

        Raises:
            RunError: there is no search, or one from before recipes had other fields.
        """
        try:
            return Recipe.from_json(json.dumps(self.read_description()["recipe"]))
        except (KeyError, TypeError) as error:
            msg = f"{self.folder} was started with other fields of a recipe: --fresh discards it."
            raise RunError(msg) from error

    def check_resumable(self, recipe: Recipe, *, data_sha256: str) -> None:
        """Raise RunError unless this recipe, with its present space, is searched on these pictures."""
        description = self.read_description()
        if self.read_recipe() != recipe:
            other = "varies another recipe"
        elif description["space"] != to_json(find_space(recipe)):
            other = "searches another space than training/search/search_space.py has now"
        elif description["data_sha256"] != data_sha256:
            other = "was started on other pictures"
        else:
            return
        msg = f"{self.folder} {other}: give the same options, or --fresh."
        raise RunError(msg)

    @contextmanager
    def lock(self) -> Iterator[optuna.Study]:
        """Open the trials to go on with them; RunError if another process does so already."""
        with self.open() as study, _exclusive(self.folder / LOCK_FILE):
            yield study

    @contextmanager
    def open(self) -> Iterator[optuna.Study]:
        """Open the trials to read them."""
        self.read_description()  # refuses a folder without a search
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # SQLite: half a line, which a killed process may leave in Optuna's journal, makes that unreadable
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.folder / 'trials.db'}")
        try:
            yield optuna.create_study(storage=storage, study_name="search", load_if_exists=True)
        finally:
            storage.remove_session()
            storage.engine.dispose()


def choose_next_trial(study: optuna.Study, recipe: Recipe) -> optuna.Trial:
    """Return the next trial; the first has the recipe's own values.

    Which values come next depends only on the trials that have ended: a search that was stopped in the
    middle of one returns to it.
    """
    for interrupted in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(interrupted.number, state=TrialState.FAIL)
    ended = len(list_trials(study))
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if not ended and not waiting:
        study.enqueue_trial(get_recipe_values(recipe))
    study.sampler = optuna.samplers.TPESampler(seed=ended, n_startup_trials=RANDOM_TRIALS)
    # under a cosine, and with bent pictures, the first third of the epochs says little of the last
    study.pruner = optuna.pruners.MedianPruner(
        n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=recipe.epochs // 3
    )
    return study.ask(to_distributions(find_space(recipe)))


def list_trials(study: optuna.Study) -> list[TrialResult]:
    """Return the trials that have ended, in their order."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [_read_result(number, trial) for number, trial in enumerate(ended)]


def rank_trials(trials: Iterable[TrialResult]) -> list[TrialResult]:
    """Return the trials that reached the last epoch, the one of the lowest loss first."""
    return sorted((trial for trial in trials if trial.complete), key=lambda trial: trial.loss)


def measure_importance(study: optuna.Study) -> dict[str, float]:
    """Return each hyper-parameter's share of what moves the loss, the largest first; empty of few trials.

    Of the trials that reached the last epoch, by functional ANOVA over a forest of random trees (Hutter,
    Hoos, Leyton-Brown: An Efficient Approach for Assessing Hyperparameter Importance, 2014).
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
    """Return a space as Optuna takes it."""
    return {
        name: FloatDistribution(of.low, of.high, log=of.log)
        if isinstance(of, Range)
        else CategoricalDistribution(of)
        for name, of in space.items()
    }


@contextmanager
def _exclusive(file: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however that ends, on every system: an open transaction."""
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            remedy = "wait for it, or search elsewhere with --run FOLDER"
            msg = f"Another process goes on with {file.parent}: {remedy}."
            raise RunError(msg) from error
        yield
