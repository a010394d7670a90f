"""Pictures for tests of metrics, logs and traces."""

from __future__ import annotations

from tests.conftest import GOLDEN, HOSTILE, ROOT

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
TINY = (GOLDEN / "1-eight-pixels.png").read_bytes()
LARGE = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
NUMBER = (ROOT / "tests" / "data" / "numbers" / "4071.jpg").read_bytes()
BLANK = (HOSTILE / "white.png").read_bytes()
PNG = {"Content-Type": "image/png"}
