"""`GET /`, `/docs` and `/static/…`: the page on which people draw, and the API reference.

They load nothing from other hosts, and need no key; only `/docs` needs one if `/openapi.json` does.

Sites that show a picture of a link want its full address, which the service knows only from each request.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

from ..wire.paths import PAGE, REFERENCE
from ..wire.scope import get_root_path
from .v2.encodings import choose_encoding

FOLDER: Final = Path(__file__).parent.parent / "static"
_TYPES: Final = {  # fixed, because Python guesses them by its version and the machine's registry
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_COMPRESSED: Final = frozenset({".png", ".webp", ".woff2"})  # by their formats
_CARD: Final = 'property="og:image" content="'  # followed by an address that is relative to that of the page
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_MAX_ADDRESSES: Final = 16  # of the page, for which it is kept in memory
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
        build = _build_page_endpoint if path == "/" else _build_endpoint
        app.add_route(path, build(FOLDER / name), methods=["GET"], include_in_schema=False)


def _build_endpoint(file: Path) -> Callable[[Request], Awaitable[Response]]:
    variants = _Variants.build(file.read_bytes(), file.suffix)

    async def serve(request: Request) -> Response:
        return variants.answer(request)

    return serve


def _build_page_endpoint(file: Path) -> Callable[[Request], Awaitable[Response]]:
    html = file.read_text(encoding="utf-8")

    @lru_cache(maxsize=_MAX_ADDRESSES)
    def build(address: str) -> _Variants:
        return _Variants.build(html.replace(_CARD, _CARD + escape(address)).encode(), file.suffix)

    async def serve(request: Request) -> Response:
        return build(_find_address(request)).answer(request)

    return serve


def _find_address(request: Request) -> str:
    """Return the address under which the client asks for the page; empty if its Host header has none."""
    host = request.headers.get("host", "")
    root_path = get_root_path(request.scope)
    return f"{request.scope['scheme']}://{host}{root_path}/" if _HOST.fullmatch(host) else ""


@dataclass(frozen=True, slots=True)
class _Variants:
    """A file in the two encodings in which it is served."""

    plain: _Variant
    packed: _Variant

    @classmethod
    def build(cls, content: bytes, suffix: str) -> _Variants:
        tag = hashlib.sha256(content).hexdigest()[:16]
        caching = _FOREVER if suffix == ".woff2" else _CHECKED
        headers = {"Content-Type": _TYPES[suffix], "Cache-Control": caching, "Vary": "Accept-Encoding"}
        plain = _Variant(content, {**headers, "ETag": f'"{tag}"'})
        # once, and not for each request
        return cls(plain, plain if suffix in _COMPRESSED else plain.compress(tag))

    def answer(self, request: Request) -> Response:
        is_packed = choose_encoding(request.headers.get("accept-encoding", "")) == "gzip"
        return (self.packed if is_packed else self.plain).answer(request)


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
