"""The lineage of a fine-tuned network, the changes that fine-tuning made, and the model card with both."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.digits.catalogue import VERSION_SEPARATOR
from app.digits.classifier import Classifier, Scores
from app.digits.contract import Metadata
from training.data.labelled import Labelled
from training.judge import reliability
from training.judge.rejection import rejected_share
from training.markdown import format_table
from training.recipe import FineTuning

COLUMNS: Final = (
    "pictures of", "number", "errors before", "after", "calibration error before", "after",
    "rejected before", "after",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The parent, pictures and recipe of a fine-tuned network; stored in the ONNX file's metadata."""

    parent: Classifier
    fine_tuning: FineTuning
    rounds: int  # that it was trained for
    user_pictures: Labelled
    commit: str

    @property
    def metadata(self) -> dict[str, str]:
        """Name, version, recipe, data, commit and parent, by the keys of the ONNX file's metadata."""
        parent = {
            "name": self.parent.name,
            "version": self.parent.recipe_version,
            "sha256": self.parent.sha256,
        }
        return {
            Metadata.NAME: self.fine_tuning.name.partition(VERSION_SEPARATOR)[0],
            Metadata.VERSION: self.fine_tuning.version,
            Metadata.RECIPE: json.dumps(
                {**dataclasses.asdict(self.fine_tuning), "taught_rounds": self.rounds}
            ),
            Metadata.DATA_SHA256: self.user_pictures.sha256,
            Metadata.COMMIT: self.commit,
            Metadata.PARENT: json.dumps(parent),
        }


@dataclass(frozen=True)
class Figures:
    """How well a network read a set of digits."""

    errors: float  # share of the digits
    calibration_error: float
    rejected: float | None  # share of the digits that was called no digit; None if it is unknown


@dataclass(frozen=True)
class Change:
    """How well a set of digits was read before and after fine-tuning."""

    data: str
    pictures: int
    before: Figures | None  # None if they were not measured
    after: Figures | None


def measure(scores: Scores, digits: NDArray[np.uint8]) -> Figures:
    """Compare scores with the true digits (n,)."""
    right = scores.probabilities.argmax(axis=1) == digits
    return Figures(
        errors=float(1 - right.mean()),
        calibration_error=reliability.summarise_calibration(scores.probabilities, right)["expected_error"],
        rejected=None if scores.digit_likelihood is None else rejected_share(scores.digit_likelihood),
    )


def list_changes(changes: Iterable[Change]) -> list[tuple[str, ...]]:
    """Return the changes as rows of text, in the order of `COLUMNS`."""
    return [(change.data, f"{change.pictures:,}", *_format_figures(change)) for change in changes]


def write_card(classifier: Classifier, lineage: Lineage, changes: Sequence[Change]) -> str:
    """Return the model card in Markdown."""
    parent, tuning, user_pictures = lineage.parent, lineage.fine_tuning, lineage.user_pictures
    counts = np.bincount(user_pictures.digits)
    batch = f"{tuning.own} of the user's pictures, {tuning.rehearsed} of MNIST, {tuning.scribbles} scribbles"
    facts = {
        "parent": f"`{parent.name}` {parent.recipe_version}, SHA-256 {parent.sha256}",
        "pictures": ", ".join(f"{count} of {digit}" for digit, count in enumerate(counts) if count),
        "SHA-256 of the data": f"{user_pictures.sha256}, of the canonical pictures and their digits",
        "recipe": f"{lineage.rounds} of {tuning.rounds} rounds of {tuning.steps} batches, each {batch}; "
        f"Adam, learning rate {tuning.learning_rate:g} with cosine decay; {tuning.share:g} of the way from "
        f"the parent's weights; seed {tuning.seed}",
        "calibration": "temperature fitted on MNIST's validation pictures and the user's held-out ones",
        "command": f"`python -m training finetune --from {parent.name} --name {tuning.name} --data FOLDER`",
    }
    return f"""# `{classifier.name}` {classifier.recipe_version}

`{parent.name}` {parent.recipe_version}, fine-tuned on {len(user_pictures)} of the user's own pictures.
Input, outputs, size and limits are the parent's.

{format_table(("", ""), facts.items())}

{format_table(COLUMNS, list_changes(changes))}

The user's pictures were held out in turn, and read by {tuning.folds} networks that learned from the others.
This network learned from all of them.
"""


def _format_figures(change: Change) -> Iterator[str]:
    for field in ("errors", "calibration_error", "rejected"):
        for figures in (change.before, change.after):
            share = getattr(figures, field, None)
            yield "" if share is None else f"{share:.2%}"
