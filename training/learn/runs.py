"""A training run on disk: its recipe, its progress and its result."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from app.digits.contract import PROBABILITIES, Metadata
from training.errors import RunError
from training.files import write_json
from training.recipe import Recipe

RUNS: Final = Path("runs")

History = dict[str, list[float]]  # metric → one value an epoch, as Keras names them


def metric_prefix(history: History) -> str:
    """Return the prefix of the digits' metrics: of two heads, Keras names them after the head."""
    return f"{PROBABILITIES}_" if f"{PROBABILITIES}_loss" in history else ""


@dataclass(frozen=True)
class Run:
    """The folder of one run. Nothing is opened until a method is called."""

    folder: Path
    scenes_folder: Path | None = None  # the folder of scenes that several runs share; else the run's own

    @property
    def _origin(self) -> Path:
        return self.folder / "origin.json"

    @property
    def _history(self) -> Path:
        return self.folder / "history.json"

    @property
    def checkpoint(self) -> Path:
        """The model and its optimizer after the last whole epoch."""
        return self.folder / "checkpoint.keras"

    @property
    def model(self) -> Path:
        """The trained model in float32; there only once the run has ended."""
        return self.folder / "model.keras"

    @property
    def scenes(self) -> Path:
        """The scenes that it is shown, once they have been drawn."""
        return (self.scenes_folder or self.folder) / "scenes.npz"

    @property
    def held_out(self) -> Path:
        """Scenes of validation digits, drawn when the training has ended."""
        return self.folder / "held-out.npz"

    @property
    def tensorboard(self) -> Path:
        """The folder that `tensorboard --logdir` takes."""
        return self.folder / "tensorboard"

    def start(self, origin: Origin) -> None:
        """Make the folder and write down what is trained.

        Raises:
            RunError: a run lies there already.
        """
        if self._origin.exists():
            hint = (
                ", --resume goes on with it" if self.checkpoint.exists() and not self.model.exists() else ""
            )
            msg = f"{self.folder} holds a run{hint}. --fresh discards it, --run FOLDER trains elsewhere."
            raise RunError(msg)
        self._refuse_others()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._origin, dataclasses.asdict(origin))

    def discard(self) -> None:
        """Remove the run, if there is one.

        Raises:
            RunError: the folder holds something else.
        """
        if not self._origin.exists():
            self._refuse_others()
        elif self.folder.exists():
            shutil.rmtree(self.folder)

    def read_origin(self) -> Origin:
        """Return what `start` wrote down.

        Raises:
            RunError: there is no run.
        """
        try:
            fields = json.loads(self._origin.read_text())
        except FileNotFoundError:
            msg = f"There is no run in {self.folder}: `python -m training train NAME` makes one."
            raise RunError(msg) from None
        return Origin(**{**fields, "recipe": Recipe.from_json(json.dumps(fields["recipe"]))})

    def read_history(self) -> History:
        """Return the metrics of the epochs so far; empty before the first one has ended."""
        return json.loads(self._history.read_text()) if self._history.exists() else {}

    def validation(self) -> tuple[list[float], list[float]]:
        """Return loss and accuracy on the validation digits, by epoch."""
        history = self.read_history()
        prefix = f"val_{metric_prefix(history)}"
        return history[f"{prefix}loss"], history[f"{prefix}accuracy"]

    def write_history(self, history: History) -> None:
        """Replace the history."""
        write_json(self._history, history)

    def _refuse_others(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            msg = f"{self.folder} holds something that is not a run: name another folder with --run."
            raise RunError(msg)


class Provenance(Protocol):
    """Where a model comes from."""

    @property
    def metadata(self) -> dict[str, str]:
        """Name, version, recipe, data and commit, by the keys of the ONNX file's metadata."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model was trained by and on; the ONNX file's metadata keep it."""

    recipe: Recipe
    data_sha256: str  # of the pictures and digits that it was trained on
    commit: str  # of this repository; ends in "-dirty" where files differed from it

    @property
    def metadata(self) -> dict[str, str]:
        """See `Provenance`."""
        return {
            Metadata.NAME: self.recipe.name,
            Metadata.VERSION: self.recipe.version,
            Metadata.RECIPE: self.recipe.to_json(),
            Metadata.DATA_SHA256: self.data_sha256,
            Metadata.COMMIT: self.commit,
        }


def get_current_commit() -> str:
    """Return the commit that is checked out, or "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(  # noqa: S603  constant words
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
