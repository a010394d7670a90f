"""The folder of models → named classifiers, in versions side by side.

models/NAME/model.onnx      the network, its name in its metadata; version 1 of NAME
models/NAME/metrics.json    what `evaluate` measured of that very file; optional
models/NAME/N/…             version N, the same files; N is 2, 3, …, or 1 where NAME itself holds no file

NAME@N is asked for by that name, and NAME alone means its highest version. Where version 1 is all that
there is, answers call it NAME.
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
MARK: Final = "@"  # between a model's name and its version's number
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")  # other folders are none of ours: 0, 02, notes


class Version(NamedTuple):
    """One of a model's versions."""

    model: str
    number: int  # from 1

    def __str__(self) -> str:
        return f"{self.model}{MARK}{self.number}"

    def belongs_to(self, asked: str) -> bool:
        """Tell whether `asked` is its name, or its model's."""
        return asked in {self.model, str(self)}


def stored(folder: Path, file: str = MODEL_FILE) -> dict[Version, Path]:
    """Return where each version below `folder` has its `file`, in order."""
    plain = {Version(found.parent.name, 1): found for found in folder.glob(f"*/{file}")}
    numbered = {
        Version(found.parent.parent.name, int(found.parent.name)): found
        for found in folder.glob(f"*/*/{file}")
        if _NUMBER.fullmatch(found.parent.name)
    }
    return dict(sorted((numbered | plain).items()))


def names(versions: Collection[Version]) -> dict[Version, str]:
    """Return what answers call each of these versions, all that there are: NAME@N, or NAME."""
    highest = _highest(versions)
    return {
        version: version.model if highest[version.model].number == 1 else str(version) for version in versions
    }


def folder_of(models: Path, asked: str) -> Path:
    """Return the folder of NAME@N below `models`, there or not; NAME alone means its highest version.

    Raises:
        UnknownModel: what is asked for can't be the name of a version.
    """
    name, mark, number = asked.partition(MARK)
    if mark and not _NUMBER.fullmatch(number):
        msg = f"{asked!r} names no version: write NAME{MARK}N, with N from 1."
        raise UnknownModel(msg)
    there = stored(models)
    version = Version(name, int(number)) if mark else _highest(there).get(name, Version(name, 1))
    if version in there:
        return there[version].parent
    return models / name if version.number == 1 else models / name / str(version.number)


