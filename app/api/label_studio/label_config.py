"""The label config of a project: which of its controls this service can fill, and for which picture.

The XML comes from outside. It is limited in size and parsed as a stream of tags, of which only those below
are looked at. A document type, and with it every entity of its own, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, get_args
from xml.parsers import expat  # events, without a tree that has to fit in memory

from ...feedback.labels import LABELS
from ...wire.problems import MalformedRequest

ControlKind = Literal["Choices", "TextArea", "RectangleLabels"]
KINDS: Final[Mapping[str, ControlKind]] = {kind: kind for kind in get_args(ControlKind)}
MAX_CONFIG: Final = 262_144  # characters; a config with a hundred labels has 5,000
_LABEL_TAGS: Final = frozenset({"Choice", "Label"})


@dataclass(frozen=True, slots=True)
class Control:
    """A control tag, and the labels that it offers."""

    kind: ControlKind
    name: str
    object_name: str  # of the picture that it annotates
    labels: Sequence[str]

    def get_label(self, digit: int | None) -> str | None:
        """Return the label of a digit, or of "no digit", if there is one: `7`, or `none` in any case."""
        return next((label for label in self.labels if _parse_label(label) == (digit,)), None)


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The controls that this service can fill, and the member of a task's data that holds their picture."""

    controls: Sequence[Control]
    picture_key: str

    @property
    def wants_digit(self) -> bool:
        """Whether a picture is read as a single digit."""
        return any(control.kind == "Choices" for control in self.controls)

    @property
    def wants_number(self) -> bool:
        """Whether a picture is read as a number."""
        return any(control.kind != "Choices" for control in self.controls)


def read_label(label: object) -> tuple[int | None] | None:
    """Return the digit of a label in a tuple, where None means "no digit"; or None if it is no such label."""
    return _parse_label(label) if isinstance(label, str) else None


def _parse_label(label: str) -> tuple[int | None] | None:
    label = label.strip().lower()
    return (LABELS[label],) if label in LABELS else None


def parse(xml: str) -> LabelConfig:
    """Parse a label config.

    Raises:
        MalformedRequest: it is not XML, too long, or has no control that this service can fill.
    """
    if len(xml) > MAX_CONFIG:
        msg = f"The label config has {len(xml)} characters; at most {MAX_CONFIG} are allowed."
        raise MalformedRequest(msg)
    tags = _TagCollector()
    try:
        tags.parse(xml)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        msg = f"The label config is not XML: {error}."
        raise MalformedRequest(msg) from None
    return _select_controls(tags.controls, tags.pictures)


def _select_controls(controls: Sequence[Control], pictures: Mapping[str, str]) -> LabelConfig:
    """Keep the controls of the first picture that has one that can be filled."""
    usable = [control for control in controls if control.object_name in pictures and _can_fill(control)]
    if not usable:
        msg = (
            "The label config has nothing that can be filled. Give an <Image> one of <Choices> with digits, "
            "<TextArea>, or <RectangleLabels>."
        )
        raise MalformedRequest(msg)
    chosen = usable[0].object_name
    return LabelConfig([control for control in usable if control.object_name == chosen], pictures[chosen])


def _can_fill(control: Control) -> bool:
    if control.kind == "Choices":
        return any(map(_parse_label, control.labels))
    return control.kind == "TextArea" or bool(control.labels)


class _TagCollector:
    """Collects the pictures and controls of a label config."""

    def __init__(self) -> None:
        self.pictures: dict[str, str] = {}  # name → member of a task's data
        self.controls: list[Control] = []
        self._open_labels: list[str] | None = None  # of the control whose tag is open

    def parse(self, xml: str) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.Parse(xml.encode(), True)  # noqa: FBT003  expat's functions take no names

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "Image":
            self.pictures[attributes.get("name", "")] = attributes.get("value", "").removeprefix("$")
        elif tag in KINDS:
            self._open_labels = []
            if attributes.get("perRegion") != "true":  # it would need a region that somebody has drawn
                name, object_name = attributes.get("name", ""), attributes.get("toName", "")
                self.controls.append(Control(KINDS[tag], name, object_name, self._open_labels))
        elif tag in _LABEL_TAGS and self._open_labels is not None:
            self._open_labels.append(attributes.get("alias") or attributes.get("value", ""))

    def _end(self, tag: str) -> None:
        if tag in KINDS:
            self._open_labels = None


def _refuse_document_type(*_: object) -> NoReturn:
    msg = "The label config has a document type, which is not allowed. Remove <!DOCTYPE …>."
    raise MalformedRequest(msg)
