"""A training run on disk: its recipe, its progress and its result."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from app.digits.contract import PROBABILITIES, Metadata
from training.errors import RunError
from training.files import write_json
from training.recipe import Recipe

RUNS: Final = Path("runs")

History = dict[str, list[float]]  # metric → one value an epoch, as Keras names them


def metric_prefix(history: History) -> str:
    """Return the prefix of the digits' metrics: of two heads, Keras names them after the head."""
    return f"{PROBABILITIES}_" if f"{PROBABILITIES}_loss" in history else ""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model was trained by and on; the ONNX file's metadata keep it."""

    recipe: Recipe
    data_sha256: str  # of the pictures and digits that it was trained on
    commit: str  # of this repository; ends in "-dirty" where files differed from it

    @property
    def metadata(self) -> dict[str, str]:
        """Name, version, recipe, data and commit, by the keys of the ONNX file's metadata."""
        return {
            Metadata.NAME: self.recipe.name,
            Metadata.VERSION: self.recipe.version,
            Metadata.RECIPE: self.recipe.to_json(),
            Metadata.DATA_SHA256: self.data_sha256,
            Metadata.COMMIT: self.commit,
        }


@dataclass(frozen=True)
class DescribedFolder:
    """A folder that a file in it describes. Nothing is opened until a method is called."""

    folder: Path

    kind: ClassVar[str]
    command: ClassVar[str]  # that makes one
    description_name: ClassVar[str]

    @property
    def _description_file(self) -> Path:
        return self.folder / self.description_name

    @property
    def is_resumable(self) -> bool:
        """Whether `--resume` could go on with it."""
        return True

    def describe(self, description: Mapping[str, Any]) -> None:
        """Make the folder, and write its description.

        Raises:
            RunError: the folder holds something already.
        """
        if self._description_file.exists():
            hint = ", --resume goes on with it" if self.is_resumable else ""
            msg = f"{self.folder} holds a {self.kind}{hint}. --fresh discards it, --run names another folder."
            raise RunError(msg)
        self._refuse_others()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._description_file, description)

    def discard(self) -> None:
        """Remove the folder, if there is one.

        Raises:
            RunError: the folder holds something else.
        """
        if self._description_file.exists():
            shutil.rmtree(self.folder)
        else:
            self._refuse_others()

    def read_description(self) -> dict[str, Any]:
        """Return what `describe` wrote."""
        try:
            description: dict[str, Any] = json.loads(self._description_file.read_text())
        except FileNotFoundError:
            remedy = f"`python -m training {self.command} NAME` makes one"
            msg = f"There is no {self.kind} in {self.folder}: {remedy}."
            raise RunError(msg) from None
        return description

    def _refuse_others(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            msg = f"{self.folder} holds something that is not a {self.kind}: name another folder with --run."
            raise RunError(msg)


@dataclass(frozen=True)
class Run(DescribedFolder):
    """The folder of one run."""

    scenes_folder: Path | None = None  # the folder of scenes that several runs share; else the run's own

    kind = "run"
    command = "train"
    description_name = "origin.json"

    @property
    def _history(self) -> Path:
        return self.folder / "history.json"

    @property
    def checkpoint(self) -> Path:
        """The model and its optimizer after the last complete epoch."""
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

    @property
    def is_resumable(self) -> bool:
        """Whether it has stopped between its first and its last epoch."""
        return self.checkpoint.exists() and not self.model.exists()

    def start(self, origin: Origin) -> None:
        """Make the folder and write down what is trained."""
        self.describe(dataclasses.asdict(origin))

    def read_origin(self) -> Origin:
        """Return what `start` wrote down."""
        fields = self.read_description()
        return Origin(**{**fields, "recipe": Recipe.from_json(json.dumps(fields["recipe"]))})

    def read_history(self) -> History:
        """Return the metrics of the epochs so far; empty before the first one has ended."""
        return json.loads(self._history.read_text()) if self._history.exists() else {}

    def write_history(self, history: History) -> None:
        """Replace the history."""
        write_json(self._history, history)

    def validation(self) -> tuple[list[float], list[float]]:
        """Return loss and accuracy on the validation digits, by epoch."""
        history = self.read_history()
        prefix = f"val_{metric_prefix(history)}"
        return history[f"{prefix}loss"], history[f"{prefix}accuracy"]


def get_current_commit() -> str:
    """Return the commit that is checked out, or "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.check_output(  # noqa: S603  constant words
            command, text=True, stderr=subprocess.DEVNULL, cwd=Path(__file__).parent
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
