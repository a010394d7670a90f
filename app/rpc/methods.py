"""The methods of the protocol, answered by the functions that answer /v2."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..api.errors import EXPECTED_ERRORS, answer_error, require_key
from ..api.v2 import repository, server
from ..api.v2.schemas import LoadRequest, UnloadRequest
from ..digits.errors import UnknownModel
from ..state import get_state
from ..telemetry.stages import get_stages
from ..wire.paths import HEALTH_SERVICE, RPC_SERVICE
from ..wire.problems import NotFound
from .bodies import read_message
from .infer import infer
from .messages import CLASSES, Message, build_invalid, read_parameters

log = logging.getLogger("app")

Method: TypeAlias = Callable[[Request], Awaitable[Message]]
SERVING: Final = 1  # of `ServingStatus` in grpc.health.v1
NOT_SERVING: Final = 2
_PARAMETERS: Final = {"Load": LoadRequest, "Unload": UnloadRequest}


async def answer_call(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a call that has passed the guards; its path is one of `METHODS`."""
    request = Request(scope, receive)
    try:
        message = await METHODS[scope["path"]](request)
    except Exception as error:  # a defect is answered like one of /v2, not by gRPC, which would show its text
        if not isinstance(error, EXPECTED_ERRORS):
            log.exception("a call failed")
        response = await answer_error(request, error)
    else:
        stages = get_stages(scope)
        headers = {"Server-Timing": stages.format_header()} if stages else {}
        response = Response(message.SerializeToString(), headers=headers)
    await response(scope, receive, send)


async def _read_message(request: Request, name: str) -> Message:
    message, _ = await read_message(request, name)
    return message


async def _report_live(_: Request) -> Message:
    return CLASSES["ServerLiveResponse"](live=True)


async def _report_ready(request: Request) -> Message:
    return CLASSES["ServerReadyResponse"](ready=not get_state(request).readiness.draining)


async def _check_health(request: Request) -> Message:
    service = (await _read_message(request, "HealthCheckRequest")).service
    if service not in {"", RPC_SERVICE}:
        name = f"The service {service[:64]!r}"
        raise NotFound(name, root_path="")
    status = NOT_SERVING if get_state(request).readiness.draining else SERVING
    return CLASSES["HealthCheckResponse"](status=status)


async def _describe_server(request: Request) -> Message:
    metadata = await server.server_metadata(request)
    return CLASSES["ServerMetadataResponse"](**metadata.model_dump())


async def _report_model_ready(request: Request) -> Message:
    message = await _read_message(request, "ModelReadyRequest")
    try:
        server.find_model(request, message.name, message.version or None)
    except UnknownModel:
        return CLASSES["ModelReadyResponse"](ready=False)
    return CLASSES["ModelReadyResponse"](ready=True)


async def _describe_model(request: Request) -> Message:
    message = await _read_message(request, "ModelMetadataRequest")
    model = server.find_model(request, message.name, message.version or None)
    return CLASSES["ModelMetadataResponse"](**server.describe_model(request, model).model_dump())


async def _list_models(request: Request) -> Message:
    require_key(request, "use the repository")
    message = await _read_message(request, "RepositoryIndexRequest")
    entries = await repository.list_entries(request, ready=message.ready)
    models = [entry.model_dump(exclude_none=True) for entry in entries]
    return CLASSES["RepositoryIndexResponse"](models=models)


async def _load(request: Request) -> Message:
    name = await _read_model_name(request, "Load")
    await repository.load_model(request, name)
    return CLASSES["RepositoryModelLoadResponse"](model_name=name, is_done=True)


async def _unload(request: Request) -> Message:
    name = await _read_model_name(request, "Unload")
    await repository.unload_model(request, name)
    return CLASSES["RepositoryModelUnloadResponse"](model_name=name, is_done=True)


async def _read_model_name(request: Request, action: str) -> str:
    """Return the model that a request loads or unloads, after its parameters have been checked."""
    repository.check_allowed(request)
    message = await _read_message(request, f"RepositoryModel{action}Request")
    try:
        _PARAMETERS[action].model_validate({"parameters": dict(read_parameters(message.parameters))})
    except ValidationError as error:
        raise build_invalid(error) from None
    name: str = message.model_name or message.repository_name  # KServe's clients send it in this field
    return name


METHODS: Final[Mapping[str, Method]] = {
    f"/{RPC_SERVICE}/ServerLive": _report_live,
    f"/{RPC_SERVICE}/ServerReady": _report_ready,
    f"/{RPC_SERVICE}/ServerMetadata": _describe_server,
    f"/{RPC_SERVICE}/ModelReady": _report_model_ready,
    f"/{RPC_SERVICE}/ModelMetadata": _describe_model,
    f"/{RPC_SERVICE}/ModelInfer": infer,
    f"/{RPC_SERVICE}/RepositoryIndex": _list_models,
    f"/{RPC_SERVICE}/RepositoryModelLoad": _load,
    f"/{RPC_SERVICE}/RepositoryModelUnload": _unload,
    f"/{HEALTH_SERVICE}/Check": _check_health,
}
