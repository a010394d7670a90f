"""The command line: `python -m training COMMAND`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.digits import images
from app.digits.catalogue import MARK, METRICS_FILE, MODEL_FILE, folder_of
from app.digits.classifier import Classifier
from app.digits.contract import CLASSES
from app.digits.errors import DigitsError
from app.digits.look import look
from app.digits.process import set_up_process
from training import compare as comparison
from training import data, fonts, own, plots, pool, robustness, spaces, tables, uploads, versus
from training import evaluate as evaluation
from training import fetch as fetching
from training.answers import classify
from training.errors import WorkshopError
from training.recipe import RECIPES, FineTuning, Schedule, recipe_named
from training.runs import RUNS, Origin, Run, current_commit

if TYPE_CHECKING:
    from training.searches import Search, Tried

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
Exported = Annotated[
    str, typer.Argument(help="An exported network: NAME, its highest version; NAME@N.", show_default=False)
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="mnist.npz; else DIGITS_MNIST, else Keras' download.", show_default=False),
]
Models = Annotated[Path, typer.Option("--models", help="Folder of the exported models.")]
RunFolder = Annotated[
    Path | None, typer.Option("--run", help="Folder of the run; else runs/NAME.", show_default=False)
]
SearchFolder = Annotated[
    Path | None, typer.Option("--run", help="Folder of the search; else runs/NAME-tune.", show_default=False)
]
Examples = Annotated[int | None, typer.Option("--examples", min=1, help="Train on that many pictures only.")]
Out = Annotated[Path, typer.Option("--out", help="File to write; its ending chooses the format.")]
Files = Annotated[list[Path], typer.Argument(help="Pictures.", exists=True, dir_okay=False)]
MODELS = Path("models")
SHOWN = 10  # trials in a table


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
    schedule: Annotated[Schedule | None, typer.Option(help="Instead of the recipe's.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
    dropout: Annotated[
        float | None, typer.Option(min=0, max=0.99, help="Share of the hidden units, of dense networks.")
    ] = None,
    augmentation: Annotated[
        float | None,
        typer.Option(min=0, max=1.5, help="Bend pictures by this share of Augmentation's widths."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
    examples: Examples = None,
) -> None:
    """Train a network by its recipe. Stop it at any time: --resume goes on."""
    where = _run(name, run)
    _refuse_both(resume=resume, fresh=fresh)
    recipe = spaces.changed(
        where.origin().recipe if resume else recipe_named(name),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        weight_decay=weight_decay,
        dropout=dropout,
        augmentation=augmentation,
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
def tune(
    name: Name,
    path: Data = None,
    run: SearchFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last whole epoch.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard an earlier search.")] = False,
    minutes: Annotated[float, typer.Option(min=0, help="Of the whole search, resumed or not.")] = 30,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of a trial; else the recipe's.")] = None,
    examples: Examples = None,
    check: Annotated[
        int | None,
        typer.Option(min=2, help="Then train the best and the recipe's own values with so many new seeds."),
    ] = None,
) -> None:
    """Search for better numbers, on validation pictures. Stop it at any time: --resume goes on."""
    _refuse_both(resume=resume, fresh=fresh)
    recipe = recipe_named(name)
    spaces.space_of(recipe)
    from training import searches  # noqa: PLC0415  a second: Optuna

    search = searches.Search(run or RUNS / f"{name}-tune")
    recipe = spaces.changed(recipe, epochs=epochs or (search.recipe().epochs if resume else None))
    training, validation = data.load_training(fetching.fetch(path))
    training = training[: examples or len(training)]
    if fresh:
        search.discard()
    if resume:
        search.require(recipe, data_sha256=training.sha256)
    else:
        search.start(Origin(recipe=recipe, data_sha256=training.sha256, commit=current_commit()))
    from training import tune as tuning  # noqa: PLC0415  seconds: TensorFlow

    for one in tuning.tune(search, training, validation, minutes=minutes):
        print(tables.trial(one, pictures=len(validation)), flush=True)
    best = _best(search, pictures=len(validation))
    if check and not best.number:
        console.print("The recipe's own values are the best: there is nothing to check.")
    elif check:
        scores = tuning.check(search, training, validation, values=best.values, seeds=check)
        console.print(tables.checked({"the recipe's": scores[0], "the best": scores[1]}))
        chance = tuning.chance(scores[0].losses, scores[1].losses)
        console.print(f"Seeds alone would part the losses of equals as far with probability {chance:.1g}.")
    values = {**best.values, "epochs": recipe.epochs}
    console.print(
        f"The best: python -m training train {name} {spaces.options(values)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def export(
    name: Name,
    path: Data = None,
    run: RunFolder = None,
    models: Models = MODELS,
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Write NAME@N, beside other versions; else 1.", show_default=False),
    ] = None,
) -> None:
    """Write a trained network to models/NAME/model.onnx, once it is proved equal to Keras."""
    recipe_named(name)
    training, _ = data.load_training(fetching.fetch(path))
    from training.export import export as export_run  # noqa: PLC0415  seconds: TensorFlow

    file = export_run(_run(name, run), training.pictures, models=models, version=version)
    exported = f"{name}{MARK}{version}" if version else name
    console.print(f"{file}, {file.stat().st_size:,} bytes. Next: python -m training evaluate {exported}")


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
    name = name or f"{parent.partition(MARK)[0]}-own"
    folder = _free_folder(models, name, force=force)
    parent_folder = folder_of(models, parent)
    evaluation.load(parent_folder)  # so that nothing is read or fetched for nothing
    mine = own.load(source)
    for picture, reason in mine.left_out.items():
        console.print(f"{picture} is left out: {reason}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"{len(mine.pictures)} pictures to learn from, {len(mine.left_out)} left out")
    file = fetching.fetch(mnist)
    from training import descent  # noqa: PLC0415  seconds: TensorFlow

    mnist_parts = descent.Mnist(*data.load_training(file), data.load_test(file))
    how = FineTuning(name=name, rounds=rounds)
    changes = descent.make(parent_folder, folder, mine.pictures, mnist=mnist_parts, how=how)
    table = Table(*descent.COLUMNS, box=SIMPLE, padding=(0, 1, 0, 0))
    for row in descent.cells(changes):
        table.add_row(*row)
    console.print(table)
    console.print(f"Kept in {folder}. A service that runs reads it after SIGHUP: ?model={name}", markup=False)


@app.command()
def evaluate(
    name: Exported,
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
    folder = folder_of(models, name)
    evaluation.load(folder)  # so that MNIST is not fetched for nothing
    test = data.load_test(fetching.fetch(path))
    sets = uploads.load(uploads.find(real)) if full or real else None
    metrics = evaluation.evaluate(folder, test, real=sets)
    for part in tables.report(metrics):
        console.print(part)
    evaluation.gate(metrics, RECIPES.get(metrics["model"]["name"]))


@app.command()
def compare(
    both: Annotated[
        tuple[str, str] | None,
        typer.Argument(
            metavar="ONE OTHER", help="Two exported networks: NAME or NAME@N.", show_default=False
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Your pictures, as finetune reads them; or mnist.npz.", show_default=False
        ),
    ] = None,
    real: Annotated[
        Path | None, typer.Option("--real", help="Folder of real sets.", show_default=False)
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="On MNIST's test set, for a final figure.")] = False,
    out: Annotated[Path | None, typer.Option("--plot", help="Draw where they differ into this file.")] = None,
    models: Models = MODELS,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the README's table.")] = False,
) -> None:
    """Set all evaluated networks side by side; or two, picture by picture, on MNIST's validation split."""
    if both:
        for name in both:
            evaluation.load(folder_of(models, name))  # so that nothing is read for nothing
        compared = versus.compare(models, *both, _asked(path, real, test=test))
        for part in versus.report(compared):
            console.print(part)
        if out:
            plots.save(plots.differences(compared), out)
        return
    if path or real or test or out:
        msg = "--data, --real, --test and --plot are for two networks: compare ONE OTHER."
        raise WorkshopError(msg)
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
    classifier = evaluation.load(folder_of(models, model))
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
def plot_confusion(name: Exported, models: Models = MODELS, out: Out = Path("confusion.png")) -> None:
    """Draw the confusion matrix that `evaluate` measured."""
    plots.save(plots.confusion(_metrics(name, models, part="test")), out)


