"""Which methods and paths there are: what is nowhere is refused before anything is asked or read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import page, problems

ROUTE: Final = "digits.route"  # in the scope: the path as the OpenAPI document has it
_PARAMETER: Final = re.compile(r"\\{\w+\\}")


class RouteGuard:
    """Refuse what neither the OpenAPI document has nor belongs to it or to the page: that is not served."""

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
            return
        if methods:
            allowed = ", ".join(sorted(methods))
            problem: problems.RequestProblem = problems.MethodNotAllowed(
                f"{path} does not take {method}, it takes {allowed}."
            )
            refusal = problems.response(problem, headers={"Allow": allowed})
        else:
            refusal = problems.response(problems.NotFound(f"{path} does not exist; /docs lists what does."))
        await refusal(scope, receive, send)

    def _found(self, path: str) -> tuple[str, frozenset[str]]:
        if path in self._plain:
            return path, self._plain[path]
        fitting = ((route, methods) for pattern, route, methods in self._patterns if pattern.fullmatch(path))
        return next(fitting, ("", frozenset()))

    @cached_property
    def _all(self) -> Mapping[str, frozenset[str]]:
        application = self._application
        paths = {
            path: frozenset(method.upper() for method in item)
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
