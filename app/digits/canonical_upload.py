"""Upload → the canonical picture of its digit.

A drawing on a plain background, and a picture that is hardly larger than a digit, is processed as a whole.
On photographs, scans and pages, the finder looks for the digits first, and the most prominent one is cut out.
If the classifier doubts what it is shown, it is shown the picture in other ways, too: the digit cut out, the
whole picture, and the whole picture in the other polarity. The most credible one counts.
Large uploads are first decoded as a small copy, and at working size only if their digit is small or doubtful.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from .classifier import Classifier, Scores
from .contract import CLASSES, GreyPicture
from .errors import NoInk
from .finder import LEVELS, MIN_LIKELIHOOD, Finder
from .images import WORKING_SIDE, Box, Decoder, Picture, Upload
from .lines import round_box
from .preprocessing import (
    MIN_DIGIT_LENGTH_ON_COPY,
    MIN_SHRINK_FACTOR,
    STEPS,
    CanonicalForm,
    canonicalise,
    canonicalise_copy,
    canonicalise_part,
    needs_search,
    recognise_canonical,
)
from .working_picture import SMALL_COPY_SIDE, Step

PictureStage: TypeAlias = Literal["decode", "preprocess", "infer"]
StageTimer: TypeAlias = Callable[[PictureStage], AbstractContextManager[None]]

MAX_OTHERS: Final = 8  # further digits in an answer
MIN_CREDIBILITY: Final = 0.9  # of a look: with less, the picture is looked at in other ways
AGREEMENT: Final = 0.3  # times the finder's certainty: what a look gains if the finder sees the same digit
_LEVELS_OF_COPY: Final = [side for side in LEVELS if side <= SMALL_COPY_SIDE]  # enlarged, it shows no more
MIN_AGREEMENT: Final = 0.5  # for a part of the ink to be the digit where all of it was expected to be


class FoundDigit(NamedTuple):
    """A digit as the finder sees it. `box` is in the grey picture's pixels."""

    digit: int
    certainty: float
    box: Box


class CanonicalUpload(NamedTuple):
    """A decoded upload, its most prominent digit in canonical form, and the other digits on it."""

    picture: Picture
    canonical: CanonicalForm
    others: tuple[FoundDigit, ...] = ()
    scores: Scores | None = None  # of the canonical picture, if the classifier has been asked


class _Look(NamedTuple):
    """One way to see the digit of a picture, and what the classifier says of it."""

    form: CanonicalForm
    scores: Scores | None
    found: FoundDigit | None = None  # the digit that was cut out

    @property
    def credibility(self) -> float:
        """How likely this is a digit, and this one; 1 if the classifier does not tell."""
        if self.scores is None or self.scores.digit_likelihood is None:
            return 1.0
        return float(self.scores.digit_likelihood[0] * self.scores.probabilities[0].max())

    @property
    def is_doubtful(self) -> bool:
        return self.credibility < MIN_CREDIBILITY

    @property
    def agreement(self) -> float:
        """The finder's certainty if it sees the same digit as the classifier, otherwise 0."""
        if self.scores is None or self.found is None:
            return 0.0
        is_same = int(self.scores.probabilities[0].argmax()) == self.found.digit
        return self.found.certainty if is_same else 0.0

    @property
    def rank(self) -> float:
        """What looks at one picture are compared by."""
        return self.credibility + AGREEMENT * self.agreement


def canonicalise_upload(
    upload: Upload,
    *,
    classifier: Classifier | None = None,
    finder: Finder | None = None,
    steps: Sequence[Step] = STEPS,
    time_stage: StageTimer = lambda _: nullcontext(),
) -> CanonicalUpload:
    """Decode an upload and bring its most prominent digit into canonical form.

    Args:
        upload: from `images.identify`.
        classifier: judges what it is shown; without it, the first look at a picture counts.
        finder: finds digits on photographs, scans and pages; without it, these are processed as a whole.
        steps: the pipeline for a whole picture.
        time_stage: takes a stage's name, and returns a context in which the stage then runs.

    Raises:
        UnreadableImage: the file is truncated or corrupt.
        OutOfMemory: the machine has too little memory left.
        NoInk: nothing stands out from the background.
    """
    decoder, looker = Decoder(upload), _Looker(classifier, finder, steps, time_stage)
    is_large = max(upload.size) > MIN_SHRINK_FACTOR * SMALL_COPY_SIDE
    if is_large:
        with time_stage("decode"):
            picture = decoder.decode(side=SMALL_COPY_SIDE)
        with suppress(NoInk):
            result = looker.look_at_copy(picture)
            if result:
                return result
    with time_stage("decode"):
        picture = decoder.decode(side=WORKING_SIDE)
    return looker.look(picture, try_small=not is_large)


def glance(
    picture: Picture,
    *,
    classifier: Classifier | None = None,
    time_stage: StageTimer = lambda _: nullcontext(),
) -> CanonicalUpload | None:
    """Do what `canonicalise_upload` does if one look is enough; otherwise return None.

    Args:
        picture: one that is quick, see `is_quick`.
        classifier: see `canonicalise_upload`.
        time_stage: see `canonicalise_upload`.

    Raises:
        NoInk: nothing stands out from the background.
    """
    form = recognise_canonical(picture.grey)
    if form:
        return CanonicalUpload(picture, form)
    look = _Looker(classifier, None, STEPS, time_stage).take_whole(picture.grey)
    if look.is_doubtful or _shows_several(look):
        return None
    return CanonicalUpload(picture, look.form, scores=look.scores)


