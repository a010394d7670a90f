"""The folder of models → named classifiers.

models/NAME/model.onnx      the network, its name in its metadata
models/NAME/metrics.json    what `evaluate` measured of that very file; optional
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final

from app.digits.classifier import Classifier
from app.digits.errors import InvalidModel, ModelInUse, UnknownModel

MODEL_FILE: Final = "model.onnx"
METRICS_FILE: Final = "metrics.json"


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier and what was measured of it."""

    classifier: Classifier
    metrics: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """The name that requests ask for."""
        return self.classifier.name


@dataclass(slots=True)
class Catalogue:
    """All models, loaded and warm, and which one answers when none is asked for."""

    folder: Path
    default: str
    models: Mapping[str, Model]  # replaced as a whole: who has asked for a model keeps it
    _changing: Lock = field(default_factory=Lock, repr=False)  # onnxruntime builds one session at a time

    @classmethod
    def load(cls, folder: Path, *, default: str) -> Catalogue:
        """Load every model below `folder`.

        Raises:
            InvalidModel: a file can't be served, there is none, or `default` is not among them.
        """
        return cls(folder, default, _loaded(folder, default))

    def reload(self) -> None:
        """Load every model again, and only then let the old ones go.

        Raises:
            InvalidModel: as `load`; the old ones are kept.
        """
        with self._changing:
            self.models = _loaded(self.folder, self.default)

    def reload_one(self, name: str) -> Model:
        """Load a model of the folder, new or again, and return it.

        Raises:
            UnknownModel: the folder has none of that name.
            InvalidModel: it can't be served; if it was loaded before, that one is kept.
        """
        with self._changing:
            stored = _stored(self.folder)
            if name not in stored:
                msg = f"There is no model {name!r} in the folder; there are {', '.join(stored)}."
                raise UnknownModel(msg)
            model = _load(stored[name])
            models = {**self.models, name: model}
            self.models = {each: models[each] for each in sorted(models)}
        return model

    def unload(self, name: str) -> None:
        """Let a model go, until it is loaded again; requests that have begun keep it.

        Raises:
            UnknownModel: it is not loaded.
            ModelInUse: it is the default.
        """
        with self._changing:
            if self.get(name).name == self.default:
                msg = f"{name!r} is the default model, which is not unloaded: DIGITS_DEFAULT_MODEL names it."
                raise ModelInUse(msg)
            self.models = {other: model for other, model in self.models.items() if other != name}

    def unloaded(self) -> list[str]:
        """Return the names of the folder's models that are not loaded."""
        return [name for name in _stored(self.folder) if name not in self.models]

    def versions(self) -> dict[str, str]:
        """Return every model's version."""
        return {model.name: model.classifier.version for model in self}

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def get(self, name: str | None = None) -> Model:
        """Return the model of that name, or the default.

        Raises:
            UnknownModel: there is none of that name.
        """
        models = self.models
        try:
            return models[self.default if name is None else name]
        except KeyError:
            msg = f"There is no model {name!r}; there are {', '.join(models)}."
            raise UnknownModel(msg) from None


def _loaded(folder: Path, default: str) -> Mapping[str, Model]:
    models = {name: _load(file) for name, file in _stored(folder).items()}
    if default not in models:
        there = ", ".join(models) or "no model at all"
        msg = f"the default model {default!r} is not in {folder}, which holds {there}"
        raise InvalidModel(msg)
    return models


def _stored(folder: Path) -> Mapping[str, Path]:
    return {file.parent.name: file for file in sorted(folder.glob(f"*/{MODEL_FILE}"))}


def _load(file: Path) -> Model:
    told = f"{file.parent.name}/{file.name}"  # where the folder is stays the machine's business
    try:
        classifier = Classifier.load(file.read_bytes())
        if classifier.name != file.parent.name:
            msg = f"its metadata names it {classifier.name!r}, its folder {file.parent.name!r}"
            raise InvalidModel(msg)  # noqa: TRY301  to be told with the path, as the others below
        return Model(classifier, _metrics(file.with_name(METRICS_FILE), classifier))
    except OSError as error:
        msg = f"{told} can't be read: {error.strerror}"
        raise InvalidModel(msg) from error
    except InvalidModel as error:
        msg = f"{told} can't be served: {error.detail}"
        raise InvalidModel(msg) from error


def _metrics(file: Path, classifier: Classifier) -> Mapping[str, Any] | None:
    if not file.exists():
        return None
    try:
        metrics: dict[str, Any] = json.loads(file.read_text())
        evaluated = metrics["model"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{file.name} beside it is damaged; write it again with `python -m training evaluate`"
        raise InvalidModel(msg) from error
    if evaluated != classifier.sha256:
        msg = f"{file.name} beside it was measured of another file; run `python -m training evaluate`"
        raise InvalidModel(msg)
    return metrics