@plot.command("reliability")
def plot_reliability(name: Exported, models: Models = MODELS, out: Out = Path("reliability.png")) -> None:
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
    name: Exported, path: Data = None, models: Models = MODELS, out: Out = Path("predictions.png")
) -> None:
    """Draw validation pictures with what was read, the errors first and marked."""
    _, validation = data.load_training(fetching.fetch(path))
    found = classify(evaluation.load(folder_of(models, name)), validation.pictures).probabilities
    plots.save(plots.predictions(validation, found, title=f"{name} on validation"), out)


@plot.command("scenes")
def plot_scenes(path: Data = None, out: Out = Path("scenes.png")) -> None:
    """Draw scenes of every kind, and what the network is shown of them."""
    training, _ = data.load_training(fetching.fetch(path))
    fonts.fetch()
    plots.save(plots.scenes(pool.samples(training)), out)


@plot.command("search")
def plot_search(name: Name, run: SearchFolder = None, out: Out = Path("search.png")) -> None:
    """Draw what `tune` tried, and what of it mattered."""
    recipe_named(name)
    from training import searches  # noqa: PLC0415  a second: Optuna

    search = searches.Search(run or RUNS / f"{name}-tune")
    space = spaces.space_of(search.recipe())
    with search.opened() as study:
        tried, importance = searches.tried(study), searches.importance(study)
    if not searches.ranked(tried):
        msg = f"No trial in {search.folder} has reached its last epoch yet."
        raise WorkshopError(msg)
    plots.save(plots.search(tried, space, importance=importance, title=name), out)


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
    classifier = evaluation.load(folder_of(models, model))
    plots.save(plots.above_and_below([_seen(file, classifier) for file in files]), out)


