"""Serves routes that do nothing, to measure the cost of HTTP, the framework and the guards alone.

python -m benchmarks.nothing      serves /predict and /predict/nothing with the service's settings
uvicorn benchmarks.nothing:bare   serves an ASGI function without any framework
"""

from __future__ import annotations

import gc
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from app.api import direct, uploads
from app.api.reader import JsonResponse
from app.api.schemas import ImageInfo, ModelRef, Prediction
from app.main import create_app as create_service
from app.server.process import Server, configure
from app.settings import load_settings

NOTHING: Final = "/predict/nothing"
CONSTANT_ANSWER: Final = Prediction(
    digit=7,
    confidence=0.99,
    probabilities=[0.0] * 7 + [0.99, 0.0, 0.01],
    is_digit=True,
    digit_likelihood=0.99,
    model=ModelRef(name="cnn", version="1.0.0"),
    image=ImageInfo(width=28, height=28, polarity="light_on_dark", box=(4, 4, 20, 20)),
    others=[],
    warnings=[],
    view=None,
)


async def answer_constant(request: Request) -> Response:
    """Read the body, parse the form, and always give the same answer."""
    await uploads.read_picture(request)
    return JsonResponse(CONSTANT_ANSWER)


def create_app() -> FastAPI:
    """Return the service with an additional route, behind the same guards and dispatched as /predict is."""
    app = create_service()
    app.add_api_route(NOTHING, answer_constant, methods=["POST"])
    direct.ENDPOINTS[NOTHING] = answer_constant
    return app


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, and always give the same answer."""
    while scope["type"] == "http" and (await receive()).get("more_body"):
        pass
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})


if __name__ == "__main__":
    gc.disable()  # until it serves, as in `python -m app`
    Server(configure(load_settings(), app="benchmarks.nothing:create_app")).run()
