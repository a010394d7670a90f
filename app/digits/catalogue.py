"""The folder of models → named classifiers, in versions side by side.

models/NAME/model.onnx      the network, its name in its metadata; version 1 of NAME
models/NAME/metrics.json    what `evaluate` measured with exactly this file; optional
models/NAME/N/…             version N: two files of these names; N is 2, 3, …, or 1 if NAME itself has no file

A request asks for version N of NAME as NAME@N; NAME alone means its highest version. If version 1 is the
only one, answers call it NAME.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from app.digits.classifier import Classifier
from app.digits.errors import InvalidModel, ModelInUse, UnknownModel

MODEL_FILE: Final = "model.onnx"
METRICS_FILE: Final = "metrics.json"
VERSION_SEPARATOR: Final = "@"  # between a model's name and its version's number
_VERSION_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")  # folders such as 0, 02 and notes are ignored


class Version(NamedTuple):
    """One of a model's versions."""

    model: str
    number: int  # from 1

    def __str__(self) -> str:
        return f"{self.model}{VERSION_SEPARATOR}{self.number}"

    def matches(self, name: str) -> bool:
        """Tell whether `name` is NAME@N of this version, or NAME of its model."""
        return name in {self.model, str(self)}


def find_files(folder: Path, file: str = MODEL_FILE) -> dict[Version, Path]:
    """Return the path of `file` for each version below `folder` that has one, in order of the versions."""
    unnumbered = {Version(file_path.parent.name, 1): file_path for file_path in folder.glob(f"*/{file}")}
    numbered = {
        Version(file_path.parent.parent.name, int(file_path.parent.name)): file_path
        for file_path in folder.glob(f"*/*/{file}")
        if _VERSION_NUMBER.fullmatch(file_path.parent.name)
    }
    return dict(sorted((numbered | unnumbered).items()))


def name_versions(versions: Collection[Version]) -> dict[Version, str]:
    """Return what answers call each version, NAME@N or NAME; `versions` holds every version there is."""
    highest = _find_highest(versions)
    return {
        version: version.model if highest[version.model].number == 1 else str(version) for version in versions
    }


def locate_folder(models: Path, full_name: str) -> Path:
    """Return the folder of NAME@N below `models`, even if it does not exist; NAME means its highest version.

    Raises:
        UnknownModel: `full_name` is neither NAME nor NAME@N.
    """
    name, separator, number = full_name.partition(VERSION_SEPARATOR)
    if separator and not _VERSION_NUMBER.fullmatch(number):
        msg = f"{full_name!r} names no version: write NAME{VERSION_SEPARATOR}N, with N from 1."
        raise UnknownModel(msg)
    files = find_files(models)
    version = Version(name, int(number)) if separator else _find_highest(files).get(name, Version(name, 1))
    if version in files:
        return files[version].parent
    return models / name if version.number == 1 else models / name / str(version.number)


