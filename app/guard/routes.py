"""Which methods and paths there are: any other is refused before anything is asked or read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.wire.paths import DOCUMENT_PATHS, PAGE
from app.wire.problems import MethodNotAllowed, NotFound, ProblemResponse
from app.wire.scope import OUTCOME, ROUTE

_PARAMETER: Final = re.compile(r"\\{\w+\\}")
_READING: Final = frozenset({"GET", "HEAD"})


class RouteGuard:
    """Refuse paths and methods that are neither in the OpenAPI document nor belong to it or to the page.

    Starlette's router would refuse them, too, but it stands behind the other guards: a stranger would be
    asked for a key to a path that does not exist, and a typing error would take a token of the client's. And
    what keys, rates and bodies refuse would reach log and metrics without its route, which only the router
    knows.

    A path with a slash too many is redirected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._routes: _Routes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._routes is None:
            self._routes = _Routes(scope["app"])
        route, methods = self._routes.find(scope["path"])
        if route:
            scope[ROUTE] = route
        if scope["method"] in methods:
            await self._app(scope, receive, send)
        else:
            await self._routes.refuse(scope)(scope, receive, send)


class _Routes:
    """The routes of an application, and the methods of each."""

    def __init__(self, application: FastAPI) -> None:
        routes = {
            path: frozenset(map(str.upper, item)) | ({"HEAD"} if "get" in item else set())
            for path, item in application.openapi()["paths"].items()
        }
        routes |= dict.fromkeys((*DOCUMENT_PATHS, *PAGE), _READING)
        self._plain: Mapping[str, frozenset[str]] = {
            path: methods for path, methods in routes.items() if "{" not in path
        }
        self._patterns = [
            (re.compile(_PARAMETER.sub("[^/]+", re.escape(path))), path, methods)
            for path, methods in routes.items()
            if "{" in path
        ]

    def find(self, path: str) -> tuple[str, frozenset[str]]:
        """Return the route of a path and its methods, none of either where there is no such path."""
        if path in self._plain:
            return path, self._plain[path]
        matches = ((route, methods) for pattern, route, methods in self._patterns if pattern.fullmatch(path))
        return next(matches, ("", frozenset()))

    def refuse(self, scope: Scope) -> Response:
        """Return the response to a request whose path or method does not exist."""
        path: str = scope["path"]
        _, methods = self.find(path)
        if methods:
            return ProblemResponse(MethodNotAllowed(path, scope["method"], ", ".join(sorted(methods))))
        if path.endswith("/") and self.find(path.rstrip("/"))[0]:
            return _redirect(scope)
        return ProblemResponse(NotFound(path))


class HeadGuard:
    """Answer HEAD as GET is answered; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send)
        finally:
            if OUTCOME in as_get:
                scope[OUTCOME] = as_get[OUTCOME]


def _redirect(scope: Scope) -> Response:
    """Send the client to the path without its last slashes, with the same method and query."""
    target = scope["raw_path"].rstrip(b"/") + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    return Response(status_code=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": target.decode("latin-1")})
