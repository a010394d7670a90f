"""Runs the functions of a script, each of which checks something, and reports what became of them."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any


def run_checks(names: Mapping[str, Any], *, prefix: str) -> None:
    """Print JSON: the name of each function with the prefix, and its traceback if it failed."""
    checks = {name: check for name, check in list(names.items()) if name.startswith(prefix)}
    json.dump({name: run_check(check) for name, check in checks.items()}, sys.stdout)


def run_check(check: Callable[[], None]) -> str | None:
    try:
        check()
    except Exception:  # noqa: BLE001  reported to the process that started this
        return traceback.format_exc()
    return None
