"""Upload → canonical picture; a large one is decoded small first, larger only where its digit is small."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple, TypeAlias

from app.digits.errors import NoInk
from app.digits.images import WORKING_SIDE, Decoding, Picture, Upload
from app.digits.preprocessing import CLEAR, WORTH, Canonical, canonical
from app.digits.sheet import PAGE

Stage: TypeAlias = Literal["decode", "preprocess"]
Timed: TypeAlias = Callable[[Stage], AbstractContextManager[None]]


class Look(NamedTuple):
    """A decoded upload, and its digit in canonical form."""

    picture: Picture
    canonical: Canonical


def look(upload: Upload, *, timed: Timed = lambda _: nullcontext()) -> Look:
    """Decode an upload and bring its digit into canonical form.

    Args:
        upload: from `images.identify`.
        timed: is entered with the name of the stage around each one.

    Raises:
        UnreadableImage: the file is truncated or corrupt.
        OutOfMemory: the machine has too little memory left.
        NoInk: nothing stands out from the ground.
    """
    decoding = Decoding(upload)
    large = max(upload.size) > WORTH * PAGE
    if large:
        try:
            glance = _looked(decoding, timed, side=PAGE, glance=True)
        except NoInk:  # it may be too thin to be seen from afar
            pass
        else:
            if max(glance.canonical.box[2:]) >= CLEAR:
                return glance
    return _looked(decoding, timed, side=WORKING_SIDE, glance=not large)


def _looked(decoding: Decoding, timed: Timed, *, side: int, glance: bool) -> Look:
    with timed("decode"):
        picture = decoding.picture(side=side)
    with timed("preprocess"):
        return Look(picture, canonical(picture.grey, glance=glance))
