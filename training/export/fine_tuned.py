"""Writes the folder of a fine-tuned network: both models, its metrics, and a card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from app.digits.catalogue import METRICS_FILE, MODEL_FILE
from app.digits.classifier import Classifier
from app.digits.contract import PROBABILITIES, DigitBatch
from training.data.labelled import Labelled
from training.errors import ExportError, WorkshopError
from training.export.keras_to_onnx import convert_and_verify
from training.export.lineage import Change, Figures, Lineage, measure, write_card
from training.export.parity import KERAS_FILE, verify_same
from training.export.quantisation import CALIBRATION_PICTURES
from training.judge import evaluation
from training.judge.service_reader import classify
from training.learn.fine_tuning import FineTuned, Parent, fine_tune
from training.learn.runs import get_current_commit
from training.recipe import FineTuning

CARD: Final = "README.md"


@dataclass(frozen=True)
class Mnist:
    """All of MNIST, by what each part is for."""

    training: Labelled  # to rehearse
    validation: Labelled  # for the temperature
    test: Labelled  # for the final figure


def load_parent(folder: Path) -> Parent:
    """Load both models from the folder of an exported network.

    Raises:
        WorkshopError: one of them is missing, they are not the same network, or it can't be fine-tuned.
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
        raise WorkshopError(msg)
    return Parent(model, classifier)


def export_fine_tuned(
    parent_folder: Path, folder: Path, user_pictures: Labelled, *, mnist: Mnist, fine_tuning: FineTuning
) -> list[Change]:
    """Fine-tune the network of one folder on the own pictures into another folder; return what has changed.

    Everything is written to a temporary folder and moved at the end, so that an interruption leaves nothing.

    Raises:
        WorkshopError: the parent can't be fine-tuned, nothing is gained, or the exported file differs.
    """
    parent = load_parent(parent_folder)
    tuned = fine_tune(
        parent,
        user_pictures,
        rehearsed=mnist.training.pictures,
        validation=mnist.validation,
        fine_tuning=fine_tuning,
    )
    lineage = Lineage(
        parent=parent.classifier,
        how=fine_tuning,
        rounds=tuned.rounds,
        own=user_pictures,
        commit=get_current_commit(),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".draft-") as drafts:
        draft = Path(drafts) / "model"
        draft.mkdir()
        classifier = _export(tuned, lineage, mnist.training.pictures, draft)
        changes = [
            Change(
                "own, held out",
                len(user_pictures),
                measure(classify(parent.classifier, user_pictures.pictures), user_pictures.digits),
                measure(tuned.held_out, user_pictures.digits),
            ),
            _compare("MNIST validation", mnist.validation, parent.classifier, classifier),
            Change(
                "MNIST test",
                len(mnist.test),
                _figures_of(_read_metrics(parent_folder, parent.classifier)),
                _figures_of(evaluation.evaluate(draft, mnist.test)),
            ),
        ]
        (draft / CARD).write_text(write_card(classifier, lineage, changes))
        _move(draft, folder)
    return changes


def _export(tuned: FineTuned, lineage: Lineage, pictures: DigitBatch, folder: Path) -> Classifier:
    """Write both models; the ranges for rounding to eight bits are those of own pictures, too."""
    step = -(-len(lineage.own) // (CALIBRATION_PICTURES // 2))
    sample = np.concatenate([lineage.own.pictures[::step], pictures])
    tuned.model.save(folder / KERAS_FILE)
    (folder / MODEL_FILE).write_bytes(convert_and_verify(tuned.model, lineage, sample))
    return evaluation.load_classifier(folder)


def _compare(data: str, pictures: Labelled, before: Classifier, after: Classifier) -> Change:
    both = (measure(classify(one, pictures.pictures), pictures.digits) for one in (before, after))
    return Change(data, len(pictures), *both)


def _read_metrics(folder: Path, classifier: Classifier) -> Mapping[str, Any] | None:
    """Return what `evaluate` measured of this very network, if it did."""
    try:
        metrics: Mapping[str, Any] = json.loads((folder / METRICS_FILE).read_text())
        return metrics if metrics["model"]["sha256"] == classifier.sha256 else None
    except (OSError, ValueError, KeyError):
        return None


def _figures_of(metrics: Mapping[str, Any] | None) -> Figures | None:
    if metrics is None:
        return None
    return Figures(1 - metrics["test"]["accuracy"], metrics["calibration"]["expected_error"], None)


def _move(draft: Path, folder: Path) -> None:
    """Move the files; an earlier network's metrics are removed first, because they are not this one's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS_FILE).unlink(missing_ok=True)
    for name in (KERAS_FILE, CARD, MODEL_FILE, METRICS_FILE):
        (draft / name).replace(folder / name)
