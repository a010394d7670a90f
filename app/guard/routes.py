"""Unknown paths and methods are refused before all other checks; HEAD is answered like GET."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..wire.problems import MethodNotAllowed, NotFound, ProblemResponse
from ..wire.scope import OUTCOME, ROUTE, get_root_path

_PARAMETER: Final = re.compile(r"\\{\w+\\}")


class RouteGuard:
    """Answer 404 and 405 before the other guards, and redirect paths with a trailing slash.

    Starlette's router runs after the guards. On its own, it would ask for a key for an unknown path, count
    the request towards the rate limit, and leave the log and metrics of refused requests without a route.
    This middleware takes 0.4 µs for /predict, 1.7 µs for /v2/models/x/infer, and 11 µs for a 404 with its
    response. Starlette's router takes 3, 33 and 50 µs to match these paths (medians, one core).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._routes: _Routes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
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
    """The path templates of an application and their methods."""

    def __init__(self, application: FastAPI) -> None:
        routes: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        for route in iter_route_contexts(application.routes):
            routes[route.path_format or ""] |= route.methods or frozenset()
        routes |= {path: methods | {"HEAD"} for path, methods in routes.items() if "GET" in methods}
        self._static: Mapping[str, frozenset[str]] = {
            path: methods for path, methods in routes.items() if "{" not in path
        }
        self._patterns = [
            (re.compile(_PARAMETER.sub("[^/]+", re.escape(path))), path, methods)
            for path, methods in routes.items()
            if "{" in path
        ]

    def find(self, path: str) -> tuple[str, frozenset[str]]:
        """Return the template that a path matches and its methods; both are empty if there is none."""
        if path in self._static:
            return path, self._static[path]
        matches = ((route, methods) for pattern, route, methods in self._patterns if pattern.fullmatch(path))
        return next(matches, ("", frozenset()))

    def refuse(self, scope: Scope) -> Response:
        """Return the response to a request that matches no route."""
        path, root_path = scope["path"], get_root_path(scope)
        _, methods = self.find(path)
        if methods:
            allowed = ", ".join(sorted(methods))
            return ProblemResponse(MethodNotAllowed(root_path + path, scope["method"], allowed))
        if not path or (path.endswith("/") and self.find(path.rstrip("/"))[0]):
            return _redirect(scope)
        return ProblemResponse(NotFound(path, root_path=root_path))


class HeadAsGet:
    """Answer HEAD like GET. The server omits the body."""

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
    """Redirect to the path without its trailing slashes, or to the page; 308 preserves the method."""
    path = scope["raw_path"].rstrip(b"/") or b"/"
    target = path + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    location = get_root_path(scope) + target.decode("latin-1")
    return Response(status_code=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": location})
