"""`python -m app`: serve, with the settings of the environment."""

from __future__ import annotations

import signal
import sys

import uvicorn

from app.digits.catalogue import Catalogue
from app.digits.errors import InvalidModel
from app.settings import SettingsError, load_settings
from app.telemetry import logs

KEEP_ALIVE = 75  # seconds: longer than load balancers' idle time (60), so that they close first


def main() -> int:
    """Serve until SIGTERM or SIGINT; return 0, or 2 where a setting or a model stops the start."""
    try:
        settings = load_settings()
        # Loaded here, too, for one clear line instead of a traceback, and so that with several
        # workers a bad model stops the start instead of restarting workers for ever.
        Catalogue.load(settings.models_dir, default=settings.default_model)
    except (SettingsError, InvalidModel) as error:
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
