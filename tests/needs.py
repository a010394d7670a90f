"""What some tests need beyond `.venv-dev`: `@pytest.mark.needs(NAME)`. `make test` does without all of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from training.data import fonts, mnist

ROOT: Final = Path(__file__).parent.parent
SHARED_MNIST: Final = ROOT.parent / "shared" / "data" / "mnist" / "mnist.npz"
CLIENTS: Final = ROOT / ".venv-clients" / "bin" / "python"
RAY: Final = ROOT / ".venv-ray" / "bin" / "python"
RIVALS: Final = ROOT / ".venv-rivals" / "bin" / "python"
# Debian keeps it out of PATH, as several versions may be installed
_INITDBS: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
INITDB: Final = _INITDBS[-1] if _INITDBS else shutil.which("initdb")
NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")  # not on everybody's path
CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")


@dataclass(frozen=True, slots=True)
class Need:
    """How to check whether something is available, and how to get it."""

    is_met: Callable[[], bool]
    remedy: str


@cache
def find_engine() -> str | None:
    """Return a container engine that works here."""
    for name in ("podman", "docker"):
        if (
            shutil.which(name)
            and not subprocess.run([name, "info"], capture_output=True, check=False).returncode
        ):
            return name
    return None


def find_mnist() -> Path | None:
    """Return MNIST's file: where DIGITS_MNIST says, where Keras puts it, or beside the checkout."""
    return next((file for file in (mnist.find(None), SHARED_MNIST) if file.exists()), None)


@cache
def _reaches_registry() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, "pip==23.0.1"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _has(program: str) -> Callable[[], bool]:
    return lambda: shutil.which(program) is not None


NEEDS: Final = {
    "chromium": Need(lambda: CHROMIUM is not None, "apt-get install chromium"),
    "clients": Need(CLIENTS.exists, "make .venv-clients/ready"),
    "container": Need(lambda: find_engine() is not None, "install podman or docker"),
    "curl": Need(_has("curl"), "apt-get install curl"),
    "fonts": Need(fonts.are_present, "apt-get install npm, then python -m training fetch-fonts"),
    "java": Need(_has("java"), "apt-get install default-jdk-headless"),
    "kubectl": Need(_has("kubectl"), "install kubectl"),
    "mnist": Need(lambda: find_mnist() is not None, "python -m training fetch, or set DIGITS_MNIST"),
    "nginx": Need(lambda: NGINX is not None, "apt-get install nginx"),
    "node": Need(_has("node"), "apt-get install nodejs"),
    "postgresql": Need(lambda: INITDB is not None, "apt-get install postgresql"),
    "prometheus": Need(_has("promtool"), "apt-get install prometheus"),
    "ray": Need(RAY.exists, "make .venv-ray/ready"),
    "registry": Need(_reaches_registry, "connect this machine to PyPI or a mirror of it"),
    "rivals": Need(RIVALS.exists, "make .venv-rivals/ready"),
    "systemd": Need(_has("systemd-analyze"), "apt-get install systemd"),
}
# a test that asks for one of these fixtures needs what the fixture stands for
FIXTURES: Final = {
    "browser": "chromium",
    "engine": "container",
    "font_folder": "fonts",
    "mnist_file": "mnist",
}
