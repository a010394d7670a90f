"""The commands that fetch data, and train and export networks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from app.digits.catalogue import MODEL_FILE, VERSION_SEPARATOR, locate_folder
from training.commands import arguments as arg
from training.commands import reading
from training.commands.arguments import MODELS, console, find_run, notify, refuse_both
from training.data import fonts, mnist, user_pictures
from training.data.labelled import Labelled
from training.errors import TrainingError
from training.export.lineage import COLUMNS, list_changes
from training.judge.evaluation import load_classifier, load_finder
from training.recipe import READING_RECIPES, FineTuning, find_recipe
from training.search.overrides import FIELDS, override, parse_overrides
from training.show import tables

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help=f"Override a value of the recipe: {', '.join(FIELDS)}. Repeatable.",
    ),
]
VersionNumber = Annotated[
    int | None, typer.Option(min=1, help="Number N of the version to write, NAME@N. Default: 1.")
]
Pictures = Annotated[
    Path, typer.Option("--data", help="Folders 0 to 9 of pictures, or a CSV of file and label.")
]
NewName = Annotated[str | None, typer.Option("--name", help="Name of the new network. Default: PARENT-own.")]
Rounds = Annotated[
    int, typer.Option(min=1, help="At most this many rounds; the first trains only the last layer.")
]


def fetch(path: arg.MnistFile = None) -> None:
    """Download MNIST unless it is already here, and verify its hashes."""
    file = mnist.fetch(path)
    training, validation = mnist.load_training(file)
    test = mnist.load_test(file)
    counts = f"{len(training):,} for training, {len(validation):,} for validation, {len(test):,} for testing"
    console.print(f"{file}: {counts}")


def fetch_fonts() -> None:
    """Download the fonts for cnn's scenes with npm, unless they are already here."""
    console.print(f"{fonts.fetch()}: {len(fonts.FILES)} fonts")


class TrainCommand(TyperCommand):
    """Also accepts `--batch-size 64` in place of `--set batch_size=64`, as earlier versions did."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer hides click.Context
        """Replace the options of earlier versions with --set, then parse."""
        return super().parse_args(ctx, list(_replace_old_options(args)))


def _replace_old_options(words: Iterable[str]) -> Iterator[str]:
    remaining = iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        field = option.removeprefix("--").replace("-", "_")
        if option.startswith("--") and field in FIELDS:
            assignment = f"{field}={value if equals else next(remaining, '')}"
            notify(f"Use --set {assignment} instead of {option}.")
            yield from ("--set", assignment)
        else:
            yield word


def train(
    name: arg.AnyRecipeName,
    path: arg.MnistFile = None,
    run_folder: arg.RunFolder = None,
    resume: arg.Resume = False,
    fresh: arg.Fresh = False,
    overrides: Overrides = None,
    examples: arg.Examples = None,
) -> None:
    """Train a network from its recipe. You can stop it at any time and continue with --resume."""
    if name in READING_RECIPES:
        reading.refuse_options(name, set=overrides, examples=examples)
        reading.train_reading(name, path, run_folder, resume=resume, fresh=fresh)
        return
    training_run = find_run(name, run_folder)
    refuse_both(resume=resume, fresh=fresh)
    recipe = training_run.read_origin().recipe if resume else find_recipe(name)
    recipe = override(recipe, **parse_overrides(overrides or ()))
    training, validation = mnist.load_training(mnist.fetch(path))
    from training.learn.train import train as train_recipe  # noqa: PLC0415  slow: imports TensorFlow

    if fresh:
        training_run.discard()
    train_recipe(recipe, training[: examples or len(training)], validation, run=training_run, resume=resume)
    option = f" --run {run_folder}" if run_folder else ""
    console.print(
        f"Written to {training_run.folder}. Next: python -m training export {name}{option}", markup=False
    )


def export(
    name: arg.AnyRecipeName,
    path: arg.MnistFile = None,
    run_folder: arg.RunFolder = None,
    models: arg.ModelsFolder = MODELS,
    version: VersionNumber = None,
) -> None:
    """Write a trained network to models/NAME/model.onnx, after comparing it with the Keras model."""
    if name in READING_RECIPES:
        reading.refuse_options(name, version=version)
        reading.export_reading(name, path, run_folder, models=models)
        return
    training_run = find_run(name, run_folder)
    training, _ = mnist.load_training(mnist.fetch(path))
    from training.export.keras_to_onnx import export as export_run  # noqa: PLC0415  slow: imports TensorFlow

    file = export_run(training_run, training.pictures, models=models, version=version)
    exported = f"{name}{VERSION_SEPARATOR}{version}" if version else name
    console.print(f"{file}, {file.stat().st_size:,} bytes. Next: python -m training evaluate {exported}")


def finetune(
    source: Pictures,
    parent: Annotated[str, typer.Option("--from", help="The network to start from.")] = "cnn",
    name: NewName = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the network if it exists.")] = False,
    mnist_file: Annotated[Path | None, typer.Option("--mnist", help=arg.MNIST_HELP)] = None,
    rounds: Rounds = FineTuning.rounds,
    models: arg.ModelsFolder = MODELS,
) -> None:
    """Adapt a network to your own pictures, then export and evaluate it under a new name."""
    name = name or f"{parent.partition(VERSION_SEPARATOR)[0]}-own"
    folder = _choose_new_folder(models, name, force=force)
    parent_folder = locate_folder(models, parent)
    load_classifier(parent_folder)  # fails before anything is read or fetched
    pictures = _load_pictures(source, models)
    file = mnist.fetch(mnist_file)
    from training.export.fine_tuned import export_fine_tuned  # noqa: PLC0415  slow: imports TensorFlow
    from training.learn.fine_tuning import Mnist  # noqa: PLC0415  slow: imports TensorFlow

    splits = Mnist(*mnist.load_training(file), mnist.load_test(file))
    fine_tuning = FineTuning(name=name, rounds=rounds)
    changes = export_fine_tuned(parent_folder, folder, pictures, mnist=splits, fine_tuning=fine_tuning)
    console.print(tables.build_plain_table(COLUMNS, list_changes(changes)))
    console.print(
        f"Written to {folder}. A service loads it on SIGHUP; select it with ?model={name}", markup=False
    )


def _load_pictures(source: Path, models: Path) -> Labelled:
    collection = user_pictures.load_user_pictures(source, load_finder(models))
    for picture, reason in collection.left_out.items():
        console.print(f"{picture} is left out: {reason}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"{len(collection.pictures)} pictures for training, {len(collection.left_out)} left out")
    return collection.pictures


def _choose_new_folder(models: Path, name: str, *, force: bool) -> Path:
    """Return the folder for a new network; refuse a bad name or an existing network."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name.partition(VERSION_SEPARATOR)[0], re.IGNORECASE):
        msg = (
            f"{name!r} can't be the name of a network: use letters, digits, dots, _ and -, "
            "and begin with a letter or digit."
        )
        raise TrainingError(msg)
    folder = locate_folder(models, name)
    if (folder / MODEL_FILE).exists() and not force:
        msg = f"{folder} already holds a network: --force overwrites it, --name chooses another name."
        raise TrainingError(msg)
    return folder
