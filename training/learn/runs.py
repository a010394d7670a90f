"""A training run on disk: its recipe, its progress and its result."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

from app.digits.contract import PROBABILITIES, Metadata
from training.errors import RunError
from training.files import write_json
from training.recipe import ReadingRecipe, Recipe

RUNS: Final = Path("runs")
AnyRecipe = TypeVar("AnyRecipe", Recipe, ReadingRecipe)

History = dict[str, list[float]]  # Keras' name of a metric → its value in each epoch


def metric_prefix(history: History) -> str:
    """Return the prefix of the digits' metrics: in a network with two heads, Keras adds the head's name."""
    return f"{PROBABILITIES}_" if f"{PROBABILITIES}_loss" in history else ""


@dataclass(frozen=True, kw_only=True)
class Origin(Generic[AnyRecipe]):
    """The recipe, data and code that a model was trained with; stored in the ONNX file's metadata."""

    recipe: AnyRecipe
    data_sha256: str  # of the pictures and digits that it was trained on
    commit: str  # of this repository; ends in "-dirty" if there were uncommitted changes

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
    """A folder with a file that describes it. Nothing is opened until a method is called."""

    folder: Path

    kind: ClassVar[str]
    command: ClassVar[str]  # that creates such a folder
    description_name: ClassVar[str]

    @property
    def _description_file(self) -> Path:
        return self.folder / self.description_name

    @property
    def is_resumable(self) -> bool:
        """Whether `--resume` could continue it."""
        return True

    def describe(self, description: Mapping[str, Any]) -> None:
        """Create the folder, and write its description.

        Raises:
            RunError: the folder is not empty.
        """
        if self._description_file.exists():
            hint = ", --resume continues it" if self.is_resumable else ""
            msg = f"{self.folder} holds a {self.kind}{hint}. --fresh discards it, --run names another folder."
            raise RunError(msg)
        self._refuse_other_files()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._description_file, description)

    def discard(self) -> None:
        """Remove the folder, if it exists.

        Raises:
            RunError: the folder holds other files.
        """
        if self._description_file.exists():
            shutil.rmtree(self.folder)
        else:
            self._refuse_other_files()

    def read_description(self) -> dict[str, Any]:
        """Return what `describe` wrote."""
        try:
            description: dict[str, Any] = json.loads(self._description_file.read_text())
        except FileNotFoundError:
            remedy = f"`python -m training {self.command} NAME` creates one"
            msg = f"There is no {self.kind} in {self.folder}: {remedy}."
            raise RunError(msg) from None
        return description

    def _refuse_other_files(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            msg = f"{self.folder} holds files that are not a {self.kind}: name another folder with --run."
            raise RunError(msg)


@dataclass(frozen=True)
class TrainingRun(DescribedFolder):
    """The folder of one run, whatever is trained."""

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
        """The trained model in float32; it exists only once the run has ended."""
        return self.folder / "model.keras"

    @property
    def is_resumable(self) -> bool:
        """Whether it has stopped between its first and its last epoch."""
        return self.checkpoint.exists() and not self.model.exists()

    def read_history(self) -> History:
        """Return the metrics of the epochs so far; empty before the first one has ended."""
        return json.loads(self._history.read_text()) if self._history.exists() else {}

    def write_history(self, history: History) -> None:
        """Replace the history."""
        write_json(self._history, history)


@dataclass(frozen=True)
class Run(TrainingRun):
    """The folder of one run of a classifier."""

    scenes_folder: Path | None = None  # the folder of scenes that several runs share; else the run's own

    @property
    def scenes(self) -> Path:
        """The scenes to learn from, once they have been drawn."""
        return (self.scenes_folder or self.folder) / "scenes.npz"

    @property
    def held_out(self) -> Path:
        """Scenes of validation digits, to calibrate with; drawn once training has ended."""
        return self.folder / "held-out.npz"

    @property
    def tensorboard(self) -> Path:
        """The folder for `tensorboard --logdir`."""
        return self.folder / "tensorboard"

    def start(self, origin: Origin[Recipe]) -> None:
        """Create the folder, and write down the run's origin."""
        self.describe(dataclasses.asdict(origin))

    def read_origin(self) -> Origin[Recipe]:
        """Return what `start` wrote down."""
        fields = self.read_description()
        return Origin(**{**fields, "recipe": Recipe.from_json(json.dumps(fields["recipe"]))})

    def validation(self) -> tuple[list[float], list[float]]:
        """Return loss and accuracy on the validation digits, by epoch."""
        history = self.read_history()
        prefix = f"val_{metric_prefix(history)}"
        return history[f"{prefix}loss"], history[f"{prefix}accuracy"]


@dataclass(frozen=True)
class ReadingRun(TrainingRun):
    """The folder of one run of the finder or the line reader."""

    @property
    def log(self) -> Path:
        """A line for every epoch."""
        return self.folder / "log.txt"

    def start(self, origin: Origin[ReadingRecipe]) -> None:
        """Make the folder and write down what is trained."""
        self.describe(dataclasses.asdict(origin))

    def read_origin(self) -> Origin[ReadingRecipe]:
        """Return what `start` wrote down."""
        fields = self.read_description()
        return Origin(**{**fields, "recipe": ReadingRecipe.from_json(json.dumps(fields["recipe"]))})


def get_current_commit() -> str:
    """Return the checked-out commit, or "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.check_output(  # noqa: S603  the arguments are constants
            command, text=True, stderr=subprocess.DEVNULL, cwd=Path(__file__).parent
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
