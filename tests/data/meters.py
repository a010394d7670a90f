"""Draws photographs of an electricity meter: six drums, of which the last is red and counts tenths.

`python -m tests.data.meters` draws those of docs/tutorial.md into docs/meter-photos.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 1200, 900  # pixels of the photograph
DRUM: Final = 88  # pixels from one drum to the next
FIRST: Final = (345, 340)  # left and top of the first drum
DRUMS: Final = (300, 300, 900, 480)  # the box around all drums
FONT: Final = cv2.FONT_HERSHEY_DUPLEX
CASE, FRAME, BLACK, RED, WHITE, GREY = (
    (220, 226, 228), (25, 25, 28), (40, 40, 44), (40, 40, 150), (236, 240, 240), (60, 60, 60)
)  # fmt: skip  # blue, green, red

READINGS: Final = {
    "2026-01-31": "118064",
    "2026-02-28": "120217",
    "2026-03-31": "122019",
    "2026-04-30": "124109",
}
COVERED: Final = "2026-03-31"  # the day on which a thumb was in the way


def draw_meter(reading: str, *, seed: int, is_close: bool = True) -> bytes:
    """Return a photograph of the drums, or of all of the meter, as JPEG: turned a little, blurred and noisy."""
    rng = np.random.default_rng(seed)
    scene = np.full((HEIGHT, WIDTH, 3), (180, 188, 190), np.uint8)
    cv2.rectangle(scene, (200, 150), (1000, 750), CASE, -1)
    cv2.rectangle(scene, (200, 150), (1000, 750), GREY, 6)
    cv2.rectangle(scene, (330, 330), (870, 450), FRAME, -1)
    for index, digit in enumerate(reading):
        left, top = FIRST[0] + index * DRUM, FIRST[1]
        cv2.rectangle(scene, (left, top), (left + 74, top + 100), RED if index == 5 else BLACK, -1)
        cv2.putText(scene, digit, (left + 14, top + 76), FONT, 2.4, WHITE, 5, cv2.LINE_AA)
    cv2.putText(scene, "kWh", (895, 405), FONT, 1.2, GREY, 2, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), rng.uniform(-2, 2), rng.uniform(0.95, 1.05))
    turned = cv2.warpAffine(scene, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    light = np.linspace(0.6, 1.05, WIDTH, dtype=np.float32)[None, :, None]
    photo = cv2.GaussianBlur(turned * light, (0, 0), 1.6) + rng.normal(0, 4, turned.shape)
    picture = Image.fromarray(np.clip(photo[..., ::-1], 0, 255).astype(np.uint8))
    file = io.BytesIO()
    (picture.crop(DRUMS) if is_close else picture).save(file, "JPEG", quality=85)
    return file.getvalue()


def cover_drums(photo: bytes) -> bytes:
    """Put a thumb in front of the last drums."""
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    cv2.ellipse(pixels, (500, 150), (190, 140), -30, 0, 360, (120, 150, 205), -1)
    _, jpeg = cv2.imencode(".jpg", pixels)
    return bytes(jpeg)


def draw_photos(folder: Path) -> None:
    """Draw the photographs of the tutorial."""
    (folder / "meters").mkdir(parents=True, exist_ok=True)
    (folder / "far.jpg").write_bytes(draw_meter("140891", seed=2, is_close=False))
    (folder / "near.jpg").write_bytes(draw_meter("140891", seed=2))
    for seed, (day, reading) in enumerate(READINGS.items()):
        photo = draw_meter(reading, seed=seed)
        photo = cover_drums(photo) if day == COVERED else photo
        (folder / "meters" / f"{day}.jpg").write_bytes(photo)


if __name__ == "__main__":
    draw_photos(Path("docs/meter-photos"))
