"""Measures fine-tuning with 20 pictures of each digit: `python -m benchmarks.finetune [--real FOLDER]`.

Prints the table of docs/train.md: means and standard deviations over three random choices of pictures, and
the worst result for MNIST. Networks are fine-tuned as by `python -m training finetune`; the
exported files are measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import print_table
from training.data import real_sets
from training.data.labelled import Labelled
from training.data.mnist import fetch, load_test, load_training
from training.data.uploads import read_canonical
from training.export import fine_tuned
from training.export.lineage import measure
from training.judge.evaluation import load_classifier
from training.judge.service_reader import classify
from training.learn.fine_tuning import Mnist
from training.recipe import FineTuning

PER_DIGIT: Final = 20  # pictures of each digit
SEEDS: Final = (1, 2, 3)
PARENT: Final = Path("models/cnn")
COLUMNS: Final = (
    "pictures", "held out", "errors before", "after", "calibration error before", "after",
    "rejected before", "after", "MNIST test: errors before", "after, at worst",
)  # fmt: skip

Rows = NDArray[np.intp]
Split = Callable[[NDArray[np.uint8], int], tuple[Rows, Rows]]  # digits, seed → rows to learn, rows held out


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser("python -m benchmarks.finetune")
    parser.add_argument("--real", type=Path, help="folder of real sets (default: DIGITS_REAL)")
    folder = real_sets.find_folder(parser.parse_args().real)
    sets = {upload_set.name: upload_set for upload_set in real_sets.load_real_sets(folder).digits}
    file = fetch()
    mnist = Mnist(*load_training(file), load_test(file))
    rows = []
    for title, (name, split) in SPLITS.items():
        if name not in sets:
            sys.exit(
                f"There is no set {name}: name the folder that holds it with --real FOLDER or DIGITS_REAL."
            )
        pictures = np.stack([read_canonical(upload).picture for upload in sets[name].uploads])
        labelled = Labelled(pictures, sets[name].digits)
        outcomes = [_measure_seed(labelled, split, seed, mnist) for seed in SEEDS]
        rows.append((title, *_format_cells(np.array(outcomes))))
    print_table(COLUMNS, rows)


def split_at_random(digits: NDArray[np.uint8], seed: int) -> tuple[Rows, Rows]:
    """Choose rows to learn from among all pictures, and hold out the others."""
    all_rows = np.arange(len(digits))
    to_learn = _draw_rows(digits, all_rows, seed)
    return to_learn, np.setdiff1d(all_rows, to_learn)


def split_by_writer(digits: NDArray[np.uint8], seed: int) -> tuple[Rows, Rows]:
    """Choose rows to learn from among those of some writers of semeion, and hold out all other writers.

    The set doesn't name its writers. Similarities between its rows suggest this order: each digit by 20
    writers, each digit by the same writers in a hurry, then by 20 other writers, and then by 40.
    """
    starts = np.flatnonzero(np.diff(digits, prepend=digits[-1]))
    writers = np.searchsorted(starts[[20, 40]], np.arange(len(digits)), side="right")
    is_ours = writers == seed % 3
    return _draw_rows(digits, np.flatnonzero(is_ours), seed), np.flatnonzero(~is_ours)


SPLITS: Final[dict[str, tuple[str, Split]]] = {
    "semeion": ("semeion", split_at_random),
    "semeion, other writers": ("semeion", split_by_writer),
    "optdigits_orig": ("optdigits_orig", split_at_random),
}


def _draw_rows(digits: NDArray[np.uint8], rows: Rows, seed: int) -> Rows:
    order = np.random.default_rng(seed).permutation(rows)
    return np.concatenate([order[digits[order] == digit][:PER_DIGIT] for digit in np.unique(digits)])


def _measure_seed(pictures: Labelled, split: Split, seed: int, mnist: Mnist) -> list[float]:
    """Return the figures of one seed, in the order of `COLUMNS`."""
    to_learn, held_out = split(pictures.digits, seed)
    with tempfile.TemporaryDirectory() as models:
        folder = Path(models) / "own"
        changes = fine_tuned.export_fine_tuned(
            PARENT, folder, pictures[to_learn], mnist=mnist, fine_tuning=FineTuning(name="own")
        )
        networks = [load_classifier(network_folder) for network_folder in (PARENT, folder)]
    rest, on_mnist = pictures[held_out], changes[-1]
    before, after = (measure(classify(network, rest.pictures), rest.digits) for network in networks)
    assert on_mnist.before and on_mnist.after  # noqa: PT018, S101  for mypy: the committed network is evaluated
    fields = ("errors", "calibration_error", "rejected")
    pairs = [getattr(figures, field) for field in fields for figures in (before, after)]
    return [len(held_out), *pairs, on_mnist.before.errors, on_mnist.after.errors]


def _format_cells(outcomes: NDArray[np.float64]) -> Iterator[str]:
    """Return the cells of a row; `outcomes` has one row of figures for each seed."""
    held_out, *columns, mnist_before, mnist_after = outcomes.T
    yield f"{held_out.mean():,.0f}"
    for column in columns:
        yield f"{100 * column.mean():.2f} ± {100 * column.std(ddof=1):.2f} %"
    yield f"{mnist_before[0]:.2%}"
    yield f"{mnist_after.max():.2%}"


if __name__ == "__main__":
    main()
