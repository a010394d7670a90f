"""The folder of a fine-tuned network: both models, what was measured before and after, and a card."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.digits.catalogue import MARK, METRICS_FILE, MODEL_FILE
from app.digits.classifier import Classifier, Scores
from app.digits.contract import CLASSES, DigitBatch, Metadata
from training.data.labelled import Labelled
from training.export import KERAS_FILE, proved
from training.finetune import Adapted, Parent, adapt
from training.judge import evaluation, reliability
from training.judge.rejection import rejected_share
from training.judge.service_reader import classify
from training.quantise import SAMPLE
from training.recipe import FineTuning
from training.runs import current_commit

CARD: Final = "README.md"


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Where a fine-tuned network comes from; travels into the ONNX file's metadata."""

    parent: Classifier
    how: FineTuning
    rounds: int  # that it was taught
    own: Labelled
    commit: str

    @property
    def metadata(self) -> dict[str, str]:
        """As `runs.Described` has it."""
        parent = {"name": self.parent.name, "version": self.parent.version, "sha256": self.parent.sha256}
        return {
            Metadata.NAME: self.how.name.partition(MARK)[0],
            Metadata.VERSION: self.how.version,
            Metadata.RECIPE: json.dumps({**dataclasses.asdict(self.how), "taught_rounds": self.rounds}),
            Metadata.DATA_SHA256: self.own.sha256,
            Metadata.COMMIT: self.commit,
            Metadata.PARENT: json.dumps(parent),
        }


@dataclass(frozen=True)
class Figures:
    """How well digits were read."""

    errors: float  # share
    calibration_error: float
    rejected_share: float | None  # share that was called no digit, where that is known


@dataclass(frozen=True)
class Change:
    """What fine-tuning did to the reading of some pictures."""

    data: str
    pictures: int
    before: Figures | None  # none where it was not measured
    after: Figures | None


def figures(scores: Scores, digits: NDArray[np.uint8]) -> Figures:
    """Return how well the true digits (n,) were read."""
    right = scores.probabilities.argmax(axis=1) == digits
    return Figures(
        errors=float(1 - right.mean()),
        calibration_error=reliability.report(scores.probabilities, right)["expected_error"],
        rejected_share=None if scores.digit_likelihood is None else rejected_share(scores.digit_likelihood),
    )


@dataclass(frozen=True)
class Mnist:
    """All of MNIST, for what each part is there for."""

    training: Labelled  # to rehearse
    validation: Labelled  # for the temperature
    test: Labelled  # for the last figure


def make(parent_folder: Path, folder: Path, own: Labelled, *, mnist: Mnist, how: FineTuning) -> list[Change]:
    """Fine-tune the network of one folder with the own pictures into another folder; return what has changed.

    Everything is made in a folder beside it, and takes its place at the end: an interruption leaves nothing.

    Raises:
        WorkshopError: the parent can't be fine-tuned, nothing is gained, or the exported file differs.
    """
    parent = Parent.load(parent_folder)
    adapted = adapt(parent, own, rehearsed=mnist.training.pictures, validation=mnist.validation, how=how)
    descent = Descent(
        parent=parent.classifier, how=how, rounds=adapted.rounds, own=own, commit=current_commit()
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".draft-") as drafts:
        draft = Path(drafts) / "model"
        draft.mkdir()
        classifier = _exported(adapted, descent, mnist.training.pictures, draft)
        changes = [
            Change(
                "own, held out",
                len(own),
                figures(classify(parent.classifier, own.pictures), own.digits),
                figures(adapted.held_out, own.digits),
            ),
            _change("MNIST validation", mnist.validation, parent.classifier, classifier),
            Change(
                "MNIST test",
                len(mnist.test),
                _measured(_metrics(parent_folder, parent.classifier)),
                _measured(evaluation.evaluate(draft, mnist.test)),
            ),
        ]
        (draft / CARD).write_text(_card(classifier, descent, changes))
        _put(draft, folder)
    return changes


