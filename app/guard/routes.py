"""Which methods and paths there are: any other is refused before anything is asked or read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import page, problems

ROUTE: Final = "digits.route"  # in the scope: the path as the OpenAPI document has it
_PARAMETER: Final = re.compile(r"\\{\w+\\}")


class RouteGuard:
    """Refuse paths and methods that are neither in the OpenAPI document nor belong to it or to the page.

    A path with a slash too many is redirected.
    """

    def __init__(self, app: ASGIApp, application: FastAPI) -> None:
        self._app = app
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        route, methods = self._found(path)
        if route:
            scope[ROUTE] = route
        if method in methods:
            await self._app(scope, receive, send)
        else:
            await self._refuse(scope, methods)(scope, receive, send)

    def _refuse(self, scope: Scope, methods: frozenset[str]) -> Response:
        path = scope["path"]
        if methods:
            allowed = ", ".join(sorted(methods))
            wrong = problems.MethodNotAllowed(f"{path} does not take {scope['method']}, it takes {allowed}.")
            return problems.response(wrong, headers={"Allow": allowed})
        if path.endswith("/") and self._found(path.rstrip("/"))[0]:
            return _redirect(scope)
        return problems.response(problems.NotFound(f"{path} does not exist; /docs lists what does."))

    def _found(self, path: str) -> tuple[str, frozenset[str]]:
        if path in self._plain:
            return path, self._plain[path]
        fitting = ((route, methods) for pattern, route, methods in self._patterns if pattern.fullmatch(path))
        return next(fitting, ("", frozenset()))

    @cached_property
    def _all(self) -> Mapping[str, frozenset[str]]:
        application = self._application
        paths = {
            path: frozenset(method.upper() for method in item) | ({"HEAD"} if "get" in item else set())
            for path, item in application.openapi()["paths"].items()
        }
        documents = (application.openapi_url, page.REFERENCE, *page.PATHS)
        return paths | {path: frozenset({"GET", "HEAD"}) for path in documents if path}

    @cached_property
    def _plain(self) -> Mapping[str, frozenset[str]]:
        return {path: methods for path, methods in self._all.items() if "{" not in path}

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str, frozenset[str]]]:
        return [
            (re.compile(_PARAMETER.sub("[^/]+", re.escape(path))), path, methods)
            for path, methods in self._all.items()
            if "{" in path
        ]


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
            scope.update({key: as_get[key] for key in (problems.OUTCOME,) if key in as_get})


def _redirect(scope: Scope) -> Response:
    """Send the client to the path without its last slashes, with the same method and query."""
    target = scope["raw_path"].rstrip(b"/") + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    return Response(status_code=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": target.decode("latin-1")})
