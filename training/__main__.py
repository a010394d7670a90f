"""The command line: `python -m training COMMAND`."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.digits import images
from app.digits.catalogue import METRICS_FILE, MODEL_FILE
from app.digits.classifier import Classifier
from app.digits.contract import CLASSES
from app.digits.errors import DigitsError
from app.digits.look import look
from training import compare as comparison
from training import data, fonts, own, plots, pool, robustness, tables, uploads
from training import evaluate as evaluation
from training import fetch as fetching
from training.answers import classify
from training.errors import WorkshopError
from training.recipe import RECIPES, FineTuning, Recipe, recipe_named
from training.runs import RUNS, Run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, export and judge the networks that the service serves.\n\n"
    "The whole way: fetch, train NAME, export NAME, evaluate NAME.",
)
plot = typer.Typer(no_args_is_help=True, help="Draw the data, a run, or results into a file.")
app.add_typer(plot, name="plot")
console = Console()

NAMES = ", ".join(RECIPES)
Name = Annotated[str, typer.Argument(help=f"One of {NAMES}.", show_default=False)]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="mnist.npz; else DIGITS_MNIST, else Keras' download.", show_default=False),
]
Models = Annotated[Path, typer.Option("--models", help="Folder of the exported models.")]
RunFolder = Annotated[
    Path | None, typer.Option("--run", help="Folder of the run; else runs/NAME.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", help="File to write; its ending chooses the format.")]
Files = Annotated[list[Path], typer.Argument(help="Pictures.", exists=True, dir_okay=False)]
MODELS = Path("models")


@app.command()
def fetch(path: Data = None) -> None:
    """Download MNIST unless it is here, and check it to the last bit."""
    file = fetching.fetch(path)
    training, validation = data.load_training(file)
    test = data.load_test(file)
    counts = f"{len(training):,} to train on, {len(validation):,} to choose by, {len(test):,} to test with"
    console.print(f"{file}: {counts}")


@app.command("fetch-fonts")
def fetch_fonts() -> None:
    """Fetch the fonts that cnn's scenes are drawn with, by npm, unless they are here."""
    console.print(f"{fonts.fetch()}: {len(fonts.ALL)} fonts")


