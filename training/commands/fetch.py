"""The commands that download."""

from __future__ import annotations

from training.commands.arguments import MnistFile, console
from training.data import fonts, mnist


def fetch(path: MnistFile = None) -> None:
    """Download MNIST unless it is here, and check it to the last bit."""
    file = mnist.fetch(path)
    training, validation = mnist.load_training(file)
    test = mnist.load_test(file)
    counts = f"{len(training):,} to train on, {len(validation):,} to choose by, {len(test):,} to test with"
    console.print(f"{file}: {counts}")


def fetch_fonts() -> None:
    """Fetch the fonts that cnn's scenes are drawn with, by npm, unless they are here."""
    console.print(f"{fonts.fetch()}: {len(fonts.ALL)} fonts")
