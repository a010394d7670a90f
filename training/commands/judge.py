"""The commands that measure networks, compare them, and read pictures with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.catalogue import Catalogue, locate_folder
from app.digits.classifier import Classifier
from app.digits.errors import DigitsError
from app.digits.finder import Finder
from training.commands import arguments as arg
from training.commands import reading
from training.commands.arguments import MODELS, console, notify
from training.data import fonts, mnist, real_sets, strokes, user_pictures
from training.errors import TrainingError
from training.judge import ablation, comparison, evaluation, held_out_writers
from training.markdown import format_table
from training.recipe import READING_RECIPES, RECIPES
from training.show import comparison_report, model_table, plots, tables

Plot = Annotated[Path | None, typer.Option("--plot", help="Also draw a figure into this file.")]
CasesFolder = Annotated[
    Path | None,
    typer.Option(
        "--cases",
        help="Folder of cases: pictures with a labels.csv of file, route, expected.",
        show_default=False,
    ),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the README's table in Markdown.")]


def evaluate(
    name: arg.NetworkName,
    path: arg.MnistFile = None,
    models: arg.ModelsFolder = MODELS,
    full: Annotated[
        bool, typer.Option("--full", help="Also read corrupted test pictures, numbers and real uploads.")
    ] = False,
    real_folder: Annotated[
        Path | None, typer.Option("--real", help="Folder of real sets for --full. Default: DIGITS_REAL.")
    ] = None,
    cases_folder: CasesFolder = None,
) -> None:
    """Score an exported network on the test set, through the service's path; write metrics.json."""
    folder = locate_folder(models, name)
    if name in READING_RECIPES:
        reading.evaluate_reading(folder, path, real_folder)
        return
    evaluation.load_classifier(folder)  # fails before MNIST is fetched
    test = mnist.load_test(mnist.fetch(path))
    metrics = evaluation.evaluate(
        folder,
        test,
        real_sets=_gather_sets(real_folder, cases_folder) if full or real_folder or cases_folder else None,
        models=models,
    )
    for part in tables.build_report(metrics):
        console.print(part)
    evaluation.check_target(metrics, RECIPES.get(metrics["model"]["name"]))


def _gather_sets(real_folder: Path | None, cases_folder: Path | None) -> real_sets.UploadSets:
    """Return real sets, cases, and what held-out writers wrote."""
    sets = real_sets.load_real_sets(real_sets.find_folder(real_folder)) + real_sets.load_cases(cases_folder)
    if not strokes.are_present():
        return sets + real_sets.UploadSets(skipped={"strokes": "Run `python -m training fetch-strokes`."})
    return sets + held_out_writers.draw_sets(strokes.load().validation)


def list_networks(models: arg.ModelsFolder = MODELS, markdown: Markdown = False) -> None:
    """List all evaluated networks side by side."""
    if markdown:
        print(model_table.format_markdown(models))
    else:
        rows = ((name.strip("`"), *cells) for name, *cells in model_table.build_rows(models))
        console.print(tables.build_plain_table(model_table.COLUMNS, rows))


def compare(
    both: Annotated[
        tuple[str, str] | None,
        typer.Argument(metavar="ONE OTHER", help="Two exported networks: NAME or NAME@N."),
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--data", help="Your pictures, laid out as for finetune; or mnist.npz.")
    ] = None,
    real_folder: Annotated[Path | None, typer.Option("--real", help="Folder of real sets.")] = None,
    test: Annotated[bool, typer.Option("--test", help="On MNIST's test set, for a final figure.")] = False,
    plot: Plot = None,
    models: arg.ModelsFolder = MODELS,
    markdown: Annotated[bool, typer.Option("--markdown", hidden=True)] = False,
) -> None:
    """Compare two networks picture by picture, on MNIST's validation split or on other pictures."""
    if not both:
        if path or real_folder or test or plot:
            msg = "--data, --real, --test and --plot need two networks: compare ONE OTHER."
            raise TrainingError(msg)
        notify("Use list instead of compare without two networks.")
        list_networks(models, markdown)
        return
    for name in both:
        evaluation.load_classifier(locate_folder(models, name))  # fails before any picture is read
    compared = comparison.compare(
        models, *both, _choose_sample(path, real_folder, evaluation.load_finder(models), test=test)
    )
    for part in comparison_report.build_report(compared):
        console.print(part)
    if plot:
        plots.save(plots.plot_differences(compared), plot)


