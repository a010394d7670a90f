"""Reads docker-compose.yml with podman-compose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT


def compose(*options: str) -> dict[str, Any]:
    """Return the services that `docker compose up` starts, as podman-compose understands the file."""
    podman_compose = str(Path(sys.executable).with_name("podman-compose"))
    command = [podman_compose, "--dry-run", *options, "config"]  # a dry run needs no podman
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    services: dict[str, Any] = yaml.safe_load(result.stdout)["services"]
    return services
