"""The folder of models → named networks of all kinds, in versions side by side.

models/NAME/model.onnx      the network, its name in its metadata; version 1 of NAME
models/NAME/metrics.json    what `evaluate` measured with exactly this file; optional
models/NAME/N/…             version N: two files of these names; N is 2, 3, …, or 1 if NAME itself has no file

A request asks for version N of NAME as NAME@N; NAME alone means its highest version. If version 1 is the
only one, answers call it NAME.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from .classifier import Classifier
from .contract import CLASSIFIER, FINDER, LINE_READER
from .errors import InvalidModel, ModelInUse, UnknownModel, UnsuitableModel
from .finder import Finder
from .layers import LayerReader
from .line_reader import LineReader
from .network import Kind, Network
from .numbers import NumberReader

MODEL_FILE: Final = "model.onnx"
METRICS_FILE: Final = "metrics.json"
VERSION_SEPARATOR: Final = "@"  # between a model's name and its version's number
KINDS: Final[Mapping[str, type[Network]]] = {CLASSIFIER: Classifier, FINDER: Finder, LINE_READER: LineReader}
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
    """A network with its name, its version and its metrics."""

    name: str  # as answers, logs and metrics call it; requests may ask for it
    version: Version
    network: Network
    metrics: Mapping[str, Any] | None

    @property
    def classifier(self) -> Classifier:
        """The network, if it reads single digits.

        Raises:
            UnsuitableModel: it is of another kind.
        """
        return self.as_kind(Classifier)

    def as_kind(self, kind: type[Kind]) -> Kind:
        """Return the network, if it is of this kind.

        Raises:
            UnsuitableModel: it is of another kind.
        """
        if isinstance(self.network, kind):
            return self.network
        (wanted,) = (name for name, network_type in KINDS.items() if network_type is kind)
        msg = (
            f"The model {self.name!r} is a {self.network.kind}, and this needs a {wanted}. "
            "GET /models tells the kind of each."
        )
        raise UnsuitableModel(msg)


@dataclass(slots=True)
class Catalogue:
    """The loaded models, and the name of the default, which answers requests that name no model."""

    folder: Path
    default: str
    # by every name that a request may use; replaced as a whole, so that running requests keep their model
    _by_name: Mapping[str, Model]
    _change_lock: Lock = field(default_factory=Lock, repr=False)  # onnxruntime builds one session at a time
    # by the SHA-256 of the model's file; of those that somebody has asked for
    _layer_readers: Mapping[str, LayerReader | None] = field(default_factory=dict, repr=False)

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
                msg = f"There is no model {name!r} in the folder, which has {known}."
                raise UnknownModel(msg)
            others = [model for model in self if model.version not in selected]
            models = _index_by_name([*others, *_load_files(selected, self.folder)])
            _check_default(models, self.default)
            self._by_name = models
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

    def get_finder_model(self) -> Model | None:
        """Return the highest loaded version of the finder, if there is one."""
        model = self._by_name.get(FINDER)
        return model if model and isinstance(model.network, Finder) else None

    def get_finder(self) -> Finder | None:
        """Return the finder's network, if there is one."""
        model = self.get_finder_model()
        return model.as_kind(Finder) if model else None

    def get_line_reader(self, name: str | None = None) -> Model:
        """Return the line reader NAME@N, or the highest loaded version if `name` is None or a classifier's.

        Raises:
            UnknownModel: no model of that name is loaded, or there is no line reader.
            UnsuitableModel: the model is a finder.
        """
        model = None if name is None else self.get(name)
        if model is None or isinstance(model.network, Classifier):
            return self._require(LINE_READER)
        model.as_kind(LineReader)
        return model

    def get_number_reader(self, line_reader: Model | None = None) -> NumberReader:
        """Return the highest loaded finder with a line reader, by default the highest, and the default model.

        Raises:
            UnknownModel: there is no finder, or no line reader.
        """
        finder = self._require(FINDER).as_kind(Finder)
        line_network = (line_reader or self.get_line_reader()).as_kind(LineReader)
        return NumberReader(finder, line_network, self.get().classifier)

    def get_layer_reader(self, model: Model) -> LayerReader | None:
        """Return the reader of a model's layers; the first call for a model reads its file again.

        There is none if the file has gone or changed since the model was loaded.
        """
        with self._change_lock:
            if model.network.sha256 not in self._layer_readers:
                loaded = {each.network.sha256 for each in self}
                kept = {sha256: each for sha256, each in self._layer_readers.items() if sha256 in loaded}
                self._layer_readers = {**kept, model.network.sha256: _load_layer_reader(self.folder, model)}
            return self._layer_readers[model.network.sha256]

    def _require(self, kind: str) -> Model:
        """Return the highest loaded version of the finder or of the line reader.

        Raises:
            UnknownModel: there is none.
        """
        model = self._by_name.get(kind)
        if model and model.network.kind == kind:
            return model
        msg = (
            f"Numbers can't be read: there is no {kind} among the models. The service's operator can copy "
            f"{FINDER!r} and {LINE_READER!r} from the release into the folder of models, and restart it."
        )
        raise UnknownModel(msg)

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
        return {model.name: model.network.recipe_version for model in self}

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
            msg = f"There is no model {name!r}. The models are {', '.join(self.models)}."
            raise UnknownModel(msg) from None


