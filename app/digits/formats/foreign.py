"""Files of formats that are not read: what they are, and how to make a picture of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from . import tiff
from .header import FORMAT_NAMES

_PICTURE: Final = "Save it as PNG or JPEG."
_PAGE: Final = "Send one page as a picture, such as a PNG."
_DRAWING: Final = "Export it as PNG."
_BEGINNINGS: Final[Mapping[bytes, tuple[str, str]]] = {  # what it is, and what helps
    b"%PDF-": ("a PDF", _PAGE),
    b"%!PS": ("a PostScript file", _PAGE),
    b"8BPS": ("a Photoshop file", _PICTURE),
    b"PK\x03\x04": ("a ZIP archive or an Office document", "Send the pictures in it, one at a time."),
    b"\x1f\x8b": ("compressed with gzip", "Unpack it, and send the picture in it."),
    b"\x00\x00\x01\x00": ("an icon (ICO)", _PICTURE),
    b"\x00\x00\x00\x0cjP  ": ("a JPEG 2000 picture", _PICTURE),
    b"\xff\x4f\xff\x51": ("a JPEG 2000 picture", _PICTURE),
    b"\x00\x00\x00\x0cJXL ": ("a JPEG XL picture", _PICTURE),
    b"\xff\x0a": ("a JPEG XL picture", _PICTURE),
    b"RIFF": ("a RIFF file that holds no WebP picture", _PICTURE),
    b"gimp xcf": ("a GIMP file", _DRAWING),
    b"\x7fELF": ("a program", "Send a picture."),
    b"MZ": ("a program", "Send a picture."),
    **dict.fromkeys(tiff.BIG_SIGNATURES, ("a BigTIFF", "Save it as an ordinary TIFF.")),
}
# ISO base media files name their brand after the length of the first box
_BRANDS: Final[Mapping[bytes, tuple[str, str]]] = {
    b"crx ": ("a raw picture of a camera", _PICTURE),
}
_BOX: Final = slice(4, 8)
_BRAND: Final = slice(8, 12)
_NETPBM: Final = re.compile(rb"P[1-7]\s")
_SVG: Final = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_HTML: Final = re.compile(rb"<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
_MAX_SEARCHED: Final = 1024  # bytes: declarations and comments may come first
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def describe(data: bytes) -> str:
    """Return what a file is that is not read, and what to send instead."""
    kind = _identify(data)
    if kind is None:
        return (
            f"The file is not a {FORMAT_NAMES} picture, whatever its name says. Convert it to one of these."
        )
    name, remedy = kind
    return f"The file is {name}, whatever its name says. {remedy}"


def _identify(data: bytes) -> tuple[str, str] | None:
    for beginning, kind in _BEGINNINGS.items():
        if data.startswith(beginning):
            return kind
    if data[_BOX] == b"ftyp":
        return _BRANDS.get(data[_BRAND], ("a film or sound file", "Send a single picture."))
    if _NETPBM.match(data):
        return "a Netpbm picture", _PICTURE
    return _identify_text(data[:_MAX_SEARCHED].removeprefix(_BYTE_ORDER_MARK).lstrip())


def _identify_text(text: bytes) -> tuple[str, str] | None:
    if not text.startswith((b"<", b"{", b"[")):
        return None
    if _SVG.search(text):
        return "an SVG drawing", _DRAWING
    if _HTML.match(text):
        return "a web page", "Send the picture itself."
    if text.startswith(b"<"):
        return "XML or HTML", "Send a picture."
    return "JSON", "Send it with the Content-Type application/json, or send the picture itself."
