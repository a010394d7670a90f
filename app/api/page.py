"""`GET /`, `/docs` and `/static/…`: the page on which people draw, and the API reference.

They load nothing from other hosts, and need no key; only `/docs` needs one if `/openapi.json` does.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

from ..wire.paths import PAGE, REFERENCE
from .v2.encodings import choose_encoding

FOLDER: Final = Path(__file__).parent.parent / "static"
_TYPES: Final = {  # fixed, because Python guesses them by its version and the machine's registry
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_FOREVER: Final = (
    "public, max-age=31536000, immutable"  # a year: a file whose name holds its hash never changes
)
# the browser checks its copy at every visit, so that a page never meets the script of a newer service
_CHECKED: Final = "no-cache"


def install_page(app: FastAPI) -> None:
    """Read the files into memory, compress them, and serve them.

    Raises:
        OSError: a file can't be read.
    """
    for path, name in {**PAGE, REFERENCE: "docs.html"}.items():
        app.add_route(path, _build_endpoint(FOLDER / name), methods=["GET"], include_in_schema=False)


def _build_endpoint(file: Path) -> Callable[[Request], Awaitable[Response]]:
    content = file.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:16]
    is_font = file.suffix == ".woff2"
    headers = {"Content-Type": _TYPES[file.suffix], "Cache-Control": _FOREVER if is_font else _CHECKED}
    plain = _Variant(content, {**headers, "ETag": f'"{tag}"', "Vary": "Accept-Encoding"})
    # once, and not for each request; the format of fonts compresses them already
    packed = plain if is_font else plain.compress(tag)

    async def serve(request: Request) -> Response:
        is_packed = choose_encoding(request.headers.get("accept-encoding", "")) == "gzip"
        return (packed if is_packed else plain).answer(request)

    return serve


@dataclass(frozen=True, slots=True)
class _Variant:
    """A file in one encoding, with its headers."""

    content: bytes
    headers: Mapping[str, str]

    def compress(self, tag: str) -> _Variant:
        headers = {**self.headers, "ETag": f'"{tag}-gzip"', "Content-Encoding": "gzip"}
        return _Variant(gzip.compress(self.content, mtime=0), headers)

    def answer(self, request: Request) -> Response:
        # the header may list several tags, some of them made weak by a proxy
        if self.headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=self.headers)
        return Response(self.content, headers=self.headers)