def _find_highest(versions: Iterable[Version]) -> dict[str, Version]:
    return {version.model: version for version in sorted(versions)}


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier with its name, its version and its metrics."""

    name: str  # as answers, logs and metrics call it; requests may ask for it
    version: Version
    classifier: Classifier
    metrics: Mapping[str, Any] | None


@dataclass(slots=True)
class Catalogue:
    """The loaded models, and the name of the default, which answers requests that name no model."""

    folder: Path
    default: str
    # by every name that a request may use; replaced as a whole, so that running requests keep their model
    _by_name: Mapping[str, Model]
    _change_lock: Lock = field(default_factory=Lock, repr=False)  # onnxruntime builds one session at a time

    @classmethod
    def load(cls, folder: Path, *, default: str) -> Catalogue:
        """Load every version of every model below `folder`.

        Raises:
            InvalidModel: a file can't be served, or no model is called `default`.
        """
        return cls(folder, default, _load_all(folder, default))

    def reload(self) -> None:
        """Load every version of every model again, and only then replace the old ones.

        Raises:
            InvalidModel: see `load`; the old ones stay loaded.
        """
        with self._change_lock:
            self._by_name = _load_all(self.folder, self.default)

    def reload_one(self, name: str) -> Model:
        """Load NAME@N, or all versions of NAME, from the folder; return the model that `name` now refers to.

        Raises:
            UnknownModel: the folder has no model of that name.
            InvalidModel: a file can't be served; the models that were loaded before stay loaded.
        """
        with self._change_lock:
            available = find_files(self.folder)
            selected = {version: file for version, file in available.items() if version.matches(name)}
            if not selected:
                known = ", ".join(name_versions(available).values())
                msg = f"There is no model {name!r} in the folder; there are {known}."
                raise UnknownModel(msg)
            others = [model for model in self if model.version not in selected]
            self._by_name = _index_by_name([*others, *_load_files(selected, self.folder)])
            return self.get(name)

    def unload(self, name: str) -> None:
        """Unload NAME@N, or all versions of NAME; requests that have begun can still use them.

        Raises:
            UnknownModel: no such model is loaded.
            ModelInUse: there would be no default model any more.
        """
        with self._change_lock:
            self.get(name)
            remaining = _index_by_name(model for model in self if not model.version.matches(name))
            if self.default not in remaining:
                msg = (
                    f"{self.default!r} is the default model, which can't be unloaded: "
                    "DIGITS_DEFAULT_MODEL names it."
                )
                raise ModelInUse(msg)
            self._by_name = remaining

    def list_versions(self) -> tuple[list[Model], list[Version]]:
        """Return the models that are loaded, and the versions in the folder that are not."""
        files = find_files(self.folder)
        loaded = list(self)
        return loaded, [version for version in files if version not in {model.version for model in loaded}]

    @property
    def models(self) -> dict[str, Model]:
        """The loaded models, by the names that answers use, in order of their versions."""
        return {model.name: model for model in self._by_name.values()}

    def get_recipe_versions(self) -> dict[str, str]:
        """Return the version of each model's recipe, as in its metadata, by the model's name."""
        return {model.name: model.classifier.recipe_version for model in self}

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def get(self, name: str | None = None) -> Model:
        """Return the model NAME@N, the highest loaded version of NAME, or the default if `name` is None.

        Raises:
            UnknownModel: no such model is loaded.
        """
        try:
            return self._by_name[self.default if name is None else name]
        except KeyError:
            msg = f"There is no model {name!r}; there are {', '.join(self.models)}."
            raise UnknownModel(msg) from None


def _load_all(folder: Path, default: str) -> Mapping[str, Model]:
    models = _index_by_name(_load_files(find_files(folder), folder))
    if default not in models:
        available = ", ".join(dict.fromkeys(model.name for model in models.values())) or "no model at all"
        msg = f"the default model {default!r} is not in {folder}, which holds {available}"
        raise InvalidModel(msg)
    return models


def _index_by_name(models: Iterable[Model]) -> Mapping[str, Model]:
    """Name the models as answers do; return each by NAME@N, and the highest versions by NAME, too."""
    loaded = {model.version: model for model in models}
    display_names = name_versions(loaded)
    renamed = {version: replace(loaded[version], name=display_names[version]) for version in sorted(loaded)}
    index = {str(version): model for version, model in renamed.items()}
    return index | {name: renamed[version] for name, version in _find_highest(renamed).items()}


def _load_files(files: Mapping[Version, Path], folder: Path) -> list[Model]:
    return [_load(version, file, folder) for version, file in files.items()]


def _load(version: Version, file: Path, folder: Path) -> Model:
    relative_path = file.relative_to(folder)  # an error is public, and does not tell where the folder is
    try:
        classifier = Classifier.load(file.read_bytes())
        _check_location(version, file, classifier)
        metrics = _read_metrics(file.with_name(METRICS_FILE), classifier)
        return Model(str(version), version, classifier, metrics)
    except OSError as error:
        msg = f"{relative_path} can't be read: {error.strerror}"
        raise InvalidModel(msg) from error
    except InvalidModel as error:
        msg = f"{relative_path} can't be served: {error.detail}"
        raise InvalidModel(msg) from error


def _check_location(version: Version, file: Path, classifier: Classifier) -> None:
    name = version.model
    if classifier.name != name:
        msg = f"its metadata calls it {classifier.name!r}, but its folder is called {name!r}"
        raise InvalidModel(msg)
    if VERSION_SEPARATOR in name:
        msg = f"a model's name can't contain {VERSION_SEPARATOR!r}: version N of NAME belongs in NAME/N"
        raise InvalidModel(msg)
    if version.number == 1 and (other := file.parent / "1" / MODEL_FILE).exists():
        msg = f"it is version 1, and so is {name}/1/{other.name}; give one of them another number"
        raise InvalidModel(msg)


def _read_metrics(file: Path, classifier: Classifier) -> Mapping[str, Any] | None:
    if not file.exists():
        return None
    try:
        metrics: dict[str, Any] = json.loads(file.read_text())
        sha256 = metrics["model"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{file.name} beside it is damaged; write it again with `python -m training evaluate`"
        raise InvalidModel(msg) from error
    if sha256 != classifier.sha256:
        msg = f"{file.name} beside it was measured with another file; run `python -m training evaluate`"
        raise InvalidModel(msg)
    return metrics
