"""The command that searches for better numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from training.commands import arguments as arg
from training.commands.arguments import console, refuse_both
from training.data import mnist
from training.data.labelled import Labelled
from training.errors import WorkshopError
from training.learn.runs import RUNS, Origin, get_current_commit
from training.recipe import Recipe, find_recipe
from training.search.overrides import format_options, override
from training.search.search_space import find_space
from training.show import tables

if TYPE_CHECKING:
    from training.search.study import Search, TrialResult

MAX_LISTED_TRIALS: Final = 10  # trials in a table

Minutes = Annotated[float, typer.Option(min=0, help="Of the whole search, resumed or not.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Of a trial; else the recipe's.")]
Seeds = Annotated[
    int | None,
    typer.Option(min=2, help="Then train the best and the recipe's own values with this many new seeds."),
]


def tune(
    name: arg.Name,
    path: arg.MnistFile = None,
    run: arg.SearchFolder = None,
    resume: arg.Resume = False,
    fresh: arg.Fresh = False,
    minutes: Minutes = 30,
    epochs: Epochs = None,
    examples: arg.Examples = None,
    check: Seeds = None,
) -> None:
    """Search for better numbers, on validation pictures. Stop it at any time: --resume goes on."""
    refuse_both(resume=resume, fresh=fresh)
    recipe = find_recipe(name)
    find_space(recipe)
    search = open_search(name, run)
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
    from training.search.tune import tune as try_values  # noqa: PLC0415  seconds: TensorFlow

    for trial in try_values(search, training, validation, minutes=minutes):
        print(tables.format_trial(trial, pictures=len(validation)), flush=True)
    best = _print_best(search, pictures=len(validation))
    if check:
        _check(search, training, validation, best=best, seeds=check)
    _print_command(recipe, best)


def open_search(name: str, folder: Path | None) -> Search:
    """Return the search of a recipe in `folder`, else in its usual place."""
    from training.search.study import Search  # noqa: PLC0415  a second: Optuna

    return Search(folder or RUNS / f"{name}-tune")


def _print_best(search: Search, *, pictures: int) -> TrialResult:
    from training.search.study import list_trials, rank_trials  # noqa: PLC0415  a second: Optuna

    with search.open() as study:
        trials = list_trials(study)
    ranked = rank_trials(trials)
    early = len(trials) - len(ranked)
    console.print(
        f"{len(trials)} trials, {early} of them stopped early; trial 0 has the recipe's own values."
    )
    if not ranked:
        msg = "No trial reached its last epoch: --resume and more --minutes, or --fresh and fewer --epochs."
        raise WorkshopError(msg)
    console.print(tables.build_trial_table(ranked[:MAX_LISTED_TRIALS], pictures=pictures))
    return ranked[0]


def _check(
    search: Search, training: Labelled, validation: Labelled, *, best: TrialResult, seeds: int
) -> None:
    from training.search.tune import check_seeds, welch_p_value  # noqa: PLC0415  seconds: TensorFlow

    if not best.number:
        console.print("The recipe's own values are the best: there is nothing to check.")
        return
    own, searched = check_seeds(search, training, validation, values=best.values, seeds=seeds)
    console.print(tables.build_seed_table({"the recipe's": own, "the best": searched}))
    chance = welch_p_value(own.losses, searched.losses)
    console.print(
        f"If they were equally good, seeds alone would separate their losses this far with p = {chance:.1g}."
    )


def _print_command(recipe: Recipe, best: TrialResult) -> None:
    options = format_options({**best.values, "epochs": recipe.epochs})
    command = f"python -m training train {recipe.name} {options}"
    console.print(f"The best: {command}", markup=False, highlight=False, soft_wrap=True)
