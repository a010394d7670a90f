"""What is behind `fetch-strokes`, `draw`, and `train` and `export` of the finder and the line reader."""

from __future__ import annotations

from pathlib import Path

from training.commands import arguments as arg
from training.commands.arguments import console, refuse_both
from training.data import mnist, pen_archives, real_sets, strokes
from training.errors import TrainingError
from training.judge import numbers
from training.learn.runs import RUNS, ReadingRun
from training.recipe import READING_RECIPES, ShardKind
from training.scenes import shards
from training.show import tables


def fetch_strokes() -> None:
    """Fetch the pen strokes that numbers are drawn with, unless they are here; say what is left out."""
    folder = pen_archives.fetch()
    split = strokes.load(folder)
    for part, purpose in ((split.training, "to train on"), (split.validation, "to choose by")):
        console.print(f"{folder}: {part.count:,} samples by {len(part.writers)} writers {purpose}")
    for fault, count in (split.training.dropped + split.validation.dropped).most_common():
        console.print(f"left out: {count:,}, {fault}")


def draw(path: arg.MnistFile = None) -> None:
    """Draw the strips and documents that the finder and the line reader learn from, by all cores."""
    shelves = shards.open_shelves(mnist.fetch(path))
    counts: dict[ShardKind, int] = {}
    for recipe in READING_RECIPES.values():
        counts |= {kind: max(count, counts.get(kind, 0)) for kind, count in recipe.shards}
    shelves.validation.draw_missing(dict.fromkeys(counts, 1))
    drawn = shelves.training.draw_missing(counts)
    for kind, count in counts.items():
        pictures, speed = count * shards.SHARD_SIZES[kind], shards.measure_speed(shelves.training, kind)
        console.print(f"{kind}: {pictures:,}, {speed:.0f} a second of one core")
    console.print(f"{shelves.training.folder}: {drawn:,} drawn now", markup=False)


def train_reading(name: str, path: Path | None, run: Path | None, *, resume: bool, fresh: bool) -> None:
    """Train the finder or the line reader."""
    where = ReadingRun(run or RUNS / name)
    refuse_both(resume=resume, fresh=fresh)
    recipe = where.read_origin().recipe if resume else READING_RECIPES[name]
    shelves = shards.open_shelves(mnist.fetch(path))
    from training.learn.train_reading import train  # noqa: PLC0415  seconds: TensorFlow

    if fresh:
        where.discard()
    train(recipe, shelves, run=where, resume=resume)
    option = f" --run {run}" if run else ""
    console.print(f"Written to {where.folder}. Next: python -m training export {name}{option}", markup=False)


def export_reading(name: str, path: Path | None, run: Path | None, *, models: Path) -> None:
    """Write the finder or the line reader to models/NAME, after comparing it with Keras."""
    shelves = shards.open_shelves(mnist.fetch(path))
    from training.export.reading_to_onnx import export  # noqa: PLC0415  seconds: TensorFlow

    file = export(ReadingRun(run or RUNS / name), shelves, models=models)
    console.print(f"{file}, {file.stat().st_size:,} bytes", markup=False)


def evaluate_reading(folder: Path, path: Path | None, real_folder: Path | None) -> None:
    """Score the finder or the line reader on what held-out writers wrote; write metrics.json."""
    file = mnist.fetch(path)
    shelf = shards.open_shelves(file).validation
    sets = real_sets.load_real_sets(real_sets.find_folder(real_folder))
    metrics = numbers.evaluate(folder, shelf, mnist.load_test(file), sets.numbers)
    for line in tables.list_reading_figures(metrics):
        console.print(line)


def refuse_options(name: str, **options: object) -> None:
    """Refuse options that only classifiers have.

    Raises:
        TrainingError: one of them is given.
    """
    given = ", ".join(f"--{option}" for option, value in options.items() if value)
    if given:
        msg = f"{name} takes no {given}: its recipe in training/recipe.py says all of it."
        raise TrainingError(msg)
