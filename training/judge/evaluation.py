"""Evaluates an exported network through the service's own code, and writes `metrics.json`.

Pictures are encoded as PNG, decoded and preprocessed by `app.digits`, and classified by onnxruntime, so the
accuracy is that of the service. No other module writes `metrics.json`.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from app.digits.catalogue import METRICS_FILE, MODEL_FILE, locate_folder
from app.digits.classifier import Classifier
from app.digits.contract import CLASSES, FINDER, LINE_READER, Metadata, Probabilities
from app.digits.errors import InvalidModel
from app.digits.finder import Finder
from app.digits.line_reader import LineReader
from app.digits.numbers import NumberReader
from training.data.labelled import Labelled
from training.data.real_sets import UploadSets
from training.data.uploads import encode_png, read_canonical
from training.errors import TrainingError
from training.files import write_json
from training.judge import reliability
from training.judge.numbers import read_set
from training.judge.robustness import CORRUPTED, measure_robustness
from training.judge.service_reader import classify, read_uploads
from training.recipe import Recipe

MIN_PROBABILITY: Final = (
    1e-7  # Keras' epsilon: a probability that was rounded to 0 adds 16 to the loss, not infinity
)
TIMED_PICTURES: Final = 500  # one after the other; the median time is reported


@dataclass(frozen=True)
class Quality:
    """How well predictions agree with the true digits."""

    accuracy: float
    loss: float  # mean of -log(probability of the right digit)
    precision: NDArray[np.float64]  # (10,)
    recall: NDArray[np.float64]  # (10,)
    f1: NDArray[np.float64]  # (10,)
    support: NDArray[np.int64]  # (10,) pictures of each digit
    confusion: NDArray[np.int64]  # (10, 10): row is the true digit, column the predicted one

    def to_dict(self) -> dict[str, Any]:
        """Return these figures as in `metrics.json`."""
        columns = ("precision", "recall", "f1")
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            **{f"macro_{column}": float(getattr(self, column).mean()) for column in columns},
            "digits": [
                {"digit": digit, "pictures": int(self.support[digit])}
                | {column: float(getattr(self, column)[digit]) for column in columns}
                for digit in range(CLASSES)
            ],
            "confusion": self.confusion.tolist(),
        }


def load_classifier(folder: Path) -> Classifier:
    """Load `folder`/model.onnx as the service does; TrainingError if the service would refuse it."""
    file = folder / MODEL_FILE
    if not file.exists():
        # models/cnn/2 → cnn --version 2
        arguments = " --version ".join(folder.parts[-2:]) if folder.name.isdecimal() else folder.name
        msg = f"There is no {file}: `python -m training export {arguments}` writes it."
        raise TrainingError(msg)
    try:
        return Classifier.load(file.read_bytes())
    except InvalidModel as error:
        msg = f"{file} can't be served: {error.detail}"
        raise TrainingError(msg) from error


def load_finder(models: Path) -> Finder | None:
    """Load the highest version of the finder in `models`; return None if there is none."""
    file = locate_folder(models, FINDER) / MODEL_FILE
    return Finder.load(file.read_bytes()) if file.exists() else None


def load_line_reader(models: Path) -> LineReader | None:
    """Load the highest version of the line reader in `models`; return None if there is none."""
    file = locate_folder(models, LINE_READER) / MODEL_FILE
    return LineReader.load(file.read_bytes()) if file.exists() else None


def evaluate(
    folder: Path,
    test: Labelled,
    *,
    real_sets: UploadSets | None = None,
    models: Path | None = None,
    corrupted: int = CORRUPTED,
) -> dict[str, Any]:
    """Evaluate `folder`/model.onnx on MNIST's test pictures; write `folder`/metrics.json and return it.

    If `real_sets` is given, even without any sets, robustness is measured as well: uploads are read with the
    finder and the line reader in `models`, if they are there, as in the service.
    """
    classifier = load_classifier(folder)
    finder, line_reader = (load_finder(models), load_line_reader(models)) if models else (None, None)
    pngs = [encode_png(picture) for picture in test.pictures]
    canonical_pictures = np.stack(
        [read_canonical(data).picture for data in track(pngs, "Preprocessing", transient=True)]
    )
    scores = classify(classifier, canonical_pictures)
    metrics = {
        "model": {
            "name": classifier.name,
            "version": classifier.recipe_version,
            "sha256": classifier.sha256,
            "bytes": (folder / MODEL_FILE).stat().st_size,
            "parameters": int(classifier.metadata.get(Metadata.PARAMETERS, 0)),
            "multiply_adds": int(classifier.metadata.get(Metadata.MULTIPLY_ADDS, 0)),
        },
        "data": {"name": "MNIST test", "pictures": len(test), "sha256": test.sha256},
        "test": measure_quality(scores.probabilities, test.digits).to_dict(),
        "calibration": reliability.summarise_calibration(
            scores.probabilities, scores.probabilities.argmax(axis=1) == test.digits
        ),
        "microseconds": {
            "network": _median_microseconds(
                lambda row: classifier.classify(canonical_pictures[row : row + 1]), len(test)
            ),
            "from_png": _median_microseconds(
                lambda row: classifier.classify(read_canonical(pngs[row]).picture[None]), len(test)
            ),
        },
        "measured_with": {
            "onnxruntime": version("onnxruntime"),
            "opencv": cv2.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
    }
    if real_sets is not None:
        metrics |= measure_robustness(
            lambda uploads: read_uploads(classifier, uploads, finder),
            test,
            likelihoods=scores.digit_likelihood,
            real_sets=real_sets,
            corrupted=corrupted,
        )
        if finder and line_reader:
            reader = NumberReader(finder, line_reader, classifier)
            metrics["numbers"] = {one.name: read_set(one, reader).report() for one in real_sets.numbers}
    write_json(folder / METRICS_FILE, metrics)
    return metrics


def read_metrics(models: Path, name: str, *, section: str) -> dict[str, Any]:
    """Read metrics.json; TrainingError if it has no `section`, which files of earlier versions may lack."""
    file = locate_folder(models, name) / METRICS_FILE
    if not file.exists():
        msg = f"There is no {file}: `python -m training evaluate {name}` writes it."
        raise TrainingError(msg)
    try:
        metrics: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        msg = f"{file} is damaged: `python -m training evaluate {name}` writes it again."
        raise TrainingError(msg) from error
    if section not in metrics:
        msg = f"{file} has no {section}: `python -m training evaluate {name}` measures it."
        raise TrainingError(msg)
    return metrics | {"model": metrics["model"] | {"name": name}}


def check_target(metrics: Mapping[str, Any], recipe: Recipe | None) -> None:
    """Raise TrainingError for an accuracy below the recipe's target, and for 100 %, which can't be true."""
    accuracy = metrics["test"]["accuracy"]
    if recipe and accuracy < recipe.target:
        reached = f"{recipe.name} reaches {accuracy:.2%} on the test set"
        msg = f"{reached}, but its recipe promises {recipe.target:.2%}."
        raise TrainingError(msg)
    if accuracy == 1.0:
        msg = "100 % is impossible on MNIST's test set, whose labels have errors: the evaluation is broken."
        raise TrainingError(msg)


def measure_quality(probabilities: Probabilities, digits: NDArray[np.uint8]) -> Quality:
    """Compare probabilities (n, 10) with the true digits (n,)."""
    from sklearn.metrics import (  # noqa: PLC0415  slow, and few commands need it
        confusion_matrix,
        precision_recall_fscore_support,
    )

    predicted, labels = probabilities.argmax(axis=1), np.arange(CLASSES)
    true_digit_probabilities = probabilities[np.arange(len(digits)), digits]
    precision, recall, f1, support = precision_recall_fscore_support(
        digits, predicted, labels=labels, zero_division=0.0
    )
    return Quality(
        accuracy=float((predicted == digits).mean()),
        loss=float(-np.log(np.maximum(true_digit_probabilities, MIN_PROBABILITY)).mean()),
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        confusion=confusion_matrix(digits, predicted, labels=labels),
    )


def _median_microseconds(work: Callable[[int], object], rows: int) -> float:
    durations = []
    for row in range(min(TIMED_PICTURES, rows)):
        start = time.perf_counter()
        work(row)
        durations.append(time.perf_counter() - start)
    return round(statistics.median(durations) * 1e6, 1)