@app.command()
def train(
    name: Name,
    path: Data = None,
    run: RunFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last whole epoch.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard an earlier run.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Train on that many pictures only.")] = None,
) -> None:
    """Train a network by its recipe. Stop it at any time: --resume goes on."""
    where = _run(name, run)
    if resume and fresh:
        msg = "--resume goes on with a run and --fresh discards it: give one of them."
        raise WorkshopError(msg)
    recipe = _overridden(
        where.origin().recipe if resume else recipe_named(name),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    training, validation = data.load_training(fetching.fetch(path))
    from training.train import train as train_recipe  # noqa: PLC0415  seconds: TensorFlow

    if fresh:
        where.discard()
    train_recipe(recipe, training[: examples or len(training)], validation, run=where, resume=resume)
    option = f" --run {run}" if run else ""
    console.print(f"Kept in {where.folder}. Next: python -m training export {name}{option}", markup=False)


@app.command()
def export(name: Name, path: Data = None, run: RunFolder = None, models: Models = MODELS) -> None:
    """Write a trained network to models/NAME/model.onnx, once it is proved equal to Keras."""
    recipe_named(name)
    training, _ = data.load_training(fetching.fetch(path))
    from training.export import export as export_run  # noqa: PLC0415  seconds: TensorFlow

    file = export_run(_run(name, run), training.pictures, models=models)
    console.print(
        f"{file}, {file.stat().st_size:,} bytes. Next: python -m training evaluate {file.parent.name}"
    )


@app.command()
def finetune(
    source: Annotated[
        Path,
        typer.Option(
            "--data", help="Folders 0 to 9 of pictures, or a CSV of file and label.", show_default=False
        ),
    ],
    parent: Annotated[str, typer.Option("--from", help="The network to begin with.")] = "cnn",
    name: Annotated[
        str | None, typer.Option("--name", help="The new network's; else PARENT-own.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an earlier network.")] = False,
    mnist: Annotated[
        Path | None,
        typer.Option(
            "--mnist", help="mnist.npz; else DIGITS_MNIST, else Keras' download.", show_default=False
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="At most so many; the first teaches the last layer alone.")
    ] = FineTuning().rounds,
    models: Models = MODELS,
) -> None:
    """Adapt a network to pictures of your own, and export and evaluate it under a name of its own."""
    name = name or f"{parent}-own"
    folder = _free_folder(models, name, force=force)
    evaluation.load(models / parent)  # so that nothing is read or fetched for nothing
    mine = own.load(source)
    for picture, reason in mine.left_out.items():
        console.print(f"{picture} is left out: {reason}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"{len(mine.pictures)} pictures to learn from, {len(mine.left_out)} left out")
    file = fetching.fetch(mnist)
    from training import descent  # noqa: PLC0415  seconds: TensorFlow

    mnist_parts = descent.Mnist(*data.load_training(file), data.load_test(file))
    changes = descent.make(
        models / parent, folder, mine.pictures, mnist=mnist_parts, how=FineTuning(name=name, rounds=rounds)
    )
    table = Table(*descent.COLUMNS, box=SIMPLE, padding=(0, 1, 0, 0))
    for row in descent.cells(changes):
        table.add_row(*row)
    console.print(table)
    console.print(f"Kept in {folder}. A service that runs reads it after SIGHUP: ?model={name}", markup=False)


@app.command()
def evaluate(
    name: Name,
    path: Data = None,
    models: Models = MODELS,
    full: Annotated[
        bool, typer.Option("--full", help="Damage test pictures and read real uploads, too.")
    ] = False,
    real: Annotated[
        Path | None,
        typer.Option("--real", help="Folder of real sets for --full; else DIGITS_REAL.", show_default=False),
    ] = None,
) -> None:
    """Score an exported network on the test set, through the service's path; write metrics.json."""
    evaluation.load(models / name)  # so that MNIST is not fetched for nothing
    test = data.load_test(fetching.fetch(path))
    sets = uploads.load(uploads.find(real)) if full or real else None
    metrics = evaluation.evaluate(models / name, test, real=sets)
    for part in tables.report(metrics):
        console.print(part)
    evaluation.gate(metrics, RECIPES.get(name))


@app.command()
def compare(
    models: Models = MODELS,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the README's table.")] = False,
) -> None:
    """Set all evaluated networks side by side."""
    if markdown:
        print(comparison.markdown(models))
        return
    table = Table(*comparison.COLUMNS, box=SIMPLE, padding=(0, 1, 0, 0))
    for name, *cells in comparison.rows(models):
        table.add_row(name.strip("`"), *cells)
    console.print(table)


@app.command()
def predict(
    files: Files,
    model: Annotated[str, typer.Option("--model", help="Which network reads them.")] = "cnn",
    models: Models = MODELS,
    out: Annotated[Path | None, typer.Option("--plot", help="Draw what was seen into this file.")] = None,
) -> None:
    """Read the digits in your own pictures, as the service would."""
    classifier = evaluation.load(models / model)
    seen = []
    table = Table("picture", "digit", "sure", *map(str, range(CLASSES)), box=SIMPLE, padding=(0, 1, 0, 0))
    for file in files:
        try:
            seen.append(_seen(file, classifier))
        except DigitsError as error:
            console.print(f"{file}: {error.detail}", style="red", markup=False, soft_wrap=True)
            continue
        found = seen[-1].probabilities
        percents = ("·" if round(share, 2) == 0 else f"{share:.0%}" for share in found.tolist())
        table.add_row(escape(file.name), f"[bold]{found.argmax()}", f"{found.max():.1%}", *percents)
    console.print(table)
    if out and seen:
        plots.save(plots.side_by_side(seen), out)
    if len(seen) < len(files):
        raise typer.Exit(1)


@plot.command("samples")
def plot_samples(path: Data = None, out: Out = Path("samples.png")) -> None:
    """Draw pictures of the data set."""
    training, _ = data.load_training(fetching.fetch(path))
    plots.save(plots.samples(training), out)


@plot.command("curves")
def plot_curves(name: Name, run: RunFolder = None, out: Out = Path("curves.png")) -> None:
    """Draw the learning curves of a run."""
    where = _run(name, run)
    recipe = where.origin().recipe
    history = where.history()
    if not history:
        msg = f"{where.folder} has no whole epoch yet."
        raise WorkshopError(msg)
    plots.save(plots.curves(history, title=name, bent=recipe.augmentation is not None), out)


@plot.command("confusion")
def plot_confusion(name: Name, models: Models = MODELS, out: Out = Path("confusion.png")) -> None:
    """Draw the confusion matrix that `evaluate` measured."""
    plots.save(plots.confusion(_metrics(name, models, part="test")), out)


@plot.command("reliability")
def plot_reliability(name: Name, models: Models = MODELS, out: Out = Path("reliability.png")) -> None:
    """Draw how often answers of each confidence were right, as `evaluate` measured it."""
    plots.save(plots.reliability(_metrics(name, models, part="calibration")), out)


@plot.command("corruptions")
def plot_corruptions(path: Data = None, out: Out = Path("corruptions.png")) -> None:
    """Draw validation pictures, damaged in all the ways that `evaluate --full` judges by."""
    _, validation = data.load_training(fetching.fetch(path))
    _, first = np.unique(validation.digits, return_index=True)
    plots.save(plots.corruptions(validation.pictures[first], seed=robustness.SEED), out)


@plot.command("predictions")
def plot_predictions(
    name: Name, path: Data = None, models: Models = MODELS, out: Out = Path("predictions.png")
) -> None:
    """Draw validation pictures with what was read, the errors first and marked."""
    _, validation = data.load_training(fetching.fetch(path))
    found = classify(evaluation.load(models / name), validation.pictures).probabilities
    plots.save(plots.predictions(validation, found, title=f"{name} on validation"), out)


@plot.command("scenes")
def plot_scenes(path: Data = None, out: Out = Path("scenes.png")) -> None:
    """Draw scenes of every kind, and what the network is shown of them."""
    training, _ = data.load_training(fetching.fetch(path))
    fonts.fetch()
    plots.save(plots.scenes(pool.samples(training)), out)


@plot.command("stages")
def plot_stages(files: Files, out: Out = Path("stages.png")) -> None:
    """Draw what preprocessing makes of uploads, step by step."""
    looks = [look(images.identify(file.read_bytes())) for file in files]
    rows = [(file.stem, found.picture.grey) for file, found in zip(files, looks, strict=True)]
    plots.save(plots.stages(rows), out)


@plot.command("uploads")
def plot_uploads(
    files: Files,
    model: Annotated[str, typer.Option("--model", help="Which network reads them.")] = "cnn",
    models: Models = MODELS,
    out: Out = Path("uploads.png"),
) -> None:
    """Draw uploads above and what the network saw of them below."""
    classifier = evaluation.load(models / model)
    plots.save(plots.above_and_below([_seen(file, classifier) for file in files]), out)


def _overridden(recipe: Recipe, **given: float | None) -> Recipe:
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    return dataclasses.replace(recipe, **changes)


def _free_folder(models: Path, name: str, *, force: bool) -> Path:
    """Return where a network of that name belongs, unless there is one already."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name, re.IGNORECASE):
        msg = f"{name!r} can't be a network's name: letters, digits, dots, _ and - make one."
        raise WorkshopError(msg)
    folder = models / name
    if (folder / MODEL_FILE).exists() and not force:
        msg = f"{folder} holds a network: --force writes over it, --name gives the new one another name."
        raise WorkshopError(msg)
    return folder


def _run(name: str, folder: Path | None) -> Run:
    recipe_named(name)
    return Run(folder or RUNS / name)


def _metrics(name: str, models: Path, *, part: str) -> dict[str, Any]:
    """Read what `evaluate` wrote; files of earlier versions lack some parts."""
    file = models / name / METRICS_FILE
    if not file.exists():
        msg = f"There is no {file}: `python -m training evaluate {name}` writes it."
        raise WorkshopError(msg)
    try:
        metrics: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        msg = f"{file} is damaged: `python -m training evaluate {name}` writes it again."
        raise WorkshopError(msg) from error
    if part not in metrics:
        msg = f"{file} tells nothing of {part}: `python -m training evaluate {name}` measures it."
        raise WorkshopError(msg)
    return metrics


def _seen(file: Path, classifier: Classifier) -> plots.Seen:
    picture, found = look(images.identify(file.read_bytes()))
    scores = classifier.classify(found.picture[np.newaxis])
    return plots.Seen(file.name, picture.grey, found.picture, scores.probabilities[0])


def main() -> None:
    """Run the command line; a problem that can be mended is told in one line, without a traceback."""
    try:
        app()
    except ModuleNotFoundError as error:
        print(f"{error}. Install the training extra: make test does, into .venv-dev.", file=sys.stderr)
        sys.exit(1)
    except (WorkshopError, DigitsError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
