"""docs/protocol.md is executed: each command and each program gives what stands below it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from app.settings import Settings
from tests.conftest import ROOT
from tests.documents import matches
from tests.needs import CLIENTS
from tests.serving import free_port, serve

PAGE = (ROOT / "docs" / "protocol.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PAIRS = [
    (language, block, *BLOCKS[index + 1]) for index, (language, block) in enumerate(BLOCKS) if index % 2 == 0
]
COMMANDS = [(block, below) for language, block, _, below in PAIRS if language == "sh"]
PROGRAMS = [(block, below) for language, block, _, below in PAIRS if language == "python"]


@pytest.fixture(scope="module")
def keyed() -> Iterator[httpx.Client]:
    """A service with a key, for what needs one."""
    with serve(Settings(api_keys=("the key",))) as client:
        yield client


def replace_address(client: httpx.Client, text: str) -> str:
    return text.replace("localhost:8000", f"127.0.0.1:{client.base_url.port}")


def test_all_blocks_are_executed() -> None:
    assert [(language, below) for language, _, below, _ in PAIRS] == [
        ("sh", "json"), *[("python", "text")] * 4, ("sh", "json"), ("sh", "json"), ("sh", "json"),
        ("sh", "json"), ("python", "text"),
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "below"), COMMANDS)
def test_a_command_gives_the_answer_below_it(
    client: httpx.Client, keyed: httpx.Client, command: str, below: str
) -> None:
    service = keyed if "$KEY" in command else client
    result = subprocess.run(
        ["bash", "-c", replace_address(service, command).replace("curl ", "curl --silent ")],
        cwd=ROOT,
        env={**os.environ, "KEY": "the key"},
        check=True,
        capture_output=True,
    )
    assert matches(json.loads(result.stdout), json.loads(below))


@pytest.fixture(scope="module")
def grpc_port() -> Iterator[int]:
    port = free_port()
    with serve(Settings(grpc_port=port)):
        yield port


@pytest.mark.needs("clients")
@pytest.mark.parametrize(("program", "below"), PROGRAMS)
def test_a_program_prints_the_output_below_it(
    client: httpx.Client, grpc_port: int, program: str, below: str
) -> None:
    program = replace_address(client, program).replace("localhost:8001", f"127.0.0.1:{grpc_port}")
    command = [str(CLIENTS), "-W", "ignore::ResourceWarning", "-c", program]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.stdout == below, result.stderr
