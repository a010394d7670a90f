"""`python -m app mcp`, used by the client of the SDK over standard input and output."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult

from tests.conftest import ROOT
from tests.mcp.calling import MODES, NUMBER, PHOTO, encode, get_text, use_local

REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({}, "The tool needs one picture. Send either its 'path', or its bytes in base64 as 'image'."),
    ({"path": str(PHOTO), "image": "x"}, "The tool needs one picture."),
    ({"path": "missing.png"}, "The file 'missing.png' can't be read: No such file or directory."),
    ({"path": str(ROOT)}, "can't be read: Is a directory."),
    ({"path": "a\0b"}, "can't be read: embedded null byte."),
    ({"path": "/dev/zero"}, "The file '/dev/zero' has more than 268435456 bytes. Send a smaller picture."),
    ({"path": str(ROOT / "README.md")}, "The file is not a PNG, JPEG"),
    ({"path": str(ROOT / "tests" / "data" / "hostile" / "white.png")}, "Nothing is written"),
    ({"image": "no base64!"}, "The text in 'image' is not base64: "),
    ({"image": 7}, "The arguments can't be accepted: image: Input should be a valid string."),
    ({"picture": "x"}, "The arguments can't be accepted: picture: Extra inputs are not permitted."),
]


@pytest.mark.parametrize("mode", MODES)
def test_both_tools_read_a_path_base64_and_a_data_url(mode: str) -> None:
    async def work(client: Client) -> list[CallToolResult]:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["read_digit", "read_number"]
        assert all(tool.output_schema for tool in tools)
        assert client.server_info
        assert client.server_info.name == "digits"
        url = f"data:image/jpeg;base64,{encode(NUMBER.read_bytes())}"
        return [
            await client.call_tool("read_digit", {"path": str(PHOTO)}),
            await client.call_tool("read_digit", {"image": encode(PHOTO.read_bytes())}),
            await client.call_tool("read_number", {"path": str(NUMBER)}),
            await client.call_tool("read_number", {"image": url}),
        ]

    digit, same_digit, number, same_number = use_local(work, mode=mode)
    assert get_text(digit).startswith("The digit is 7 (confidence 0.9")
    assert digit.structured_content is not None
    assert digit.structured_content["digit"] == 7
    assert same_digit.structured_content == digit.structured_content
    assert get_text(number).startswith("The number is 4071 (confidence ")
    assert number.structured_content is not None
    assert number.structured_content["written"] == "4071"
    assert same_number.structured_content == number.structured_content


def test_what_cant_be_read_is_an_error_of_the_tool_and_the_next_call_works() -> None:
    async def work(client: Client) -> list[CallToolResult]:
        calls = [arguments for arguments, _ in REFUSALS] + [{"path": str(PHOTO)}]
        return [await client.call_tool("read_digit", arguments) for arguments in calls]

    *refused, last = use_local(work)
    for result, (_, expected) in zip(refused, REFUSALS, strict=True):
        assert result.is_error
        assert expected in get_text(result)
    assert not last.is_error


def test_a_tool_that_does_not_exist_is_an_error_of_the_protocol() -> None:
    async def work(client: Client) -> None:
        with pytest.raises(MCPError, match="There is no tool 'read_letter'"):
            await client.call_tool("read_letter", {})

    use_local(work)


def test_without_the_extra_the_message_says_how_to_install_it() -> None:
    script = "import sys, runpy; sys.modules['mcp'] = None; sys.argv = ['app', 'mcp']; "
    script += "runpy.run_module('app', run_name='__main__')"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "python -m app mcp needs the extra 'mcp': pip install 'digits[mcp]' (mcp is not installed)\n"
    )


def test_garbage_on_standard_input_does_not_end_the_server() -> None:
    lines = ["no json", "[]", "{}", '{"jsonrpc": "2.0", "id": 1, "method": "ping"}', ""]
    command = [sys.executable, "-m", "app", "mcp"]
    result = subprocess.run(
        command, cwd=ROOT, input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert '"id":1' in result.stdout.splitlines()[-1]