def _exported(adapted: Adapted, descent: Descent, pictures: DigitBatch, folder: Path) -> Classifier:
    """Write both models; what each layer gives is rounded in the range that it has on own pictures, too."""
    shown = np.concatenate([_evenly(descent.own.pictures, most=SAMPLE // 2), pictures])
    adapted.model.save(folder / KERAS_FILE)
    (folder / MODEL_FILE).write_bytes(proved(adapted.model, descent, shown))
    return evaluation.load_classifier(folder)


def _evenly(pictures: DigitBatch, *, most: int) -> DigitBatch:
    return pictures[:: -(-len(pictures) // most)]


def _change(data: str, pictures: Labelled, before: Classifier, after: Classifier) -> Change:
    ways = (figures(classify(one, pictures.pictures), pictures.digits) for one in (before, after))
    return Change(data, len(pictures), *ways)


def _metrics(folder: Path, classifier: Classifier) -> Mapping[str, Any] | None:
    """Return what `evaluate` measured of this very network, if it did."""
    try:
        metrics: Mapping[str, Any] = json.loads((folder / METRICS_FILE).read_text())
        return metrics if metrics["model"]["sha256"] == classifier.sha256 else None
    except (OSError, ValueError, KeyError):
        return None


def _measured(metrics: Mapping[str, Any] | None) -> Figures | None:
    if metrics is None:
        return None
    return Figures(1 - metrics["test"]["accuracy"], metrics["calibration"]["expected_error"], None)


def cells(changes: Iterable[Change]) -> list[tuple[str, ...]]:
    """Return what has changed as rows of text, in the order of `COLUMNS`."""
    return [
        (
            change.data,
            f"{change.pictures:,}",
            *(
                text
                for field in ("errors", "calibration_error", "rejected")
                for text in (_percent(change.before, field), _percent(change.after, field))
            ),
        )
        for change in changes
    ]


COLUMNS: Final = (
    "pictures of", "number", "errors before", "after", "calibration error before", "after",
    "called no digit before", "after",
)  # fmt: skip


def _percent(found: Figures | None, field: str) -> str:
    share = None if found is None else getattr(found, field)
    return "" if share is None else f"{share:.2%}"


def _put(draft: Path, folder: Path) -> None:
    """Move the files; an earlier network's measurements go first, for they are not of this one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS_FILE).unlink(missing_ok=True)
    for name in (KERAS_FILE, CARD, MODEL_FILE, METRICS_FILE):
        (draft / name).replace(folder / name)


def _card(classifier: Classifier, descent: Descent, changes: Sequence[Change]) -> str:
    parent, how, own = descent.parent, descent.how, descent.own
    batch = f"{how.own} own pictures, {how.rehearsed} of MNIST, {how.scribbles} scribbles"
    facts = {
        "parent": f"`{parent.name}` {parent.version}, SHA-256 {parent.sha256}",
        "taught": ", ".join(f"{count} of {digit}" for digit, count in _counted(own)),
        "their SHA-256": f"{own.sha256}, of the canonical pictures and their digits",
        "recipe": f"{descent.rounds} of {how.rounds} rounds of {how.steps} batches: {batch}; Adam, learning "
        f"rate {how.learning_rate:g}, falling along a cosine; {how.share:g} of the way; seed {how.seed}",
        "calibrated": "temperature on MNIST's validation pictures and held-out own ones",
        "again": f"`python -m training finetune --from {parent.name} --name {how.name} --data FOLDER`",
    }
    lines = (
        f"# `{classifier.name}` {classifier.version}",
        "",
        f"`{parent.name}` {parent.version}, fine-tuned with {len(own)} pictures of one's own.",
        "Input, outputs, size and limits are the parent's.",
        "",
        *_markdown(("", ""), facts.items()),
        "",
        *_markdown(COLUMNS, cells(changes)),
        "",
        f"Own pictures were held out in turn, and read by {how.folds} networks that were taught the others.",
        "This one was taught all.",
    )
    return "\n".join(lines) + "\n"


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    return (f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows))


def _counted(own: Labelled) -> list[tuple[int, int]]:
    found = np.bincount(own.digits, minlength=CLASSES)
    return [(digit, int(count)) for digit, count in enumerate(found) if count]