def ablate(
    model: arg.ReaderName = "cnn",
    path: arg.MnistFile = None,
    models: arg.ModelsFolder = MODELS,
    real_folder: Annotated[
        Path | None,
        typer.Option("--real", help="Folder of real sets. Default: DIGITS_REAL.", show_default=False),
    ] = None,
    cases_folder: CasesFolder = None,
    max_per_set: Annotated[
        int, typer.Option("--each", min=1, help="At most this many pictures of each set.")
    ] = 200,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the documentation's tables in Markdown.")
    ] = False,
) -> None:
    """Read all sets without each step, each network and each size that the finder sees in turn."""
    classifier = evaluation.load_classifier(locate_folder(models, model))
    validation = mnist.load_training(mnist.fetch(path))[1]
    folder = real_sets.find_folder(real_folder)
    sets = real_sets.load_real_sets(folder)
    fonts.fetch()
    digits = ablation.sample_digits(validation, sets, cases_folder=cases_folder, max_per_set=max_per_set)
    numbers = ablation.sample_numbers(
        validation,
        sets,
        cases_folder=cases_folder,
        max_per_set=max_per_set,
    )
    for result in (
        ablation.ablate_digits(classifier, evaluation.load_finder(models), digits),
        ablation.ablate_numbers(Catalogue.load(models, default=model).get_number_reader(), numbers),
    ):
        if markdown:
            print(format_table(ablation.COLUMNS, result.build_rows()))
        else:
            console.print(tables.build_plain_table(ablation.COLUMNS, result.build_rows()))


def predict(
    files: arg.PictureFiles,
    model: arg.ReaderName = "cnn",
    models: arg.ModelsFolder = MODELS,
    plot: Plot = None,
) -> None:
    """Read the digits in your own pictures, as the service would."""
    classifier, finder = (
        evaluation.load_classifier(locate_folder(models, model)),
        evaluation.load_finder(models),
    )
    readings = []
    for file in files:
        try:
            readings.append(read_picture(file, classifier, finder))
        except DigitsError as error:
            console.print(f"{file}: {error.detail}", style="red", markup=False, soft_wrap=True)
    console.print(tables.build_prediction_table(readings))
    if plot and readings:
        plots.save(plots.plot_side_by_side(readings), plot)
    if len(readings) < len(files):
        raise typer.Exit(1)


def read_picture(file: Path, classifier: Classifier, finder: Finder | None) -> plots.Reading:
    """Read a file as the service would."""
    upload = images.identify(file.read_bytes())
    picture, canonical, *_ = canonicalise_upload(upload, classifier=classifier, finder=finder)
    scores = classifier.classify(canonical.picture[np.newaxis])
    return plots.Reading(file.name, picture.grey, canonical.picture, scores.probabilities[0])


def _choose_sample(
    path: Path | None, real_folder: Path | None, finder: Finder | None, *, test: bool
) -> comparison.Sample:
    user_folder = path if path and path.suffix != ".npz" else None
    if sum(map(bool, (user_folder, real_folder, test))) > 1:
        msg = "--data FOLDER, --real and --test each choose the pictures: give only one of them."
        raise TrainingError(msg)
    if user_folder:
        sets = real_sets.UploadSets(digits=(user_pictures.load_uploads(user_folder),))
        return comparison.sample_uploads(str(user_folder), sets, finder)
    if real_folder:
        return comparison.sample_uploads(str(real_folder), real_sets.load_real_sets(real_folder), finder)
    file = mnist.fetch(path)
    if test:
        return comparison.sample_mnist("MNIST test", mnist.load_test(file))
    return comparison.sample_mnist("MNIST validation", mnist.load_training(file)[1])
