"""The command line: `python -m training COMMAND`."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console

from app.digits.errors import DigitsError
from app.digits.process import set_up_process
from training.commands import judge, reading, train, tune
from training.commands.plot import plot
from training.errors import TrainingError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, export and judge the networks that the service serves.\n\n"
    "From start to finish: fetch, train NAME, export NAME, evaluate NAME.",
)
app.command()(train.fetch)
app.command()(train.fetch_fonts)
app.command()(reading.fetch_strokes)
app.command()(reading.draw)
app.command(cls=train.TrainCommand)(train.train)
app.command()(tune.tune)
app.command()(train.export)
app.command()(train.finetune)
app.command()(judge.evaluate)
app.command("list")(judge.list_networks)
app.command()(judge.compare)
app.command()(judge.ablate)
app.command()(judge.predict)
app.add_typer(plot, name="plot")


def main() -> None:
    """Run the command line; a problem that the user can solve is one line, without a traceback."""
    # TensorFlow prints a page of start-up notices at its default level; errors stay visible.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    set_up_process()
    try:
        app()
    except ModuleNotFoundError as error:
        print(f"{error}. `make test` installs what training needs, into .venv-dev.", file=sys.stderr)
        sys.exit(1)
    except (TrainingError, DigitsError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
