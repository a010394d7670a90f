"""Arguments and options that several commands share, and where they print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from training.errors import WorkshopError
from training.learn.runs import RUNS, Run
from training.recipe import RECIPES, find_recipe

Name = Annotated[str, typer.Argument(help=f"One of {', '.join(RECIPES)}.")]
Exported = Annotated[str, typer.Argument(help="An exported network: NAME, its highest version; NAME@N.")]
MNIST_HELP: Final = "mnist.npz; else DIGITS_MNIST, else Keras' download."
MnistFile = Annotated[Path | None, typer.Option("--data", help=MNIST_HELP)]
MODELS: Final = Path("models")
Models = Annotated[Path, typer.Option("--models", help="Folder of the exported models.")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="Folder of the run; else runs/NAME.")]
SearchFolder = Annotated[
    Path | None, typer.Option("--run", help="Folder of the search; else runs/NAME-tune.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after the last complete epoch.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Discard what an earlier call left.")]
Examples = Annotated[int | None, typer.Option("--examples", min=1, help="Train on that many pictures only.")]
Reader = Annotated[str, typer.Option("--model", help="Which network reads them.")]
Out = Annotated[Path, typer.Option("--out", help="File to write; its ending chooses the format.")]
Files = Annotated[list[Path], typer.Argument(help="Pictures.", exists=True, dir_okay=False)]

console: Final = Console()


def notify(text: str) -> None:
    """Print a line about the call itself, beside the output."""
    Console(stderr=True).print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def find_run(name: str, folder: Path | None) -> Run:
    """Return the run of a recipe in `folder`, else in its usual place."""
    find_recipe(name)
    return Run(folder or RUNS / name)


def refuse_both(*, resume: bool, fresh: bool) -> None:
    """Refuse options that contradict each other."""
    if resume and fresh:
        msg = "--resume goes on with a run and --fresh discards it: give one of them."
        raise WorkshopError(msg)
