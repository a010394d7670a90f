"""The configurations in docs/integrate.md work as they stand there."""

from __future__ import annotations

import json
import sys
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from app.settings import Settings
from tests.conftest import ROOT
from tests.documents import find_blocks
from tests.mcp.calling import PHOTO, encode, get_text, use, use_service
from tests.serving import serve

BLOCKS = [json.loads(text) for language, text in find_blocks("docs/integrate.md") if language == "json"]
CONFIGURATIONS = [block["mcpServers"]["digits"] for block in BLOCKS if "mcpServers" in block]
INSTALLED, UVX, SERVICE = CONFIGURATIONS


def test_the_command_reads_a_path() -> None:
    assert INSTALLED == {"command": "digits", "args": ["mcp"]}
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "app", *INSTALLED["args"]], cwd=ROOT
    )

    async def work(client: Client) -> str:
        return get_text(await client.call_tool("read_digit", {"path": str(PHOTO)}))

    assert use(stdio_client(parameters), work, mode="auto").startswith("The digit is 7")


def test_uvx_runs_the_same_command() -> None:
    assert UVX["args"][0] == "--from"
    assert UVX["args"][1].endswith("[mcp]")
    assert UVX["args"][2:] == [INSTALLED["command"], *INSTALLED["args"]]


def test_the_service_takes_the_key_as_shown() -> None:
    headers: dict[str, Any] = SERVICE["headers"]

    async def work(client: Client) -> str:
        return get_text(await client.call_tool("read_digit", {"image": encode(PHOTO.read_bytes())}))

    assert SERVICE["url"].endswith(":8000/mcp")
    key = headers["Authorization"].replace("KEY", "a key of some length")
    with serve(Settings(mcp=True, api_keys=("a key of some length",))) as service:
        assert use_service(service, work, headers={"Authorization": key}).startswith("The digit is 7")
