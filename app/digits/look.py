"""Upload → canonical picture: from afar first, and closer where the digit turns out small.

Most people fill their picture with the digit. A copy of 256 pixels then holds all of its shape, reads as
well, and costs a fraction; a JPEG need not even be decoded larger.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, NamedTuple, TypeAlias

from app.digits import images
from app.digits.errors import NoInk
from app.digits.images import Picture, Upload
from app.digits.preprocessing import Canonical, canonical
from app.digits.sheet import PAGE

Stage: TypeAlias = Literal["decode", "preprocess"]
Timed: TypeAlias = Callable[[Stage], AbstractContextManager[None]]

GLANCE: Final = PAGE  # pixels: the longer side of what is looked at first
WORTH: Final = 1.25  # times of that; a picture that is hardly larger is looked at as it is
LARGE: Final = 0.2  # of the longer side: so long a digit has 51 pixels in the copy, and needs 20


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
        NoInk: nothing stands out from the ground.
    """
    if max(upload.size) > WORTH * GLANCE:
        try:
            glance = _looked(upload, timed, side=GLANCE)
        except NoInk:  # it may be too thin to be seen from afar
            pass
        else:
            if max(glance.canonical.box[2:]) >= LARGE * max(glance.picture.grey.shape):
                return glance
    return _looked(upload, timed, side=images.WORKING_SIDE)


def _looked(upload: Upload, timed: Timed, *, side: int) -> Look:
    with timed("decode"):
        picture = images.decode(upload, side=side)
    with timed("preprocess"):
        return Look(picture, canonical(picture.grey))
