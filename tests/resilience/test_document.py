"""The OpenAPI document is correct: schemathesis sends requests that it allows and that it forbids."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.guard import keys
from tests.conftest import ROOT
from tests.serving import start_process

Measured = Callable[[str, str], None]


@pytest.mark.parametrize("locked", [False, True], ids=["open", "with keys"])
def test_schemathesis_finds_no_failure(
    tmp_path: Path, measured: Measured, *, locked: bool, full: bool
) -> None:
    key, entry = keys.create_key("schemathesis")
    if locked:
        (tmp_path / "schemathesis.toml").write_text(f'[auth.openapi.header]\napi_key = "{key}"\n')
    with start_process(log_level="error", **({"api_keys": entry} if locked else {})) as running:
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            "--checks=all",
            "--warnings=off",
        ]
        amount = ["--max-examples", "500" if full else "10", "--seed=4", "--continue-on-failure"]
        address = f"http://127.0.0.1:{running.port}/openapi.json"
        result = subprocess.run(
            [*command, *amount, address],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.resilience.pictures"},
            check=False,
            capture_output=True,
            text=True,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    counts = re.search(r"(\d+) generated, (\d+) passed", result.stdout)
    assert counts
    assert counts[1] == counts[2]
    measured(
        f"schemathesis{', with keys required' if locked else ''}: cases from the OpenAPI document, failures",
        f"{int(counts[1]):,}, 0",
    )
