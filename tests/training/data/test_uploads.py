from __future__ import annotations

from tests.data.strokes import ink
from training.data.uploads import encode_png, read_canonical


def test_pictures_go_the_services_way() -> None:
    """Dark on light and off centre, as sent: the canonical picture is what the network sees."""
    found = read_canonical(encode_png(255 - ink(3, (60, 60), box=(18, 8, 24, 44), pen=5)))
    assert found.polarity == "dark_on_light"
    assert found.picture.shape == (28, 28)
