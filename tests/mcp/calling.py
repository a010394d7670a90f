"""Calls tools as an assistant does, by the client of the SDK."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import httpx
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from tests.conftest import GOLDEN, ROOT

PHOTO = GOLDEN / "7-photo.jpg"
NUMBER = ROOT / "tests" / "data" / "numbers" / "4071.jpg"
MODES = ("auto", "legacy")  # the protocol without a handshake, and the one with it
Result = TypeVar("Result")


def encode(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def get_text(result: CallToolResult) -> str:
    """Return the only text of a result."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def use(
    transport: AbstractAsyncContextManager[Any], work: Callable[[Client], Awaitable[Result]], *, mode: str
) -> Result:
    """Connect, and let a function use the client."""

    async def connect() -> Result:
        async with Client(transport, mode=mode) as client:
            return await work(client)

    return asyncio.run(connect())


def use_local(work: Callable[[Client], Awaitable[Result]], *, mode: str = "auto") -> Result:
    """Start `python -m app mcp`, and let a function use it."""
    parameters = StdioServerParameters(command=sys.executable, args=["-m", "app", "mcp"], cwd=ROOT)
    return use(stdio_client(parameters), work, mode=mode)


def use_service(
    service: httpx.Client,
    work: Callable[[Client], Awaitable[Result]],
    *,
    mode: str = "auto",
    headers: dict[str, str] | None = None,
) -> Result:
    """Let a function use the tools of a service."""

    async def connect() -> Result:
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(f"{service.base_url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await work(client)

    return asyncio.run(connect())
