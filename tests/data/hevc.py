"""Encodes the coded pictures of `hevc/`; needs pillow-heif with x265, which is under the GPL.

    python -m venv /tmp/heif && /tmp/heif/bin/pip install pillow-heif opencv-python-headless
    /tmp/heif/bin/python -m tests.data.hevc

A 9 in every depth and chroma format, and in tiles, and the tiles of large pictures: one that is cheap to
decode, and one that is costly. Everything else about HEIF is built around these pictures by `tests.data.heif`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pillow_heif
from PIL import Image

from tests.data.strokes import ink

FOLDER: Final = Path(__file__).parent / "hevc"
TILE: Final = 64  # pixels
COSTLY_TILE: Final = 512  # pixels, as phones have it


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, data in pictures():
        (FOLDER / f"{name}.heic").write_bytes(data)


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each picture."""
    levels = 255 - ink(9, (120, 140), box=(35, 25, 50, 90), pen=9)
    grey = Image.fromarray(levels)
    yield "9-colour", encode(grey.convert("RGB"))
    yield "9-grey", encode(grey)
    yield "9-whole-chroma", encode(grey.convert("RGB"), chroma=444)
    yield "9-turned", encode(grey.convert("RGB").transpose(Image.Transpose.ROTATE_90), turned=True)
    clear = Image.new("RGBA", grey.size)
    clear.putalpha(Image.fromarray(255 - levels))
    yield "9-alpha", encode(clear)
    deep = (np.dstack([levels] * 3).astype(np.uint16)) * 257
    yield "9-ten-bits", encode_deep(deep)
    padded = np.pad(levels, ((0, 3 * TILE - 140), (0, 2 * TILE - 120)), mode="edge")
    for index in range(6):
        row, column = divmod(index, 2)
        tile = padded[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        yield f"9-tile-{index}", encode(Image.fromarray(tile).convert("RGB"))
    yield "white-tile", encode(Image.new("RGB", (COSTLY_TILE, COSTLY_TILE), "white"))
    rng = np.random.default_rng(0)
    specks = np.kron(rng.normal(0, 20, (COSTLY_TILE // 4, COSTLY_TILE // 4)), np.ones((4, 4)))
    small_blocks = {"x265:ctu": "16", "x265:min-cu-size": "8", "x265:max-tu-size": "8"}
    noise = Image.fromarray(np.clip(128 + specks, 0, 255).astype(np.uint8)).convert("RGB")
    yield "costly-tile", encode(noise, quality=30, enc_params=small_blocks)


def encode(image: Image.Image, *, turned: bool = False, **options: object) -> bytes:
    """Encode a picture with x265."""
    file = io.BytesIO()
    heif = pillow_heif.from_pillow(image)
    if turned:
        exif = Image.Exif()
        exif[0x0112] = 6
        heif.info["exif"] = exif.tobytes()
    heif.save(file, **{"quality": 70, **options})
    return file.getvalue()


def encode_deep(pixels: np.ndarray) -> bytes:
    """Encode a picture of 16 bits per sample with ten."""
    file = io.BytesIO()
    height, width = pixels.shape[:2]
    pillow_heif.from_bytes("RGB;16", (width, height), pixels.tobytes()).save(file, quality=70)
    return file.getvalue()


if __name__ == "__main__":
    main()
