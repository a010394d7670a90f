"""`POST /v2/repository/…`: models are listed, loaded and unloaded, by who has a key."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request

from app.api import json_body, uploads
from app.api.json_body import Body
from app.api.openapi import V2_TAG, describe_problems, inline_schema
from app.api.schemas import Schema
from app.api.v2.schemas import IndexEntry, IndexRequest, LoadRequest, UnloadRequest
from app.digits.catalogue import VERSION_SEPARATOR, Model
from app.digits.errors import InvalidModel, ModelInUse, UnknownModel
from app.settings import Settings
from app.state import get_state
from app.wire.problems import Forbidden, MalformedRequest
from app.wire.scope import get_key_id

OtherModel = Annotated[str, Path(description="NAME for all its versions, or NAME@N.", examples=["mlp-128"])]
router = APIRouter(prefix="/v2/repository", tags=[V2_TAG])
_LOADED: Final = "READY"
_NOT_LOADED: Final = "UNAVAILABLE"


def _describe_body(model: type[Schema]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": inline_schema(model)}}}}


async def _read_body(request: Request, body: type[Body]) -> Body:
    """Return what a request's JSON says; it may be left out."""
    return await uploads.read_body(request, lambda json: json_body.parse(json or b"{}", body))


def is_enabled(settings: Settings) -> bool:
    """Tell whether models can be loaded and unloaded, as the service is set up."""
    return bool(settings.api_keys or settings.api_keys_file) and settings.workers == 1


@router.post(
    "/index",
    openapi_extra=_describe_body(IndexRequest),
    response_model_exclude_none=True,
    responses=describe_problems(MalformedRequest, Forbidden, v2=True),
)
async def index(request: Request) -> list[IndexEntry]:
    """List the versions that are loaded, and those that could be."""
    _check_key(request)
    body = await _read_body(request, IndexRequest)
    catalogue = get_state(request).catalogue
    if body.ready:
        return [_build_entry(model) for model in catalogue]
    loaded, available = await asyncio.to_thread(catalogue.list_versions)
    return [_build_entry(model) for model in loaded] + [
        IndexEntry(name=name, version=str(number), state=_NOT_LOADED, reason="not loaded")
        for name, number in available
    ]


@router.post(
    "/models/{name}/load",
    openapi_extra=_describe_body(LoadRequest),
    responses=describe_problems(MalformedRequest, Forbidden, UnknownModel, InvalidModel, v2=True),
)
async def load(request: Request, name: OtherModel) -> IndexEntry:
    """Load versions of the service's folder, new or again; where one can't be served, the old ones stay."""
    _check_key(request)
    _check_single_worker(request)
    await _read_body(request, LoadRequest)
    return _build_entry(await asyncio.to_thread(get_state(request).catalogue.reload_one, name))


@router.post(
    "/models/{name}/unload",
    openapi_extra=_describe_body(UnloadRequest),
    response_model_exclude_none=True,
    responses=describe_problems(MalformedRequest, Forbidden, UnknownModel, ModelInUse, v2=True),
)
async def unload(request: Request, name: OtherModel) -> IndexEntry:
    """Let versions go, until they are loaded again; not the last one that the default names."""
    _check_key(request)
    _check_single_worker(request)
    await _read_body(request, UnloadRequest)
    await asyncio.to_thread(get_state(request).catalogue.unload, name)
    name, _, number = name.partition(VERSION_SEPARATOR)
    return IndexEntry(name=name, version=number or None, state=_NOT_LOADED, reason="unloaded")


def _check_key(request: Request) -> None:
    if get_key_id(request.scope) is None:
        msg = (
            "Only clients with a key can use the repository, and this service has no keys: set "
            "DIGITS_API_KEYS_FILE."
        )
        raise Forbidden(msg)


def _check_single_worker(request: Request) -> None:
    workers = get_state(request).settings.workers
    if workers > 1:
        msg = (
            f"This service has {workers} workers, and a request reaches one of them. Change the folder "
            "and send SIGHUP, which reaches all, or set DIGITS_WORKERS=1."
        )
        raise Forbidden(msg)


def _build_entry(model: Model) -> IndexEntry:
    name, number = model.version
    return IndexEntry(name=name, version=str(number), state=_LOADED, reason="")
