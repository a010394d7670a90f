"""Grey picture → the number that is written on it: find → group into lines → read → assemble.

The finder says where characters are. They are grouped into lines, and each line is levelled and read as a
whole, because neighbours tell what a character is: where one digit ends and the next begins, how tall the
digits are, and how this hand writes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import ctc, lines, tones
from .classifier import Classifier
from .components import enclose_boxes
from .contract import CHARACTERS, CLASSES, OTHER_WRITING, READER_STRIDE, GreyPicture
from .evidence import collect_evidence, weigh
from .finder import LEVELS, MIN_LIKELIHOOD, Characters, Finder
from .images import Box
from .light import normalise_polarity
from .line_reader import LineReader
from .lines import Line, Strip
from .working_picture import Polarity, WorkingPicture

NumberCaution: TypeAlias = Literal[
    "low_contrast", "touches_border", "tiny", "no_digits", "crowded", "ignored_writing"
]

MAX_CHARACTERS: Final = 200  # the surest on a picture, so that the work is bounded
MAX_COLUMNS: Final = 5120  # pixels of all views of all lines: some 250 clear digits, or 100 in doubt
CLEAR: Final = 0.99  # probability of a line's text: with less, the line reader gets a second view of it,
STRETCH: Final = 1.3  # so many times as wide, and the mean counts: narrow hands are read better in it
SURE: Final = 0.9  # probability of a line's digits: with less, second opinions are asked for
MAX_JUDGED: Final = 24  # digits of a picture that the classifier is asked about, so that the work is bounded
MAX_IGNORED: Final = 50  # boxes of other writing in an answer
LOW_CONTRAST: Final = 48  # grey levels between ink and paper: with less, people have to look twice
TINY_HEIGHT: Final = 10.0  # pixels: a lower digit has lost its shape
# How much less likely a line's text is if the finder sees something else. Measured on drawn numbers of
# held-out writers, where these make the confidence match the share of right answers.
COUNT_PENALTY: Final = 0.7  # another number of digits
DIGIT_PENALTY: Final = 0.5  # another digit, where there is only one
STRAY_PENALTY: Final = 0.6  # for each line that was left out, times its probability
FAINT_PENALTY: Final = 0.5  # for each digit that may be one, times its likelihood
ODDS: Final = 1.75  # by which the odds are raised in the end: all of this is too cautious by so much
# A line is kept if it is nearly as certain as the best one: print, rings and pens are less certain.
MIN_WORTH: Final = 0.55  # of the best line's probability times the finder's certainty
MIN_LONG_WORTH: Final = 0.3  # for a line of at least LONG digits
LONG: Final = 4
MIN_CERTAINTY: Final = 0.75  # of the most certain line's, for a line of several characters
# A line that is low beside the best one, and hardly readable as digits, is print, as a form's labels are.
MAX_PRINT: Final = 0.4  # probability of its digits
PRINT_HEIGHT: Final = 0.7  # of the best line's height
MAX_SHIFT: Final = 0.7  # heights of a digit between a character as it was read and as it was found
NEIGHBOURHOOD: Final = (3.0, 0.8)  # heights beside a line, across and down, that belong to it


@dataclass(frozen=True, slots=True)
class Mark:
    """A digit or a sign. `box` is in the grey picture's pixels."""

    character: str
    confidence: float
    box: Box
    line: int


