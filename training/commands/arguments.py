"""Arguments, options and the console that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from training.errors import TrainingError
from training.learn.runs import RUNS, Run
from training.recipe import READING_RECIPES, RECIPES, find_recipe

RecipeName = Annotated[str, typer.Argument(help=f"One of {', '.join(RECIPES)}.")]
AnyRecipeName = Annotated[str, typer.Argument(help=f"One of {', '.join([*RECIPES, *READING_RECIPES])}.")]
NetworkName = Annotated[
    str, typer.Argument(help="An exported network: NAME@N, or NAME for its highest version.")
]
MNIST_HELP: Final = "File mnist.npz. Default: the file in DIGITS_MNIST, else Keras' download."
MnistFile = Annotated[Path | None, typer.Option("--data", help=MNIST_HELP)]
MODELS: Final = Path("models")
ModelsFolder = Annotated[Path, typer.Option("--models", help="Folder of the exported models.")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="Folder of the run. Default: runs/NAME.")]
SearchFolder = Annotated[
    Path | None, typer.Option("--run", help="Folder of the search. Default: runs/NAME-tune.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue after the last complete epoch.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Discard the results of an earlier call.")]
Examples = Annotated[int | None, typer.Option("--examples", min=1, help="Train on only this many pictures.")]
ReaderName = Annotated[str, typer.Option("--model", help="The network that reads the pictures.")]
OutputFile = Annotated[Path, typer.Option("--out", help="File to write; its extension sets the format.")]
PictureFiles = Annotated[list[Path], typer.Argument(help="Pictures.", exists=True, dir_okay=False)]

console: Final = Console()


def notify(text: str) -> None:
    """Print a notice to standard error."""
    Console(stderr=True).print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def find_run(name: str, folder: Path | None) -> Run:
    """Return the run of a recipe, in `folder` or in runs/NAME."""
    find_recipe(name)
    return Run(folder or RUNS / name)


def refuse_both(*, resume: bool, fresh: bool) -> None:
    """Refuse options that contradict each other."""
    if resume and fresh:
        msg = "--resume continues a run and --fresh discards it: give only one of them."
        raise TrainingError(msg)