def _load_all(folder: Path, default: str) -> Mapping[str, Model]:
    models = _index_by_name(_load_files(find_files(folder), folder))
    if default not in models:
        available = ", ".join(dict.fromkeys(model.name for model in models.values())) or "no model at all"
        msg = f"the default model {default!r} is not in {folder}, which holds {available}"
        raise InvalidModel(msg)
    _check_default(models, default)
    return models


def _check_default(models: Mapping[str, Model], default: str) -> None:
    kind = models[default].network.kind
    if kind != CLASSIFIER:
        msg = f"the default model {default!r} is a {kind}, and only a {CLASSIFIER} reads single digits"
        raise InvalidModel(msg)


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
        network = load_network(file.read_bytes())
        _check_location(version, file, network)
        metrics = _read_metrics(file.with_name(METRICS_FILE), network)
        return Model(str(version), version, network, metrics)
    except OSError as error:
        msg = f"{relative_path} can't be read: {error.strerror}"
        raise InvalidModel(msg) from error
    except InvalidModel as error:
        msg = f"{relative_path} can't be served: {error.detail}"
        raise InvalidModel(msg) from error


def _load_layer_reader(folder: Path, model: Model) -> LayerReader | None:
    with suppress(KeyError, OSError, InvalidModel):
        onnx = find_files(folder)[model.version].read_bytes()
        if hashlib.sha256(onnx).hexdigest() == model.network.sha256:
            return LayerReader.load(onnx)
    return None


def load_network(onnx: bytes) -> Network:
    """Load an ONNX file of any kind, which its metadata names.

    Raises:
        InvalidModel: the file does not conform to the contract for its kind, or its kind is unknown.
    """
    network = Network.load(onnx)
    if network.kind not in KINDS:
        msg = f"its metadata calls it a {network.kind!r}; the kinds are {', '.join(KINDS)}"
        raise InvalidModel(msg)
    return network.as_kind(KINDS[network.kind])


def _check_location(version: Version, file: Path, network: Network) -> None:
    name = version.model
    if network.name != name:
        msg = f"its metadata calls it {network.name!r}, but its folder is called {name!r}"
        raise InvalidModel(msg)
    if VERSION_SEPARATOR in name:
        msg = f"a model's name can't contain {VERSION_SEPARATOR!r}: version N of NAME belongs in NAME/N"
        raise InvalidModel(msg)
    if version.number == 1 and (other := file.parent / "1" / MODEL_FILE).exists():
        msg = f"it is version 1, and so is {name}/1/{other.name}; give one of them another number"
        raise InvalidModel(msg)


def _read_metrics(file: Path, network: Network) -> Mapping[str, Any] | None:
    if not file.exists():
        return None
    try:
        metrics: dict[str, Any] = json.loads(file.read_text())
        sha256 = metrics["model"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{file.name} beside it is damaged; write it again with `python -m training evaluate`"
        raise InvalidModel(msg) from error
    if sha256 != network.sha256:
        msg = f"{file.name} beside it was measured with another file; run `python -m training evaluate`"
        raise InvalidModel(msg)
    return metrics
