"""The commands that draw figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.catalogue import Catalogue, locate_folder
from training.commands import arguments as arg
from training.commands.arguments import MODELS, find_run
from training.commands.judge import read_picture
from training.commands.tune import open_search
from training.data import mnist
from training.errors import TrainingError
from training.judge import robustness
from training.judge.evaluation import load_classifier, load_finder, read_metrics
from training.judge.numbers import HELPER, NUMBER_COUNT, find_misreadings
from training.judge.service_reader import classify
from training.recipe import find_recipe
from training.scenes import scene_pool
from training.scenes.scene_pool import Sources
from training.search.search_space import find_space
from training.show import plots

plot = typer.Typer(no_args_is_help=True, help="Draw data, a run or results into a file.")


@plot.command()
def samples(path: arg.MnistFile = None, out: arg.OutputFile = Path("samples.png")) -> None:
    """Draw pictures of the data set."""
    training, _ = mnist.load_training(mnist.fetch(path))
    plots.save(plots.plot_samples(training), out)


@plot.command()
def curves(
    name: arg.RecipeName, run_folder: arg.RunFolder = None, out: arg.OutputFile = Path("curves.png")
) -> None:
    """Draw the learning curves of a run."""
    training_run = find_run(name, run_folder)
    recipe = training_run.read_origin().recipe
    history = training_run.read_history()
    if not history:
        msg = f"{training_run.folder} has no complete epoch yet."
        raise TrainingError(msg)
    plots.save(plots.plot_curves(history, title=name, is_augmented=recipe.augmentation is not None), out)


@plot.command()
def confusion(
    name: arg.NetworkName, models: arg.ModelsFolder = MODELS, out: arg.OutputFile = Path("confusion.png")
) -> None:
    """Draw the confusion matrix that `evaluate` measured."""
    plots.save(plots.plot_confusion(read_metrics(models, name, section="test")), out)


@plot.command()
def reliability(
    name: arg.NetworkName, models: arg.ModelsFolder = MODELS, out: arg.OutputFile = Path("reliability.png")
) -> None:
    """Draw how often answers were right at each confidence, as `evaluate` measured it."""
    plots.save(plots.plot_reliability(read_metrics(models, name, section="calibration")), out)


@plot.command()
def corruptions(path: arg.MnistFile = None, out: arg.OutputFile = Path("corruptions.png")) -> None:
    """Draw validation pictures with every corruption that `evaluate --full` measures."""
    _, validation = mnist.load_training(mnist.fetch(path))
    _, first = np.unique(validation.digits, return_index=True)
    plots.save(plots.plot_corruptions(validation.pictures[first], seed=robustness.SEED), out)


@plot.command()
def predictions(
    name: arg.NetworkName,
    path: arg.MnistFile = None,
    models: arg.ModelsFolder = MODELS,
    out: arg.OutputFile = Path("predictions.png"),
) -> None:
    """Draw validation pictures with the network's answers; errors come first, in red."""
    _, validation = mnist.load_training(mnist.fetch(path))
    scores = classify(load_classifier(locate_folder(models, name)), validation.pictures).probabilities
    plots.save(plots.plot_predictions(validation, scores, title=f"{name} on validation"), out)


@plot.command()
def numbers(
    path: arg.MnistFile = None, models: arg.ModelsFolder = MODELS, out: arg.OutputFile = Path("numbers.png")
) -> None:
    """Draw numbers, composed of validation digits, that are read wrongly; the surest come first."""
    _, validation = mnist.load_training(mnist.fetch(path))
    reader = Catalogue.load(models, default=HELPER).get_number_reader()
    misread = find_misreadings(reader, validation)
    title = f"{len(misread)} of {NUMBER_COUNT} numbers are read wrongly"
    plots.save(plots.plot_misreadings(misread, title=title), out)


@plot.command()
def scenes(path: arg.MnistFile = None, out: arg.OutputFile = Path("scenes.png")) -> None:
    """Draw scenes of every kind, and the canonical pictures that the network sees."""
    training, _ = mnist.load_training(mnist.fetch(path))
    samples = scene_pool.draw_samples(Sources.find(training, "training"))
    plots.save(plots.plot_scenes(samples), out)


@plot.command()
def search(
    name: arg.RecipeName, run_folder: arg.SearchFolder = None, out: arg.OutputFile = Path("search.png")
) -> None:
    """Draw the trials of `tune`, and which hyper-parameters mattered."""
    find_recipe(name)
    search_folder = open_search(name, run_folder)
    from training.search.study import (  # noqa: PLC0415  slow: imports Optuna
        list_trials,
        measure_importance,
        rank_trials,
    )

    space = find_space(search_folder.read_recipe())
    with search_folder.open() as study:
        trials, shares = list_trials(study), measure_importance(study)
    if not rank_trials(trials):
        msg = f"No trial in {search_folder.folder} has reached its last epoch yet."
        raise TrainingError(msg)
    plots.save(plots.plot_search(trials, space, importance=shares, title=name), out)


@plot.command()
def stages(
    files: arg.PictureFiles, models: arg.ModelsFolder = MODELS, out: arg.OutputFile = Path("stages.png")
) -> None:
    """Draw the digit that is found on each upload, and after each important step of preprocessing."""
    finder, rows = load_finder(models), []
    for file in files:
        picture, canonical, *_ = canonicalise_upload(images.identify(file.read_bytes()), finder=finder)
        rows.append((file.stem, picture.grey, canonical.box))
    plots.save(plots.plot_steps(rows), out)


@plot.command()
def uploads(
    files: arg.PictureFiles,
    model: arg.ReaderName = "cnn",
    models: arg.ModelsFolder = MODELS,
    out: arg.OutputFile = Path("uploads.png"),
) -> None:
    """Draw uploads above, and below them what the network sees."""
    classifier = load_classifier(locate_folder(models, model))
    finder = load_finder(models)
    plots.save(plots.plot_above_and_below([read_picture(file, classifier, finder) for file in files]), out)