def _refuse_both(*, resume: bool, fresh: bool) -> None:
    if resume and fresh:
        msg = "--resume goes on with a run and --fresh discards it: give one of them."
        raise WorkshopError(msg)


def _best(search: Search, *, pictures: int) -> Tried:
    """Print the best trials and return the first of them."""
    from training import searches  # noqa: PLC0415  a second: Optuna

    with search.opened() as study:
        tried = searches.tried(study)
    ranked = searches.ranked(tried)
    early = len(tried) - len(ranked)
    console.print(f"{len(tried)} trials, {early} of them stopped early; trial 0 has the recipe's own values.")
    if not ranked:
        msg = "No trial reached its last epoch: --resume and more --minutes, or --fresh and fewer --epochs."
        raise WorkshopError(msg)
    console.print(tables.trials(ranked[:SHOWN], pictures=pictures))
    return ranked[0]


def _free_folder(models: Path, name: str, *, force: bool) -> Path:
    """Return where a network of that name belongs, unless there is one already."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name.partition(MARK)[0], re.IGNORECASE):
        msg = f"{name!r} can't be a network's name: letters, digits, dots, _ and - make one."
        raise WorkshopError(msg)
    folder = folder_of(models, name)
    if (folder / MODEL_FILE).exists() and not force:
        msg = f"{folder} holds a network: --force writes over it, --name gives the new one another name."
        raise WorkshopError(msg)
    return folder


def _run(name: str, folder: Path | None) -> Run:
    recipe_named(name)
    return Run(folder or RUNS / name)


def _metrics(name: str, models: Path, *, part: str) -> dict[str, Any]:
    """Read what `evaluate` wrote; files of earlier versions lack some parts."""
    file = folder_of(models, name) / METRICS_FILE
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
    return metrics | {"model": metrics["model"] | {"name": name}}


def _asked(path: Path | None, real: Path | None, *, test: bool) -> versus.Asked:
    mine = path if path and path.suffix != ".npz" else None
    if sum(map(bool, (mine, real, test))) > 1:
        msg = "--data FOLDER, --real and --test are three things to compare on: give one of them."
        raise WorkshopError(msg)
    if mine:
        return versus.of_uploads(str(mine), uploads.RealSets(digits=(own.load_as_sent(mine),)))
    if real:
        return versus.of_uploads(str(real), uploads.load(real))
    file = fetching.fetch(path)
    if test:
        return versus.of_mnist("MNIST test", data.load_test(file))
    return versus.of_mnist("MNIST validation", data.load_training(file)[1])


def _seen(file: Path, classifier: Classifier) -> plots.Seen:
    picture, found = look(images.identify(file.read_bytes()))
    scores = classifier.classify(found.picture[np.newaxis])
    return plots.Seen(file.name, picture.grey, found.picture, scores.probabilities[0])


def main() -> None:
    """Run the command line; a problem that can be mended is told in one line, without a traceback."""
    set_up_process()
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
