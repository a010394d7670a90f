"""Files of other formats are named, with the remedy."""

from __future__ import annotations

import pytest

from app.digits import images
from app.digits.errors import UnsupportedFormat


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%PDF-1.7\n%", "is a PDF, whatever its name says. Send one page as a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing, .* Export it as PNG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- by hand -->\n<svg width='3'>", "is an SVG drawing"),
        (b"\n <!DOCTYPE html><title>404</title>", "is a web page"),
        (b"<?xml version='1.0'?><kml/>", "is XML or HTML"),
        (b'{"image": "iVBOR"}', "is JSON, .* Content-Type application/json"),
        (b"\0\0\0\x10ftypmsf1\0\0\0\0", "holds no still picture. Send one picture of the sequence"),
        (b"\0\0\0\x14ftypcrx ", "is a raw picture of a camera, .* Save it as PNG or JPEG"),
        (b"\0\0\0\x14ftypqt  ", "is a film or sound file"),
        (b"PK\x03\x04" + bytes(30), "is a ZIP archive or an Office document"),
        (b"P5 28 28 255\n" + bytes(784), "is a Netpbm picture"),
        (b"MM\0+" + bytes(30), "is a BigTIFF, .* Save it as an ordinary TIFF"),
        (b"Plain words.", "is not a PNG, JPEG, WebP, HEIC, AVIF, BMP, GIF or TIFF picture"),
        (bytes(100), "is not a PNG, JPEG"),
    ],
)
def test_what_was_sent_is_named(data: bytes, message: str) -> None:
    with pytest.raises(UnsupportedFormat, match=message):
        images.identify(data)
