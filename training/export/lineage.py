"""Where a fine-tuned network comes from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from app.digits.catalogue import MARK
from app.digits.classifier import Classifier
from app.digits.contract import Metadata
from training.data.labelled import Labelled
from training.recipe import FineTuning


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The parent, the pictures and the recipe of a fine-tuned network; the ONNX file's metadata keep it."""

    parent: Classifier
    how: FineTuning
    rounds: int  # that it learned for
    own: Labelled
    commit: str

    @property
    def metadata(self) -> dict[str, str]:
        """See `runs.Provenance`."""
        parent = {"name": self.parent.name, "version": self.parent.version, "sha256": self.parent.sha256}
        return {
            Metadata.NAME: self.how.name.partition(MARK)[0],
            Metadata.VERSION: self.how.version,
            Metadata.RECIPE: json.dumps({**dataclasses.asdict(self.how), "taught_rounds": self.rounds}),
            Metadata.DATA_SHA256: self.own.sha256,
            Metadata.COMMIT: self.commit,
            Metadata.PARENT: json.dumps(parent),
        }