@dataclass(frozen=True, slots=True)
class _Looker:
    """Looks at pictures with the networks that there are."""

    classifier: Classifier | None
    finder: Finder | None
    steps: Sequence[Step]
    time_stage: StageTimer

    def look(self, picture: Picture, *, try_small: bool) -> CanonicalUpload:
        """Return the best look at a picture; for `try_small`, see `trace_steps`.

        Raises:
            NoInk: nothing stands out from the background.
        """
        grey = picture.grey
        form = recognise_canonical(grey)
        if form:
            return CanonicalUpload(picture, form)
        is_searched = self.finder is not None and needs_search(grey)
        digits = self.find_digits(grey) if is_searched else []
        if is_searched:
            look = self.take_prominent(grey, digits)
        else:
            look = self.take_whole(grey, try_small=try_small)
            if look.is_doubtful or _shows_several(look):
                digits = self.find_digits(grey)
        if look.is_doubtful:
            look = max((look, *self.take_others(grey, look, digits)), key=lambda each: each.rank)
        return CanonicalUpload(picture, look.form, _list_others(look.form, digits), look.scores)

    def look_at_copy(self, picture: Picture) -> CanonicalUpload | None:
        """Return the first look at a small copy of a picture, or None if a larger copy may show more.

        Raises:
            NoInk: nothing stands out from the background.
        """
        grey = picture.grey
        is_searched = self.finder is not None and needs_search(grey)
        digits = self.find_digits(grey, levels=_LEVELS_OF_COPY) if is_searched else []
        look = self.take_prominent(grey, digits) if is_searched else self.take_whole(grey, try_small=False)
        is_short = max(look.form.box[2:]) < MIN_DIGIT_LENGTH_ON_COPY
        if is_short or look.is_doubtful or (is_searched and not look.found):
            return None
        return CanonicalUpload(picture, look.form, _list_others(look.form, digits), look.scores)

    def take_prominent(self, grey: GreyPicture, digits: Sequence[FoundDigit]) -> _Look:
        """Cut out the most prominent digit, or take all ink of a small copy if there is none.

        Raises:
            NoInk: nothing stands out from the background.
        """
        if digits:
            with suppress(NoInk):
                return self.cut_out(grey, digits[0])
        return self.take_copy(grey)

    def take_others(self, grey: GreyPicture, first: _Look, digits: Sequence[FoundDigit]) -> Iterator[_Look]:
        """Yield other looks at a picture than the first one."""
        with suppress(NoInk):
            if first.found:
                yield self.take_copy(grey)
        with suppress(NoInk):
            if digits and not first.found:
                look = self.cut_out(grey, digits[0])
                if look.agreement >= MIN_AGREEMENT and not look.is_doubtful:
                    yield look
        with suppress(NoInk):
            yield self.take_copy(grey, is_inverted=True)

    def take_whole(self, grey: GreyPicture, *, try_small: bool = True) -> _Look:
        """Take all ink; for `try_small`, see `trace_steps`.

        Raises:
            NoInk: nothing stands out from the background.
        """
        with self.time_stage("preprocess"):
            form = canonicalise(grey, steps=self.steps, try_small=try_small)
        return self.judge(form)

    def take_copy(self, grey: GreyPicture, *, is_inverted: bool = False) -> _Look:
        """Take all ink on a small copy, in the likelier polarity or in the other one.

        Raises:
            NoInk: nothing stands out from the background.
        """
        with self.time_stage("preprocess"):
            form = canonicalise_copy(grey, steps=self.steps, is_inverted=is_inverted)
        return self.judge(form)

    def cut_out(self, grey: GreyPicture, found: FoundDigit) -> _Look:
        """Cut out one of the digits that the finder sees.

        Raises:
            NoInk: nothing stands out from the background.
        """
        with self.time_stage("preprocess"):
            form = canonicalise_part(grey, found.box)
        return self.judge(form)._replace(found=found)

    def judge(self, form: CanonicalForm) -> _Look:
        """Ask the classifier what it thinks of a canonical picture."""
        if self.classifier is None:
            return _Look(form, None)
        with self.time_stage("infer"):
            return _Look(form, self.classifier.classify(form.picture[None]))

    def find_digits(self, grey: GreyPicture, *, levels: Sequence[int] = LEVELS) -> list[FoundDigit]:
        """Return the digits on a picture that the finder sees, if there is one; see `Finder.find`."""
        if self.finder is None:
            return []
        with self.time_stage("infer"):
            return find_digits(grey, self.finder, levels=levels)


def find_digits(grey: GreyPicture, finder: Finder, *, levels: Sequence[int] = LEVELS) -> list[FoundDigit]:
    """Return the digits on a picture, the most prominent first: those that are certain and large."""
    found = finder.find_prominent(grey, levels=levels)
    digits = found[(found.labels < CLASSES) & (found.certainties > MIN_LIKELIHOOD)]
    heights = digits.boxes[:, 3] - digits.boxes[:, 1]
    order = np.argsort(-(digits.certainties**3) * np.sqrt(heights), kind="stable")
    labels, certainties, boxes = digits.labels.tolist(), digits.certainties.tolist(), digits.boxes.tolist()
    return [FoundDigit(labels[row], certainties[row], round_box(boxes[row])) for row in order.tolist()]


def _shows_several(look: _Look) -> bool:
    return "several_digits" in look.form.cautions


def _list_others(form: CanonicalForm, digits: Sequence[FoundDigit]) -> tuple[FoundDigit, ...]:
    """Return the digits that stand outside of the box of the digit that was chosen."""
    left, top, width, height = form.box
    return tuple(
        digit
        for digit in digits
        if not (
            left <= digit.box[0] + digit.box[2] / 2 <= left + width
            and top <= digit.box[1] + digit.box[3] / 2 <= top + height
        )
    )[:MAX_OTHERS]