@dataclass(frozen=True, slots=True)
class Number:
    """The number on a picture. `confidence` is how likely all of its digits are right."""

    written: tuple[str, ...]  # its lines with their signs
    marks: tuple[Mark, ...]  # digits and signs, in reading order
    ignored: tuple[Box, ...]  # other writing in and beside the lines
    polarity: Polarity
    confidence: float
    cautions: tuple[NumberCaution, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The digits of each line."""
        return tuple("".join(filter(str.isdigit, line)) for line in self.written)

    @property
    def text(self) -> str:
        r"""The digits of all lines, separated by \n."""
        return "\n".join(self.lines)

    @property
    def digits(self) -> tuple[Mark, ...]:
        """The digits, in reading order."""
        return tuple(mark for mark in self.marks if mark.character.isdigit())

    @property
    def signs(self) -> tuple[Mark, ...]:
        """The signs, in reading order."""
        return tuple(mark for mark in self.marks if not mark.character.isdigit())

    @property
    def box(self) -> Box | None:
        """The box around all digits; None if there are none."""
        return enclose_boxes([digit.box for digit in self.digits]) if self.digits else None


@dataclass(frozen=True, slots=True)
class _Reading:
    """A line, and what the line reader says of it."""

    line: Line
    strip: Strip
    frames: NDArray[np.float32]
    texts: dict[ctc.Text, float]  # by their probabilities
    digits: ctc.Text
    text: ctc.Text  # with signs
    probability: float  # of `digits`

    @property
    def is_doubtful(self) -> bool:
        return self.probability < SURE or len(self.digits) != len(self.line.digits)

    @property
    def certainty(self) -> float:
        """How certain the finder is of the line's digits."""
        return float(self.line.digits.certainties.mean())

    @property
    def worth(self) -> float:
        return self.probability * self.certainty


@dataclass(frozen=True, slots=True)
class NumberReader:
    """Reads whole numbers with three networks; the classifier is asked only if the line reader doubts."""

    finder: Finder
    line_reader: LineReader
    classifier: Classifier | None = None  # without it, no second opinions are asked for

    def read(self, grey: GreyPicture, *, levels: Sequence[int] = LEVELS) -> Number:
        """Read the number on a grey picture.

        Args:
            grey: uint8 (height, width), of any size and polarity.
            levels: see `Finder.find`.
        """
        found = self.finder.find(grey, levels=levels)
        is_clear = found.certainties > MIN_LIKELIHOOD
        clear, faint = found[is_clear], found[~is_clear]
        readings, is_complete = self._read_lines(grey, lines.group(clear[:MAX_CHARACTERS]))
        kept, stray = _drop_stray(readings)
        marks = [mark for row, reading in enumerate(kept) for mark in _place_characters(reading, row)]
        ignored = [
            *_find_ignored(clear, kept),
            *(lines.round_box(_enclose(reading.line.digits.boxes)) for reading in stray),
        ]
        number = Number(
            written=tuple(_spell(reading.text) for reading in kept),
            marks=tuple(marks),
            ignored=tuple(ignored[:MAX_IGNORED]),
            polarity=_determine_polarity([reading.strip.pixels for reading in kept] or [grey]),
            confidence=_estimate_confidence(kept, stray, faint),
            cautions=(),
        )
        is_crowded = len(clear) > MAX_CHARACTERS or not is_complete
        return dataclasses.replace(
            number, cautions=tuple(_collect_cautions(number, kept, grey, is_crowded=is_crowded))
        )

    def _read_lines(self, grey: GreyPicture, found: Sequence[Line]) -> tuple[list[_Reading], bool]:
        """Read lines until their strips are too long together; return also whether all were read."""
        columns, judged, readings = 0, 0, list[_Reading]()
        single = lines.unite(found, grey.shape)
        for line in [single] if single else found:
            strip = lines.resize_to_strip(grey) if single else lines.cut_strip(grey, line)
            columns += strip.pixels.shape[1]
            if columns > MAX_COLUMNS:
                return readings, False
            frames = self.line_reader.read(strip.pixels)
            texts = ctc.find_texts(frames)
            if next(iter(texts.values())) < CLEAR:
                wider = lines.stretch(strip.pixels, STRETCH)
                columns += wider.shape[1]
                texts = _average(texts, ctc.find_texts(self.line_reader.read(wider)))
            reading = _decide(line, strip, frames, texts)
            if self.classifier and reading.is_doubtful and judged + len(line.digits) <= MAX_JUDGED:
                judged += len(line.digits)
                evidence = collect_evidence(grey, line, self.classifier)
                reading = _decide(line, strip, frames, weigh(texts, evidence))
            if reading.digits:
                readings.append(reading)
        return readings, True


def _average(*views: dict[ctc.Text, float]) -> dict[ctc.Text, float]:
    """Return all texts with their mean probability in several views, the likeliest one first."""
    texts: dict[ctc.Text, float] = {}
    for text, probability in chain.from_iterable(view.items() for view in views):
        texts[text] = texts.get(text, 0.0) + probability / len(views)
    return dict(sorted(texts.items(), key=lambda item: -item[1]))


def _decide(line: Line, strip: Strip, frames: NDArray[np.float32], texts: dict[ctc.Text, float]) -> _Reading:
    """Return the likeliest digits of a line: all texts that differ only in their signs count together."""
    by_digits: dict[ctc.Text, float] = {}
    digits_of = {text: _keep_digits(text) for text in texts}
    for text, probability in texts.items():
        by_digits[digits_of[text]] = by_digits.get(digits_of[text], 0.0) + probability
    digits = max(by_digits, key=by_digits.__getitem__)
    text = max((text for text in texts if digits_of[text] == digits), key=texts.__getitem__)
    probability = min(1.0, by_digits[digits])
    found = tuple(line.digits.labels.tolist())
    if len(found) == 1:
        certainty = float(line.digits.certainties[0])
        probability *= math.sqrt(certainty) if digits == found else DIGIT_PENALTY * certainty
    elif len(found) != len(digits):
        probability *= COUNT_PENALTY
    return _Reading(line, strip, frames, texts, digits, text, probability)


def _keep_digits(text: ctc.Text) -> ctc.Text:
    return text if max(text, default=0) < CLASSES else tuple(label for label in text if label < CLASSES)


def _spell(text: ctc.Text) -> str:
    return "".join(CHARACTERS[label] for label in text if label != OTHER_WRITING)


def _drop_stray(readings: Sequence[_Reading]) -> tuple[list[_Reading], list[_Reading]]:
    """Separate the lines from those that are far less certain than the best."""
    worth = max((reading.worth for reading in readings), default=0.0)
    certainty = max((reading.certainty for reading in readings), default=0.0)
    height = max(readings, key=lambda reading: reading.worth).line.height if readings else 0.0
    kept, stray = list[_Reading](), list[_Reading]()
    for reading in readings:
        is_print = reading.probability < MAX_PRINT and reading.line.height < PRINT_HEIGHT * height
        is_kept = not is_print and (
            reading.worth >= MIN_WORTH * worth
            or (reading.worth >= MIN_LONG_WORTH * worth and len(reading.digits) >= LONG)
            or (len(reading.line.characters) > 1 and reading.certainty >= MIN_CERTAINTY * certainty)
        )
        (kept if is_kept else stray).append(reading)
    return kept, stray


def _estimate_confidence(kept: Sequence[_Reading], stray: Sequence[_Reading], faint: Characters) -> float:
    if not kept:
        return 0.0
    confidence = math.prod(reading.probability for reading in kept)
    confidence *= math.prod(1 - STRAY_PENALTY * reading.probability for reading in stray)
    likelihoods = faint.certainties[faint.labels < CLASSES].tolist()
    for likelihood in likelihoods:
        confidence *= 1 - FAINT_PENALTY * likelihood
    return confidence * ODDS / (1 + confidence * (ODDS - 1))


def _place_characters(reading: _Reading, row: int) -> Iterator[Mark]:
    """Yield the characters of a line with their boxes: the finder's, or one of the usual size."""
    height = reading.line.height
    frames = ctc.locate(reading.frames, reading.text)
    places = reading.strip.map_columns([(frame + 0.5) * READER_STRIDE for frame in frames])
    boxes = reading.line.characters.boxes.tolist()
    width = float(np.median(reading.line.digits.boxes[:, 2] - reading.line.digits.boxes[:, 0]))
    matches = _match([x for x, _ in places], reading, height)
    total = sum(reading.texts.values())
    for index, (label, (x, y)) in enumerate(zip(reading.text, places, strict=True)):
        if label == OTHER_WRITING:
            continue
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if matches[index] is not None:
            box = boxes[matches[index]]
        probability = sum(
            share for text, share in reading.texts.items() if text[index : index + 1] == (label,)
        )
        yield Mark(CHARACTERS[label], min(1.0, probability / total), lines.round_box(box), row)


def _match(places: Sequence[float], reading: _Reading, height: float) -> list[int | None]:
    """Match characters that were read to those that were found, both from left to right.

    The sum of the distances is minimised by dynamic programming; one that stays alone costs MAX_SHIFT.
    """
    boxes = reading.line.characters.boxes
    found = ((boxes[:, 0] + boxes[:, 2]) / 2).tolist()
    labels = reading.line.characters.labels.tolist()
    alone = MAX_SHIFT / 2
    costs = [[alone * column for column in range(len(found) + 1)]]
    for row, (x, label) in enumerate(zip(places, reading.text, strict=True), 1):
        before, line = costs[-1], [alone * row]
        for column, (other, other_label) in enumerate(zip(found, labels, strict=True), 1):
            distance = abs(x - other) / height + (0.0 if label == other_label else 0.2)
            line.append(min(before[column] + alone, line[-1] + alone, before[column - 1] + distance))
        costs.append(line)
    matches: list[int | None] = [None] * len(places)
    row, column = len(places), len(found)
    while row and column:
        if costs[row][column] == costs[row - 1][column] + alone:
            row -= 1
        elif costs[row][column] == costs[row][column - 1] + alone:
            column -= 1
        else:
            row, column = row - 1, column - 1
            matches[row] = column
    return matches


def _find_ignored(clear: Characters, kept: Sequence[_Reading]) -> Iterator[Box]:
    """Yield the boxes of other writing in and beside the lines."""
    extents = [(_enclose(reading.line.characters.boxes), reading.line.height) for reading in kept]
    for box in clear.boxes[clear.labels == OTHER_WRITING].tolist():
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        for (left, top, right, bottom), height in extents:
            across, down = NEIGHBOURHOOD[0] * height, NEIGHBOURHOOD[1] * height
            if left - across < x < right + across and top - down < y < bottom + down:
                yield lines.round_box(box)
                break


def _collect_cautions(
    number: Number, kept: Sequence[_Reading], grey: GreyPicture, *, is_crowded: bool
) -> Iterator[NumberCaution]:
    if is_crowded:
        yield "crowded"
    if number.ignored:
        yield "ignored_writing"
    if not kept:
        yield "no_digits"
        return
    if min(_measure_contrast(reading.strip.pixels) for reading in kept) < LOW_CONTRAST:
        yield "low_contrast"
    height, width = grey.shape
    left, top, right, bottom = _enclose(np.concatenate([reading.line.digits.boxes for reading in kept]))
    if left < 0.5 or top < 0.5 or right > width - 0.5 or bottom > height - 0.5:  # noqa: PLR2004
        yield "touches_border"
    if min(reading.line.height for reading in kept) < TINY_HEIGHT:
        yield "tiny"


def _determine_polarity(strips: Sequence[GreyPicture]) -> Polarity:
    """Return the polarity of the longest line."""
    longest = max(strips, key=lambda strip: strip.shape[1])
    return normalise_polarity(WorkingPicture(pixels=longest)).polarity


def _measure_contrast(strip: GreyPicture) -> float:
    """Return the grey levels between the darkest and the lightest pixels, but for a few."""
    counts = tones.histogram(strip)
    return tones.percentile(counts, 98) - tones.percentile(counts, 2)


def _enclose(boxes: NDArray[np.float32]) -> tuple[float, float, float, float]:
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    return left, top, right, bottom
