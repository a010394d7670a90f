"""Clients that others wrote: each function of `clients.py` is a test, run where they are installed."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from app.guard import keys
from tests.conftest import GOLDEN
from tests.needs import CLIENTS
from tests.serving import start_process
from tests.versions import make_two_versions

SCRIPT = Path(__file__).with_name("clients.py")
PICTURES = [GOLDEN / name for name in ("3-canvas-black-on-white.png", "7-photo.jpg", "9-lossy.webp")]
CHECKS = [
    node.name
    for node in ast.parse(SCRIPT.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith(("triton_", "kserve_"))
]


pytestmark = pytest.mark.needs("clients")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    key, entry = keys.create_key("clients")
    folder = make_two_versions(tmp_path_factory.mktemp("models"))
    with start_process(api_keys=entry, models_dir=str(folder)) as running:
        command = [CLIENTS, SCRIPT, f"127.0.0.1:{running.port}", key, *PICTURES]
        result = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    message: dict[str, str | None] = json.loads(result.stdout.splitlines()[-1])
    return message


@pytest.mark.parametrize("check", CHECKS)
def test_third_party_clients_work(outcomes: dict[str, str | None], check: str) -> None:
    assert outcomes[check] is None, outcomes[check]
