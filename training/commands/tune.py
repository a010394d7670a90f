"""The command that searches for better hyper-parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from training.commands import arguments as arg
from training.commands.arguments import console, refuse_both
from training.data import mnist
from training.data.labelled import Labelled
from training.errors import TrainingError
from training.learn.runs import RUNS, Origin, get_current_commit
from training.recipe import Recipe, find_recipe
from training.search.overrides import format_options, override
from training.search.search_space import find_space
from training.show import tables

if TYPE_CHECKING:
    from training.search.study import Search, TrialResult

MAX_LISTED_TRIALS: Final = 10

Minutes = Annotated[float, typer.Option(min=0, help="Length of the search, including earlier calls.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs of a trial. Default: the recipe's.")]
Seeds = Annotated[
    int | None,
    typer.Option(min=2, help="Afterwards, train the best and the recipe's values with this many new seeds."),
]


def tune(
    name: arg.RecipeName,
    path: arg.MnistFile = None,
    run_folder: arg.SearchFolder = None,
    resume: arg.Resume = False,
    fresh: arg.Fresh = False,
    minutes: Minutes = 30,
    epochs: Epochs = None,
    examples: arg.Examples = None,
    check: Seeds = None,
) -> None:
    """Search for better hyper-parameters. You can stop it at any time and continue with --resume."""
    refuse_both(resume=resume, fresh=fresh)
    recipe = find_recipe(name)
    find_space(recipe)
    search = open_search(name, run_folder)
    if resume and not epochs:
        epochs = search.read_recipe().epochs
    recipe = override(recipe, epochs=epochs or recipe.epochs)
    training, validation = mnist.load_training(mnist.fetch(path))
    training = training[: examples or len(training)]
    if fresh:
        search.discard()
    if resume:
        search.check_resumable(recipe, data_sha256=training.sha256)
    else:
        search.start(Origin(recipe=recipe, data_sha256=training.sha256, commit=get_current_commit()))
    from training.search.tune import tune as try_values  # noqa: PLC0415  slow: imports TensorFlow

    for trial in try_values(search, training, validation, minutes=minutes):
        print(tables.format_trial(trial, pictures=len(validation)), flush=True)
    best = _print_best(search, pictures=len(validation))
    if check:
        _check(search, training, validation, best=best, seeds=check)
    _print_command(recipe, best)


def open_search(name: str, folder: Path | None) -> Search:
    """Return the search of a recipe, in `folder` or in runs/NAME-tune."""
    from training.search.study import Search  # noqa: PLC0415  slow: imports Optuna

    return Search(folder or RUNS / f"{name}-tune")


def _print_best(search: Search, *, pictures: int) -> TrialResult:
    from training.search.study import list_trials, rank_trials  # noqa: PLC0415  slow: imports Optuna

    with search.open() as study:
        trials = list_trials(study)
    ranked = rank_trials(trials)
    early = len(trials) - len(ranked)
    console.print(f"{len(trials)} trials, {early} of them stopped early; trial 0 uses the recipe's values.")
    if not ranked:
        msg = (
            "No trial reached its last epoch: use --resume and more --minutes, or --fresh and fewer --epochs."
        )
        raise TrainingError(msg)
    console.print(tables.build_trial_table(ranked[:MAX_LISTED_TRIALS], pictures=pictures))
    return ranked[0]


def _check(
    search: Search, training: Labelled, validation: Labelled, *, best: TrialResult, seeds: int
) -> None:
    from training.search.tune import check_seeds, welch_p_value  # noqa: PLC0415  slow: imports TensorFlow

    if not best.number:
        console.print("The recipe's values are the best: there is nothing to check.")
        return
    baseline, searched = check_seeds(search, training, validation, values=best.values, seeds=seeds)
    console.print(tables.build_seed_table({"the recipe's": baseline, "the best": searched}))
    chance = welch_p_value(baseline.losses, searched.losses)
    console.print(
        f"If both were equally good, their losses would differ at least this much with p = {chance:.1g}."
    )


def _print_command(recipe: Recipe, best: TrialResult) -> None:
    options = format_options({**best.values, "epochs": recipe.epochs})
    command = f"python -m training train {recipe.name} {options}"
    console.print(f"To train with the best values: {command}", markup=False, highlight=False, soft_wrap=True)
