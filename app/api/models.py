"""`GET /models`: which models there are, and how good they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from app.api.openapi import describe_problems
from app.api.schemas import ArrayInfo, Limits, ModelInfo, ModelList
from app.digits.catalogue import Model
from app.digits.contract import BATCH, CLASSES, DIGIT_LIKELIHOOD, INPUT, PROBABILITIES, SIDE
from app.digits.errors import UnknownModel
from app.digits.images import MIN_SIDE
from app.state import State, get_state

router = APIRouter(tags=["models"])

ModelPath = Annotated[str, Path(description="A name from /models, or NAME@N.", examples=["cnn"])]
_INPUT = ArrayInfo(name=INPUT, dtype="uint8", shape=[BATCH, SIDE, SIDE])
_OUTPUTS = {
    PROBABILITIES: ArrayInfo(name=PROBABILITIES, dtype="float32", shape=[BATCH, CLASSES]),
    DIGIT_LIKELIHOOD: ArrayInfo(name=DIGIT_LIKELIHOOD, dtype="float32", shape=[BATCH]),
}


@router.get("/models")
async def list_models(request: Request) -> ModelList:
    """List the models, one entry for each version, the default first."""
    state = get_state(request)
    infos = [_describe_model(model, state) for model in state.catalogue]
    return ModelList(
        models=sorted(infos, key=lambda info: not info.default), feedback=state.feedback_store is not None
    )


@router.get("/models/{name}", responses=describe_problems(UnknownModel))
async def describe_model(request: Request, name: ModelPath) -> ModelInfo:
    """Describe one model; NAME stands for its highest version."""
    state = get_state(request)
    return _describe_model(state.catalogue.get(name), state)


def _describe_model(model: Model, state: State) -> ModelInfo:
    classifier, settings = model.classifier, state.settings
    return ModelInfo(
        name=model.name,
        version=classifier.recipe_version,
        sha256=classifier.sha256,
        default=model.name == state.catalogue.get().name,
        input=_INPUT,
        output=[_OUTPUTS[name] for name in classifier.outputs],
        metrics=None if model.metrics is None else dict(model.metrics),
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_batch_body_bytes=settings.max_batch_body_bytes,
            max_pixels=settings.max_pixels,
            min_side=MIN_SIDE,
            max_batch=settings.max_batch,
        ),
    )
