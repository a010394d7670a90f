"""`POST /v2/repository/…`: list, load and unload models, for clients with a key."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from ...digits.catalogue import VERSION_SEPARATOR, Model
from ...digits.errors import InvalidModel, ModelInUse, UnknownModel
from ...settings import Settings
from ...state import get_state
from ...wire.problems import Forbidden, MalformedRequest
from .. import json_body, openapi, uploads
from ..errors import require_key
from ..json_body import Body
from ..schemas import Schema
from .schemas import IndexEntry, IndexRequest, LoadRequest, UnloadRequest

RepositoryModel = Annotated[
    str, Path(description="NAME for all its versions, or NAME@N.", examples=["mlp-128"])
]
router = APIRouter(prefix="/v2/repository", tags=[openapi.V2_TAG])


def _describe_body(model: type[Schema]) -> dict[str, Any]:
    schemas = {"application/json": openapi.describe_model(model)}
    return openapi.describe_body("The body may be omitted.", schemas, required=False)


async def _read_body(request: Request, body: type[Body]) -> Body:
    return await uploads.read_body(request, lambda json: json_body.parse(json or b"{}", body))


def is_enabled(settings: Settings) -> bool:
    """Tell whether these settings allow loading and unloading models."""
    return bool(settings.api_keys or settings.api_keys_file) and settings.workers == 1


@router.post(
    "/index",
    openapi_extra=_describe_body(IndexRequest),
    response_model_exclude_none=True,
    responses=openapi.describe_problems(MalformedRequest, Forbidden, protocol=True),
)
async def index(request: Request) -> list[IndexEntry]:
    """List the versions that are loaded, and those that could be."""
    require_key(request, "use the repository")  # before the body is read
    body = await _read_body(request, IndexRequest)
    return await list_entries(request, ready=body.ready)


async def list_entries(request: Request, *, ready: bool) -> list[IndexEntry]:
    """List the versions that are loaded and, unless `ready`, those that could be."""
    catalogue = get_state(request).catalogue
    if ready:
        return [_build_entry(model) for model in catalogue]
    loaded, available = await asyncio.to_thread(catalogue.list_versions)
    return [_build_entry(model) for model in loaded] + [
        IndexEntry(name=name, version=str(number), state="UNAVAILABLE", reason="not loaded")
        for name, number in available
    ]


@router.post(
    "/models/{name}/load",
    openapi_extra=_describe_body(LoadRequest),
    responses=openapi.describe_problems(
        MalformedRequest, Forbidden, UnknownModel, InvalidModel, protocol=True
    ),
)
async def load(request: Request, name: RepositoryModel) -> IndexEntry:
    """Load or reload versions from the service's folder; if one can't be served, the old ones stay."""
    check_allowed(request)
    await _read_body(request, LoadRequest)
    return await load_model(request, name)


async def load_model(request: Request, name: str) -> IndexEntry:
    """Load or reload versions of a model.

    Raises:
        UnknownModel, InvalidModel: there is none in the folder, or it can't be served.
    """
    return _build_entry(await asyncio.to_thread(get_state(request).catalogue.reload_one, name))


@router.post(
    "/models/{name}/unload",
    openapi_extra=_describe_body(UnloadRequest),
    response_model_exclude_none=True,
    responses=openapi.describe_problems(MalformedRequest, Forbidden, UnknownModel, ModelInUse, protocol=True),
)
async def unload(request: Request, name: RepositoryModel) -> IndexEntry:
    """Unload versions until they are loaded again; the last version of the default model stays."""
    check_allowed(request)
    await _read_body(request, UnloadRequest)
    return await unload_model(request, name)


async def unload_model(request: Request, name: str) -> IndexEntry:
    """Unload versions of a model.

    Raises:
        UnknownModel, ModelInUse: there is no such model, or it is the default one.
    """
    await asyncio.to_thread(get_state(request).catalogue.unload, name)
    name, _, number = name.partition(VERSION_SEPARATOR)
    return IndexEntry(name=name, version=number or None, state="UNAVAILABLE", reason="unloaded")


def check_allowed(request: Request) -> None:
    """Check that this request may load and unload models.

    Raises:
        Forbidden: it has no key, or there are several workers.
    """
    require_key(request, "use the repository")
    workers = get_state(request).settings.workers
    if workers > 1:
        msg = (
            f"This service has {workers} workers, and a request reaches one of them. Change the folder "
            "and send SIGHUP, which reaches all, or set DIGITS_WORKERS=1."
        )
        raise Forbidden(msg)


def _build_entry(model: Model) -> IndexEntry:
    name, number = model.version
    return IndexEntry(name=name, version=str(number), state="READY", reason="")
