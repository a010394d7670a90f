"""`python -m app`: serve, with the settings of the environment."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys

import uvicorn

from app.digits.catalogue import Catalogue
from app.digits.errors import InvalidModel
from app.settings import Settings, SettingsError, load_settings
from app.telemetry import logs

KEEP_ALIVE = 75  # seconds: longer than load balancers' idle time (60), so that they close first


def main() -> int:
    """Serve until SIGTERM or SIGINT, then exit with 0; return 2 where something stops the start."""
    try:
        settings = load_settings()
        _check(settings)
    except SettingsError as error:
        print(f"digits can't start: {error}", file=sys.stderr)
        return 2
    # uvicorn raises the signal that ended it once more, for whoever started it; here it is done with
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=logs.config(settings),
        access_log=False,  # `app.telemetry.access` writes it, with the request's id
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.graceful_timeout,
    )
    logging.shutdown()
    os._exit(0)  # a thread that still decodes, its request long answered, must not hold up the end


def _check(settings: Settings) -> None:
    """Try what only the start can show, for one clear line instead of a traceback.

    The models are loaded here, too, so that with several workers a bad one stops the start instead of
    restarting workers for ever.

    Raises:
        SettingsError: the address can't be resolved, or the models can't be served.
    """
    try:
        socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        Catalogue.load(settings.models_dir, default=settings.default_model)
    except OSError as error:
        msg = f"DIGITS_HOST={settings.host}: no address of this machine ({error.strerror})"
        raise SettingsError(msg) from None
    except InvalidModel as error:
        names = f"DIGITS_MODELS_DIR={settings.models_dir} DIGITS_DEFAULT_MODEL={settings.default_model}"
        msg = f"{names}: {error.detail}"
        raise SettingsError(msg) from None


if __name__ == "__main__":
    sys.exit(main())
