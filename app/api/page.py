"""`GET /`, `/docs` and `/static/…`: the page on which people draw, and the reference of the API.

They ask the same service that everybody asks, and load nothing from anybody else. Nothing in them is private:
they are read without a key. `/docs` needs one where `/openapi.json` does, which it shows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

from app.wire.paths import PAGE, REFERENCE

FOLDER: Final = Path(__file__).parent.parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _StaticFile:
    """A file that is kept in memory, and sent again only where it has changed."""

    def __init__(self, file: Path) -> None:
        self._content = file.read_bytes()
        # asked for at every visit, so that a page never meets a newer service's script
        tag = f'"{hashlib.sha256(self._content).hexdigest()[:16]}"'
        self._headers = {"Content-Type": _TYPES[file.suffix], "ETag": tag, "Cache-Control": "no-cache"}

    async def answer(self, request: Request) -> Response:
        """Send the file, or say that the browser's copy is good."""
        cached_tags = request.headers.get("if-none-match", "")
        if self._headers["ETag"] in cached_tags:  # one of several, perhaps made a weak one by a proxy
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)


def install_page(app: FastAPI) -> None:
    """Read the files and serve them.

    Raises:
        OSError: one can't be read.
    """
    for path, name in {**PAGE, REFERENCE: "docs.html"}.items():
        app.add_route(path, _StaticFile(FOLDER / name).answer, methods=["GET"], include_in_schema=False)
