"""Writes the folder of a fine-tuned network: the Keras model, the ONNX file, metrics and a model card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from app.digits.catalogue import METRICS_FILE, MODEL_FILE
from app.digits.classifier import Classifier
from app.digits.contract import PROBABILITIES, DigitBatch
from training.data.labelled import Labelled
from training.errors import ExportError, TrainingError
from training.export.keras_to_onnx import convert_and_verify
from training.export.lineage import Change, Figures, Lineage, measure, write_card
from training.export.parity import KERAS_FILE, verify_same
from training.export.quantisation import CALIBRATION_PICTURES
from training.judge import evaluation
from training.judge.service_reader import classify
from training.learn.fine_tuning import FineTuned, Mnist, Parent, fine_tune
from training.learn.runs import get_current_commit
from training.recipe import FineTuning

CARD: Final = "README.md"


def load_parent(folder: Path) -> Parent:
    """Load the Keras model and the ONNX file from the folder of an exported network.

    Raises:
        TrainingError: a file is missing, the two are different networks, or fine-tuning is impossible.
    """
    classifier = evaluation.load_classifier(folder)
    file = folder / KERAS_FILE
    if not file.exists():
        msg = f"There is no {file}: `python -m training export {classifier.name}` writes it."
        raise ExportError(msg)
    try:
        model = keras.models.load_model(file)
    except (OSError, ValueError) as error:
        msg = f"{file} is damaged: `python -m training export {classifier.name}` writes it again."
        raise ExportError(msg) from error
    verify_same(model, classifier)
    if not model.get_layer(PROBABILITIES).weights:
        msg = f"{classifier.name} can't be fine-tuned: its last layer has no weights."
        raise TrainingError(msg)
    return Parent(model, classifier)


def export_fine_tuned(
    parent_folder: Path, folder: Path, user_pictures: Labelled, *, mnist: Mnist, fine_tuning: FineTuning
) -> list[Change]:
    """Fine-tune the network in `parent_folder`, write the result to `folder`, and return what changed.

    All files are written to a temporary folder and moved at the end, so that an interruption leaves nothing.
    """
    parent = load_parent(parent_folder)
    tuned = fine_tune(parent, user_pictures, mnist=mnist, fine_tuning=fine_tuning)
    lineage = Lineage(
        parent=parent.classifier,
        fine_tuning=fine_tuning,
        rounds=tuned.rounds,
        user_pictures=user_pictures,
        commit=get_current_commit(),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".draft-") as drafts:
        draft = Path(drafts)
        classifier = _export(tuned, lineage, mnist.training.pictures, draft)
        changes = [
            Change(
                "the user, held out",
                len(user_pictures),
                _measure(parent.classifier, user_pictures),
                measure(tuned.held_out, user_pictures.digits),
            ),
            Change(
                "MNIST validation",
                len(mnist.validation),
                _measure(parent.classifier, mnist.validation),
                _measure(classifier, mnist.validation),
            ),
            Change(
                "MNIST test",
                len(mnist.test),
                _read_figures(parent_folder, parent.classifier),
                _extract_figures(evaluation.evaluate(draft, mnist.test)),
            ),
        ]
        (draft / CARD).write_text(write_card(classifier, lineage, changes))
        _move(draft, folder)
    return changes


def _export(tuned: FineTuned, lineage: Lineage, pictures: DigitBatch, folder: Path) -> Classifier:
    """Write the Keras model and the ONNX file, quantised with samples of the user's pictures and of MNIST."""
    step = -(-len(lineage.user_pictures) // (CALIBRATION_PICTURES // 2))
    sample = np.concatenate([lineage.user_pictures.pictures[::step], pictures])
    tuned.model.save(folder / KERAS_FILE)
    (folder / MODEL_FILE).write_bytes(convert_and_verify(tuned.model, lineage, sample))
    return evaluation.load_classifier(folder)


def _measure(classifier: Classifier, labelled: Labelled) -> Figures:
    return measure(classify(classifier, labelled.pictures), labelled.digits)


def _read_figures(folder: Path, classifier: Classifier) -> Figures | None:
    """Return the figures in metrics.json, if they are those of this very file."""
    try:
        metrics = json.loads((folder / METRICS_FILE).read_text())
        return _extract_figures(metrics) if metrics["model"]["sha256"] == classifier.sha256 else None
    except (OSError, ValueError, KeyError):
        return None


def _extract_figures(metrics: Mapping[str, Any]) -> Figures:
    return Figures(1 - metrics["test"]["accuracy"], metrics["calibration"]["expected_error"], None)


def _move(draft: Path, folder: Path) -> None:
    """Move the files; first remove the metrics of an earlier network, which the new one never has."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS_FILE).unlink(missing_ok=True)
    for name in (KERAS_FILE, CARD, MODEL_FILE, METRICS_FILE):
        (draft / name).replace(folder / name)
