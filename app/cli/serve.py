"""`digits serve`: start the service."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from typing import Any, Final

from ..environment import ENV_PREFIX

HELP: Final = "start the service"
DESCRIPTION: Final = (
    "Start the service. All settings can be made in the environment; docs/deploy.md lists them."
)
OPTIONS: Final = {
    "host": "address to listen on (default: $DIGITS_HOST or 127.0.0.1)",
    "port": "port to listen on (default: $DIGITS_PORT or 8000)",
    "workers": "number of processes (default: $DIGITS_WORKERS or 1)",
}


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `serve`."""
    parser = commands.add_parser("serve", help=HELP, description=DESCRIPTION)
    for name, text in OPTIONS.items():
        parser.add_argument(f"--{name}", help=text)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it; return 2 if the service can't start."""
    for name in OPTIONS:
        if getattr(arguments, name) is not None:
            os.environ[f"{ENV_PREFIX}{name.upper()}"] = getattr(arguments, name)
    if sys.stderr.isatty():
        os.environ.setdefault(f"{ENV_PREFIX}LOG_FORMAT", "text")  # for people
    # NumPy and OpenCV would each start a thread for each core, which has no work and waits busily
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # until it serves: nearly everything that is created until then is needed
    from ..server.start import serve  # noqa: PLC0415  slow, and not needed by the other commands

    return serve()
