"""`GET /models`: which models there are, and how good they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from ..digits.catalogue import Model
from ..digits.errors import UnknownModel
from ..digits.images import MIN_SIDE
from ..digits.network import Arrays
from ..state import State, get_state
from .openapi import describe_problems
from .schemas import ArrayInfo, Limits, ModelInfo, ModelList

router = APIRouter(tags=["models"])

ModelPath = Annotated[str, Path(description="A name from /models, or NAME@N.", examples=["cnn"])]
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}  # by onnxruntime's names


@router.get("/models")
async def list_models(request: Request) -> ModelList:
    """List the models, one entry for each version, the default first."""
    state = get_state(request)
    infos = [_describe_model(model, state) for model in state.catalogue]
    return ModelList(
        models=sorted(infos, key=lambda info: not info.default),
        feedback=state.feedback_store is not None,
        explain=state.settings.explain,
    )


@router.get("/models/{name}", responses=describe_problems(UnknownModel))
async def describe_model(request: Request, name: ModelPath) -> ModelInfo:
    """Describe one model; NAME stands for its highest version."""
    state = get_state(request)
    return _describe_model(state.catalogue.get(name), state)


def _describe_model(model: Model, state: State) -> ModelInfo:
    network, settings = model.network, state.settings
    (image,) = _describe_arrays(network.inputs)
    return ModelInfo(
        name=model.name,
        kind=network.kind,
        version=network.recipe_version,
        sha256=network.sha256,
        default=model.name == state.catalogue.get().name,
        input=image,
        output=_describe_arrays(network.outputs),
        metrics=None if model.metrics is None else dict(model.metrics),
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_batch_body_bytes=settings.max_batch_body_bytes,
            max_pixels=settings.max_pixels,
            min_side=MIN_SIDE,
            max_batch=settings.max_batch,
        ),
    )


def _describe_arrays(arrays: Arrays) -> list[ArrayInfo]:
    return [
        ArrayInfo(name=name, dtype=_DTYPES[dtype], shape=list(shape))
        for name, (dtype, shape) in arrays.items()
    ]
