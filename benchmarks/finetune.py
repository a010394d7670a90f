"""What fine-tuning reaches with 20 pictures of each digit; the others of the set are held out.

python -m benchmarks.finetune [--real FOLDER] [--seeds N] [ROW …]     prints the table of docs/train.md

Each row is the mean and standard deviation over seeds, which draw the pictures; of MNIST, the worst is told.
Everything goes the way of `python -m training finetune`, and what is measured is the exported file.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.digits.classifier import Classifier
from training.data import real_sets
from training.data.labelled import Labelled
from training.data.mnist import fetch, load_test, load_training
from training.data.uploads import read_canonical
from training.export import fine_tuned
from training.export.lineage import Figures, measure
from training.judge.evaluation import load_classifier
from training.judge.service_reader import classify
from training.learn.fine_tuning import Mnist
from training.recipe import FineTuning

EACH: Final = 20  # pictures of each digit
MODELS: Final = Path("models")
COLUMNS: Final = (
    "pictures", "held out", "errors before", "after", "calibration error before", "after",
    "rejected before", "after", "MNIST test: errors before", "after, at worst",
)  # fmt: skip

Rows = NDArray[np.intp]
Split = Callable[[NDArray[np.uint8], int], tuple[Rows, Rows]]  # digits, seed → rows that are taught, held out


class Outcome(NamedTuple):
    """Of one seed."""

    held_out: int
    before: Figures
    after: Figures
    mnist_before: float
    mnist_after: float


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.finetune", description=__doc__.splitlines()[0]
    )
    parser.add_argument("rows", nargs="*", choices=[*PROTOCOLS, []], help="else all of them")
    parser.add_argument("--real", type=Path, help="folder of real sets; else DIGITS_REAL")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    sets = {one.name: one for one in real_sets.load_real_sets(real_sets.find_folder(arguments.real)).digits}
    file = fetch()
    mnist = Mnist(*load_training(file), load_test(file))
    lines = []
    for title in arguments.rows or PROTOCOLS:
        name, split = PROTOCOLS[title]
        if name not in sets:
            parser.error(f"there is no set {name}: --real FOLDER or DIGITS_REAL")
        shown = np.stack([read_canonical(upload).picture for upload in sets[name].uploads])
        pictures = Labelled(shown, sets[name].digits)
        outcomes = [_measure_seed(pictures, split, seed, mnist) for seed in range(1, arguments.seeds + 1)]
        lines.append((title, *_format_cells(outcomes)))
    for line in (COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *lines):
        print(f"| {' | '.join(line)} |")


def split_at_random(digits: NDArray[np.uint8], seed: int) -> tuple[Rows, Rows]:
    """Draw from all pictures."""
    taught = _draw_rows(digits, np.arange(len(digits)), seed)
    return taught, np.setdiff1d(np.arange(len(digits)), taught)


def split_by_writer(digits: NDArray[np.uint8], seed: int) -> tuple[Rows, Rows]:
    """Draw from the pictures of some writers of semeion and hold out those of all others.

    It goes ten times through 20 writers and ten times again, the second time written fast; then through 20
    more, and through 40. So say the likenesses between its rows; who a row is of is not told.
    """
    begins = np.flatnonzero(np.diff(digits, prepend=digits[-1]))
    writers = np.searchsorted(begins[[20, 40]], np.arange(len(digits)), side="right")
    ours = writers == seed % 3
    return _draw_rows(digits, np.flatnonzero(ours), seed), np.flatnonzero(~ours)


PROTOCOLS: Final[dict[str, tuple[str, Split]]] = {
    "semeion": ("semeion", split_at_random),
    "semeion, other writers": ("semeion", split_by_writer),
    "optdigits_orig": ("optdigits_orig", split_at_random),
}


def _draw_rows(digits: NDArray[np.uint8], rows: Rows, seed: int) -> Rows:
    order = np.random.default_rng(seed).permutation(rows)
    return np.concatenate([order[digits[order] == digit][:EACH] for digit in np.unique(digits)])


def _measure_seed(pictures: Labelled, split: Split, seed: int, mnist: Mnist) -> Outcome:
    taught, held = split(pictures.digits, seed)
    with tempfile.TemporaryDirectory() as models:
        folder = Path(models) / "own"
        changes = fine_tuned.export_fine_tuned(
            MODELS / "cnn", folder, pictures[taught], mnist=mnist, fine_tuning=FineTuning(name="own")
        )
        networks = [load_classifier(one) for one in (MODELS / "cnn", folder)]
    first, last = (_measure(network, pictures[held]) for network in networks)
    before, after = changes[-1].before, changes[-1].after
    assert before and after  # noqa: PT018, S101  for mypy: the committed network is evaluated
    return Outcome(len(held), first, last, before.errors, after.errors)


def _measure(classifier: Classifier, held_out: Labelled) -> Figures:
    return measure(classify(classifier, held_out.pictures), held_out.digits)


def _format_cells(outcomes: list[Outcome]) -> Iterator[str]:
    yield f"{np.mean([one.held_out for one in outcomes]):,.0f}"
    for field in ("errors", "calibration_error", "rejected"):
        for when in ("before", "after"):
            shares = 100 * np.array([getattr(getattr(one, when), field) for one in outcomes])
            yield f"{shares.mean():.2f} ± {shares.std(ddof=1):.2f} %"
    yield f"{outcomes[0].mnist_before:.2%}"
    yield f"{max(one.mnist_after for one in outcomes):.2%}"


if __name__ == "__main__":
    main()
