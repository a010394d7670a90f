"""Which methods and paths there are: any other is refused before a key is asked for or a body is read."""

from __future__ import annotations

import re
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

    Starlette's router would refuse them too, but only behind the other guards: a stranger would be asked for
    a key to a path that does not exist, and a typing error would count against the client's rate. What the
    other guards refuse would also reach the log and the metrics without its route. Asking the router here
    takes 5 µs for /predict and 62 for an unknown path, twice for each request; this table takes 0.1 and 1.7.

    A path with trailing slashes is redirected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._methods: dict[str, frozenset[str]] = {}  # of each path without parameters
        self._patterns: list[tuple[re.Pattern[str], str, frozenset[str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if not self._methods:
            self._read_routes(scope["app"])
        route, methods = self._find(scope["path"])
        if route:
            scope[ROUTE] = route
        app = self._app if scope["method"] in methods else self._build_refusal(scope, methods)
        await app(scope, receive, send)

    def _read_routes(self, app: FastAPI) -> None:
        self._methods = dict.fromkeys((*DOCUMENT_PATHS, *PAGE), _READING)
        for path, operations in app.openapi()["paths"].items():
            methods = frozenset(map(str.upper, operations)) | ({"HEAD"} if "get" in operations else set())
            if "{" in path:
                self._patterns.append((re.compile(_PARAMETER.sub("[^/]+", re.escape(path))), path, methods))
            else:
                self._methods[path] = methods

    def _find(self, path: str) -> tuple[str, frozenset[str]]:
        """Return the route of a path and its methods, both empty if there is no such path."""
        if path in self._methods:
            return path, self._methods[path]
        matches = ((route, methods) for pattern, route, methods in self._patterns if pattern.fullmatch(path))
        return next(matches, ("", frozenset()))

    def _build_refusal(self, scope: Scope, methods: frozenset[str]) -> Response:
        path: str = scope["path"]
        if methods:
            return ProblemResponse(MethodNotAllowed(path, scope["method"], ", ".join(sorted(methods))))
        if path.endswith("/") and self._find(path.rstrip("/"))[0]:
            return _redirect(scope)
        return ProblemResponse(NotFound(path))


class HeadGuard:
    """Answer HEAD as GET is answered; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send)
        finally:
            if OUTCOME in as_get:
                scope[OUTCOME] = as_get[OUTCOME]


def _redirect(scope: Scope) -> Response:
    """Redirect to the path without its trailing slashes, with the same method and query."""
    target = scope["raw_path"].rstrip(b"/") + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    return Response(status_code=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": target.decode("latin-1")})
