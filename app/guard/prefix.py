"""The prefix under which a proxy mounts the service: `DIGITS_ROOT_PATH`."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..wire.scope import ROOT_PATH


class PrefixGuard:
    """Remove the prefix from paths, so that all other layers see those of the API.

    A path without it comes from a proxy that has removed it already, or from a health check, and stays.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path: Final = root_path
        self._raw_root_path: Final = root_path.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        members = {ROOT_PATH: self._root_path}
        if _begins_with(scope["raw_path"], self._raw_root_path):
            members["path"] = scope["path"].removeprefix(self._root_path)
            members["raw_path"] = scope["raw_path"].removeprefix(self._raw_root_path)
        await self._app({**scope, **members}, receive, send)


def _begins_with(raw_path: bytes, raw_root_path: bytes) -> bool:
    return raw_path.startswith(raw_root_path) and raw_path[len(raw_root_path) :][:1] in {b"", b"/"}
