"""`GET /`, `/docs` and `/static/…`: the page on which people draw, and the API reference.

They load nothing from other hosts, and need no key; only `/docs` needs one if `/openapi.json` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

from ..wire.paths import PAGE, REFERENCE

FOLDER: Final = Path(__file__).parent.parent / "static"
_TYPES: Final = {  # fixed, because Python guesses them by its version and the machine's registry
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def install_page(app: FastAPI) -> None:
    """Read the files into memory and serve them.

    Raises:
        OSError: a file can't be read.
    """
    for path, name in {**PAGE, REFERENCE: "docs.html"}.items():
        app.add_route(path, _build_endpoint(FOLDER / name), methods=["GET"], include_in_schema=False)


def _build_endpoint(file: Path) -> Callable[[Request], Awaitable[Response]]:
    content = file.read_bytes()
    # the browser checks its copy at every visit, so that a page never meets the script of a newer service
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"Content-Type": _TYPES[file.suffix], "ETag": tag, "Cache-Control": "no-cache"}

    async def serve(request: Request) -> Response:
        # the header may list several tags, some of them made weak by a proxy
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(content, headers=headers)

    return serve
