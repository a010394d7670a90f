"""`GET /v2…`: the metadata and readiness of the server and of its models."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request

from ...digits.catalogue import VERSION_SEPARATOR, Model
from ...digits.classifier import Classifier
from ...digits.errors import UnknownModel
from ...digits.network import Arrays, Network
from ...state import get_state
from ...version import VERSION
from ...wire.problems import NotReady
from .. import health
from ..models import ModelPath
from ..openapi import V2_TAG, describe_problems
from . import repository
from .outputs import OUTPUTS, list_outputs
from .schemas import Live, ModelMetadata, ModelReady, Ready, ServerMetadata, TensorInfo
from .tensors import IMAGE_INPUT, PICTURE_INPUT

PLATFORM: Final = "onnxruntime_onnx"  # as Triton calls it
_DATATYPES: Final = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32"}  # by onnxruntime's names
VersionPath = Annotated[str, Path(description="The number of the model's version.", examples=["1"])]
router = APIRouter(prefix="/v2", tags=[V2_TAG])
_MODEL_RESPONSES: Final = describe_problems(UnknownModel, protocol=True)


@router.get("")
async def server_metadata(request: Request) -> ServerMetadata:
    """Describe the server, and list the extensions of the protocol that it supports."""
    extensions = ["binary_tensor_data", "classification"]
    if repository.is_enabled(get_state(request).settings):
        extensions.append("model_repository")
    return ServerMetadata(name="digits", version=VERSION, extensions=extensions)


@router.get("/health/live")
async def server_live() -> Live:
    """Answer 200 while the event loop runs."""
    return Live(live=True)


@router.get("/health/ready", responses=describe_problems(NotReady, protocol=True))
async def server_ready(request: Request) -> Ready:
    """Answer 200 once the models are loaded and warm, 503 while draining."""
    await health.ready(request)
    return Ready(ready=True)


@router.get("/models/{name}", responses=_MODEL_RESPONSES)
async def model_metadata(request: Request, name: ModelPath) -> ModelMetadata:
    """Describe a model's tensors, and list its versions."""
    return describe_model(request, find_model(request, name))


@router.get("/models/{name}/versions/{version}", responses=_MODEL_RESPONSES)
async def version_metadata(request: Request, name: ModelPath, version: VersionPath) -> ModelMetadata:
    """Describe this version's tensors."""
    return describe_model(request, find_model(request, name, version))


@router.get("/models/{name}/ready", responses=_MODEL_RESPONSES)
async def model_ready(request: Request, name: ModelPath) -> ModelReady:
    """Answer 200 if the model is loaded."""
    return ModelReady(name=find_model(request, name).version.model, ready=True)


@router.get("/models/{name}/versions/{version}/ready", responses=_MODEL_RESPONSES)
async def version_ready(request: Request, name: ModelPath, version: VersionPath) -> ModelReady:
    """Answer 200 if this version of the model is loaded."""
    return ModelReady(name=find_model(request, name, version).version.model, ready=True)


def find_model(request: Request, name: str, version: str | None = None) -> Model:
    """Return a version of a model, the highest if none is given.

    Raises:
        UnknownModel: there is no such model or version.
    """
    catalogue = get_state(request).catalogue
    return catalogue.get(name if version is None else f"{name}{VERSION_SEPARATOR}{version}")


def describe_model(request: Request, model: Model) -> ModelMetadata:
    """Return the tensors of a model, and the versions that it has."""
    name = model.version.model
    versions = [other.version for other in get_state(request).catalogue]
    inputs, outputs = _list_tensors(model.network)
    return ModelMetadata(
        name=name,
        versions=[str(version.number) for version in versions if version.model == name],
        platform=PLATFORM,
        inputs=inputs,
        outputs=outputs,
    )


def _list_tensors(network: Network) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """Return the inputs and outputs: those of `infer`, or the network's own if `infer` does not run it."""
    if isinstance(network, Classifier):
        return [IMAGE_INPUT, PICTURE_INPUT], [OUTPUTS[name] for name in list_outputs(network)]
    return _describe_arrays(network.inputs), _describe_arrays(network.outputs)


def _describe_arrays(arrays: Arrays) -> list[TensorInfo]:
    return [
        TensorInfo(
            name=name,
            datatype=_DATATYPES[dtype],
            shape=[size if isinstance(size, int) else -1 for size in shape],
        )
        for name, (dtype, shape) in arrays.items()
    ]
