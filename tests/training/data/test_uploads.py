from __future__ import annotations

from tests.data.strokes import ink
from training.data.uploads import encode_png, read_canonical


def test_an_upload_becomes_a_canonical_picture() -> None:
    canonical = read_canonical(encode_png(255 - ink(3, (60, 60), box=(18, 8, 24, 44), pen=5)))
    assert canonical.polarity == "dark_on_light"
    assert canonical.picture.shape == (28, 28)