def _highest(versions: Iterable[Version]) -> dict[str, Version]:
    return {version.model: version for version in sorted(versions)}


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier, which version of which model it is, and what was measured of it."""

    name: str  # as answers, logs and metrics call it; requests may ask for it
    version: Version
    classifier: Classifier
    metrics: Mapping[str, Any] | None


@dataclass(slots=True)
class Catalogue:
    """All models, loaded and warm, and which one answers when none is asked for."""

    folder: Path
    default: str
    _known: Mapping[str, Model]  # by all that may be asked for; replaced as a whole: who has a model keeps it
    _changing: Lock = field(default_factory=Lock, repr=False)  # onnxruntime builds one session at a time

    @classmethod
    def load(cls, folder: Path, *, default: str) -> Catalogue:
        """Load every version of every model below `folder`.

        Raises:
            InvalidModel: a file can't be served, there is none, or `default` is not among them.
        """
        return cls(folder, default, _whole(folder, default))

    def reload(self) -> None:
        """Load every version of every model again, and only then let the old ones go.

        Raises:
            InvalidModel: as `load`; the old ones are kept.
        """
        with self._changing:
            self._known = _whole(self.folder, self.default)

    def reload_one(self, asked: str) -> Model:
        """Load NAME@N of the folder, or all versions of NAME, new or again; return what `asked` now means.

        Raises:
            UnknownModel: the folder has none of that name.
            InvalidModel: one can't be served; those that were loaded before are kept.
        """
        with self._changing:
            there = stored(self.folder)
            wanted = {version: file for version, file in there.items() if version.belongs_to(asked)}
            if not wanted:
                known = ", ".join(names(there).values())
                msg = f"There is no model {asked!r} in the folder; there are {known}."
                raise UnknownModel(msg)
            others = [model for model in self if model.version not in wanted]
            self._known = _by_name([*others, *_loaded(wanted, self.folder)])
            return self.get(asked)

    def unload(self, asked: str) -> None:
        """Let NAME@N go, or all versions of NAME, until they are loaded; requests that have begun keep them.

        Raises:
            UnknownModel: it is not loaded.
            ModelInUse: nothing would be left that the default names.
        """
        with self._changing:
            self.get(asked)
            known = _by_name(model for model in self if not model.version.belongs_to(asked))
            if self.default not in known:
                msg = (
                    f"{self.default!r} is the default model, which is not unloaded: "
                    "DIGITS_DEFAULT_MODEL names it."
                )
                raise ModelInUse(msg)
            self._known = known

    def listed(self) -> tuple[list[Model], list[Version]]:
        """Return what is loaded, and the folder's versions that are not; seen at one moment."""
        there = stored(self.folder)
        loaded = list(self)
        return loaded, [version for version in there if version not in {model.version for model in loaded}]

    @property
    def models(self) -> dict[str, Model]:
        """All that are loaded, each by its one name, in order."""
        return {model.name: model for model in self._known.values()}

    def versions(self) -> dict[str, str]:
        """Return the version in each one's metadata, which is its recipe's, by name."""
        return {model.name: model.classifier.version for model in self}

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def get(self, asked: str | None = None) -> Model:
        """Return NAME@N, of NAME the highest version that is loaded, or the default.

        Raises:
            UnknownModel: there is none of that name.
        """
        try:
            return self._known[self.default if asked is None else asked]
        except KeyError:
            msg = f"There is no model {asked!r}; there are {', '.join(self.models)}."
            raise UnknownModel(msg) from None


def _whole(folder: Path, default: str) -> Mapping[str, Model]:
    known = _by_name(_loaded(stored(folder), folder))
    if default not in known:
        there = ", ".join(dict.fromkeys(model.name for model in known.values())) or "no model at all"
        msg = f"the default model {default!r} is not in {folder}, which holds {there}"
        raise InvalidModel(msg)
    return known


def _by_name(models: Iterable[Model]) -> Mapping[str, Model]:
    """Name the models as `names` has it; return them by NAME@N, and then the highest of each by NAME."""
    loaded = {model.version: model for model in models}
    called = names(loaded)
    named = {version: replace(loaded[version], name=called[version]) for version in sorted(loaded)}
    known = {str(version): model for version, model in named.items()}
    return known | {name: named[version] for name, version in _highest(named).items()}


def _loaded(files: Mapping[Version, Path], folder: Path) -> list[Model]:
    return [_load(version, file, folder) for version, file in files.items()]


def _load(version: Version, file: Path, folder: Path) -> Model:
    told = file.relative_to(folder)  # where the folder is stays the machine's business
    try:
        classifier = Classifier.load(file.read_bytes())
        _check_place(version, file, classifier)
        metrics = _metrics(file.with_name(METRICS_FILE), classifier)
        return Model(str(version), version, classifier, metrics)
    except OSError as error:
        msg = f"{told} can't be read: {error.strerror}"
        raise InvalidModel(msg) from error
    except InvalidModel as error:
        msg = f"{told} can't be served: {error.detail}"
        raise InvalidModel(msg) from error


def _check_place(version: Version, file: Path, classifier: Classifier) -> None:
    name = version.model
    if classifier.name != name:
        msg = f"its metadata names it {classifier.name!r}, its folder {name!r}"
        raise InvalidModel(msg)
    if MARK in name:
        msg = f"no name of a model may have an {MARK!r}: version N of NAME lies in NAME/N"
        raise InvalidModel(msg)
    if version.number == 1 and (other := file.parent / "1" / MODEL_FILE).exists():
        msg = f"it is version 1, and so is {name}/1/{other.name}; give one of them another number"
        raise InvalidModel(msg)


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
