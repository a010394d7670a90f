"""Pictures of HEIC and AVIF: each tile is decoded by itself, and the tiles are put together here.

The libraries are imported when the first such picture arrives: most services never see one, and pi_heif takes
2 MB and 15 ms.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Final

from PIL import Image

from .errors import UnreadableImage
from .formats.header import DAMAGED_FILE, Format, Header, Mosaic


def load(header: Header, check_time: Callable[[], None]) -> Image.Image:
    """Decode a picture and its transparency; `check_time` is called before each tile.

    Raises:
        UnreadableImage: the size of a tile is not what the header says.
    """
    decode = _DECODERS[header.format]
    if header.mosaic is None:
        raise UnreadableImage(DAMAGED_FILE)
    image = _assemble(header.mosaic, decode, check_time)
    if header.alpha is None:
        return image
    image = image.convert("RGBA")
    image.putalpha(_assemble(header.alpha, decode, check_time).convert("L"))
    return image


def _assemble(
    mosaic: Mosaic, decode: Callable[[bytes], Image.Image], check_time: Callable[[], None]
) -> Image.Image:
    canvas: Image.Image | None = None
    width, height = mosaic.tile_size
    for index, file in enumerate(mosaic.tiles):
        check_time()
        tile = decode(file)
        if tile.size != mosaic.tile_size:
            raise UnreadableImage(DAMAGED_FILE)
        if len(mosaic.tiles) == 1:
            return _crop(tile, mosaic)
        row, column = divmod(index, mosaic.columns)
        canvas = canvas or Image.new(tile.mode, mosaic.size)
        canvas.paste(tile, (column * width, row * height))
    assert canvas is not None  # noqa: S101  # a picture has tiles
    return _crop(canvas, mosaic)


def _crop(image: Image.Image, mosaic: Mosaic) -> Image.Image:
    return image if mosaic.box == (0, 0, *image.size) else image.crop(mosaic.box)


def _decode_hevc(file: bytes) -> Image.Image:
    import pi_heif  # noqa: PLC0415

    pi_heif.options.DECODE_THREADS = 1
    image: Image.Image = pi_heif.open_heif(file).to_pillow()
    return image


def _decode_av1(file: bytes) -> Image.Image:
    from PIL import AvifImagePlugin  # noqa: PLC0415

    AvifImagePlugin.DECODE_CODEC_CHOICE = "dav1d"
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(file))
    image.load()
    return image


_DECODERS: Final[Mapping[Format, Callable[[bytes], Image.Image]]] = {
    "HEIC": _decode_hevc,
    "AVIF": _decode_av1,
}
