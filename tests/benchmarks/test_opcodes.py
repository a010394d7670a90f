"""What a small request costs Python, in instructions: a number that does not depend on the machine."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT

# 6,900 with Python 3.11; 10,400 before the server, the log and the metrics were made for small requests
MAX_INSTRUCTIONS = 7_500


def test_a_small_request_executes_few_instructions() -> None:
    command = [sys.executable, "-m", "benchmarks.opcodes"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    counts = json.loads(result.stdout)
    assert 0 < counts["total"] <= MAX_INSTRUCTIONS, counts["modules"]
    assert {"server/exchange.py", "guard/bodies.py", "telemetry/access.py"} <= set(counts["modules"])
