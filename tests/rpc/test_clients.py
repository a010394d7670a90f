"""Clients of gRPC that others wrote: each of their functions is a test, run where they are installed."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from app.guard import keys
from tests.conftest import GOLDEN, ROOT
from tests.needs import CLIENTS
from tests.serving import free_port, start_process

SCRIPTS = ("triton", "kserve")
PICTURES = [GOLDEN / name for name in ("3-canvas-black-on-white.png", "7-photo.jpg", "9-lossy.webp")]
CHECKS = [
    node.name
    for script in SCRIPTS
    for node in ast.parse(Path(__file__).with_name(f"{script}_client.py").read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith(f"{script}_")
]
pytestmark = pytest.mark.needs("clients")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str | None]:
    key, entry = keys.create_key("clients")
    port = free_port()
    found: dict[str, str | None] = {}
    with start_process(api_keys=entry, grpc_port=str(port)):
        for script in SCRIPTS:
            module = f"tests.rpc.{script}_client"
            command = [CLIENTS, "-m", module, f"127.0.0.1:{port}", key, *PICTURES]
            result = subprocess.run(
                list(map(str, command)), cwd=ROOT, check=False, capture_output=True, text=True
            )
            assert result.returncode == 0, result.stderr
            found |= json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_third_party_clients_work(outcomes: dict[str, str | None], check: str) -> None:
    assert outcomes[check] is None, outcomes[check]
