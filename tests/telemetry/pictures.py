"""Pictures for tests of metrics, logs and traces."""

from __future__ import annotations

import numpy as np

from tests.conftest import GOLDEN, HOSTILE, ROOT
from tests.data.writing import encode_png

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
TINY = (GOLDEN / "1-eight-pixels.png").read_bytes()
LARGE = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
NUMBER = (ROOT / "tests" / "data" / "numbers" / "4071.jpg").read_bytes()
BLANK = (HOSTILE / "white.png").read_bytes()
SMALL_BLANK = encode_png(np.full((28, 28), 255, np.uint8))  # without the finder
PNG = {"Content-Type": "image/png"}
