"""Measures how the time of a small request and of a batch is spent, and the least time that parts could take.

Each part of a small request is timed within complete requests. Repeated on its own, a part finds everything
in the processor's caches, and takes half as long: that is its floor. The parts of a batch are timed one after
the other, without threads and HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import logging.config
import re
import statistics
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from fastapi import FastAPI
from starlette.types import ASGIApp, Message

from app.api import multipart
from app.api.direct import DirectDispatch
from app.api.reader import build_predictions, describe_model, describe_upload
from app.api.schemas import BatchPrediction, BatchResult
from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.catalogue import Catalogue, Model
from app.digits.preprocessing import canonicalise
from app.main import create_app
from app.settings import Settings
from app.telemetry import logs
from app.telemetry.stages import Stages
from benchmarks.load import build_form
from benchmarks.pictures import SMALL

CALLS: Final = 3000  # of each part; the median is reported
BATCHES: Final = 200
BATCH_SIZE: Final = 64
BATCH_PARTS: Final = ("split the form", "decode", "describe", "infer", "build the answer", "write JSON")
MODELS: Final = Path(__file__).parent.parent / "models"
SCOPE: Final = {
    "type": "http",
    "method": "POST",
    "path": "/predict",
    "raw_path": b"/predict",
    "query_string": b"",
    "root_path": "",
    "headers": [
        (b"host", b"localhost"),
        (b"content-type", b"image/png"),
        (b"content-length", b"%d" % len(SMALL)),
    ],
    "client": ("127.0.0.1", 1),
}
_TIMING: Final = re.compile(rb"(\w+);dur=([\d.]+)")


def measure() -> dict[str, dict[str, Any]]:
    """Return the microseconds of each part: of a request, and of a batch for each of its pictures."""
    return {"request": measure_request(), "batch": measure_batch()}


def measure_request() -> dict[str, dict[str, float | None]]:
    """Return the microseconds of each part, in a request and on its own."""
    settings = Settings(models_dir=MODELS)
    config = logs.build_log_config(settings)
    config["handlers"]["stderr"]["stream"] = Path("/dev/null").open("w")  # noqa: SIM115  until the end
    logging.config.dictConfig(config)
    spent = asyncio.run(_measure_parts(create_app(settings)))
    floors = _measure_floors()
    return {part: {"spent_us": spent[part], "floor_us": floors.get(part)} for part in spent}


async def _measure_parts(app: FastAPI) -> dict[str, float]:
    async with app.router.lifespan_context(app) as state:
        logger = logging.getLogger("app.access")
        logger.setLevel(logging.WARNING)
        quiet, _ = await _measure_median(app, state)
        logger.setLevel(logging.INFO)
        logged, stages = await _measure_median(app, state)
        direct, _ = await _measure_median(DirectDispatch(app), state)
    return {
        "guards": quiet - direct,
        "body and answer": direct - sum(stages.values()),
        **stages,
        "log": logged - quiet,
    }


async def _measure_median(app: ASGIApp, state: Any) -> tuple[float, dict[str, float]]:  # noqa: ANN401
    """Return the median microseconds of a call, and of each of its stages."""
    durations: list[float] = []
    stages: dict[str, list[float]] = {}
    for _ in range(CALLS):
        sent: list[Message] = []
        started = time.perf_counter()
        await _send_request(app, state, sent)
        durations.append((time.perf_counter() - started) * 1e6)
        for name, milliseconds in _TIMING.findall(dict(sent[0]["headers"])[b"server-timing"]):
            stages.setdefault(name.decode(), []).append(float(milliseconds) * 1e3)
    return statistics.median(durations), {name: statistics.median(each) for name, each in stages.items()}


async def _send_request(app: ASGIApp, state: Any, sent: list[Message]) -> None:  # noqa: ANN401
    async def receive() -> Message:
        return {"type": "http.request", "body": SMALL, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({**SCOPE, "state": dict(state)}, receive, send)


def _measure_floors() -> dict[str, float]:
    """Return the median microseconds of the parts that can run on their own."""
    classifier = Catalogue.load(MODELS, default="cnn").get().classifier
    picture, form, *_ = canonicalise_upload(images.identify(SMALL))
    batch = form.picture[np.newaxis]
    return {
        "decode": _time_alone(lambda: images.decode(images.identify(SMALL))),
        "preprocess": _time_alone(lambda: canonicalise(picture.grey)),
        "infer": _time_alone(lambda: classifier.classify(batch)),
    }


def measure_batch() -> dict[str, float]:
    """Return the microseconds that each part of a batch takes for a picture."""
    model = Catalogue.load(MODELS, default="cnn").get()
    form, content_type = build_form(SMALL, field="files", count=BATCH_SIZE)
    durations = np.diff([_read_batch(model, form, content_type) for _ in range(BATCHES)], axis=1)
    medians = np.median(durations, axis=0) * 1e6 / BATCH_SIZE
    return dict(zip(BATCH_PARTS, medians.tolist(), strict=True))


def _read_batch(model: Model, form: bytes, content_type: str) -> list[float]:
    """Do what the service does with a batch; return the times before the first part and after each."""
    times = [time.perf_counter()]
    files = multipart.read_parts(form, content_type, limits={"files": BATCH_SIZE}, required="files")["files"]
    times.append(time.perf_counter())
    timer = Stages().time_stage
    uploads = [
        canonicalise_upload(images.identify(file), classifier=model.classifier, time_stage=timer)
        for file in files
    ]
    times.append(time.perf_counter())
    prepared = [describe_upload(upload) for upload in uploads]
    times.append(time.perf_counter())
    scores = model.classifier.classify(np.array([picture.canonical for picture in prepared]))
    times.append(time.perf_counter())
    predictions = build_predictions(prepared, scores, describe_model(model))
    results = [
        BatchResult(index=index, prediction=prediction, problem=None)
        for index, prediction in enumerate(predictions)
    ]
    times.append(time.perf_counter())
    BatchPrediction(results=results).model_dump_json(exclude_unset=True).encode()
    times.append(time.perf_counter())
    return times


def _time_alone(work: Callable[[], object]) -> float:
    return 1e6 * statistics.median(timeit.repeat(work, repeat=CALLS, number=1))
