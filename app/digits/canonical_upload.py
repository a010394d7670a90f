"""Upload → canonical picture.

A large upload is first decoded as a small copy, and at working size only if its digit is small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

from app.digits.errors import NoInk
from app.digits.images import WORKING_SIDE, Decoder, Picture, Upload
from app.digits.preprocessing import (
    MIN_DIGIT_LENGTH_ON_COPY,
    MIN_SHRINK_FACTOR,
    STEPS,
    CanonicalForm,
    canonicalise,
)
from app.digits.working_picture import SMALL_COPY_SIDE, Step

PictureStage: TypeAlias = Literal["decode", "preprocess"]
StageTimer: TypeAlias = Callable[[PictureStage], AbstractContextManager[None]]


class CanonicalUpload(NamedTuple):
    """A decoded upload, and its digit in canonical form."""

    picture: Picture
    canonical: CanonicalForm


def canonicalise_upload(
    upload: Upload,
    *,
    steps: Sequence[Step] = STEPS,
    time_stage: StageTimer = lambda _: nullcontext(),
) -> CanonicalUpload:
    """Decode an upload and bring its digit into canonical form.

    Args:
        upload: from `images.identify`.
        steps: the preprocessing pipeline.
        time_stage: takes a stage's name, and returns a context in which the stage then runs.

    Raises:
        UnreadableImage: the file is truncated or corrupt.
        OutOfMemory: the machine has too little memory left.
        NoInk: nothing stands out from the background.
    """
    attempt = partial(_canonicalise_at, Decoder(upload), steps, time_stage)
    is_large = max(upload.size) > MIN_SHRINK_FACTOR * SMALL_COPY_SIDE
    if is_large:
        with suppress(NoInk):  # the ink may be too thin to show on the small copy
            preview = attempt(side=SMALL_COPY_SIDE, try_small=True)
            if max(preview.canonical.box[2:]) >= MIN_DIGIT_LENGTH_ON_COPY:
                return preview
    return attempt(side=WORKING_SIDE, try_small=not is_large)


def _canonicalise_at(
    decoder: Decoder, steps: Sequence[Step], time_stage: StageTimer, *, side: int, try_small: bool
) -> CanonicalUpload:
    with time_stage("decode"):
        picture = decoder.decode(side=side)
    with time_stage("preprocess"):
        return CanonicalUpload(picture, canonicalise(picture.grey, steps=steps, try_small=try_small))
