"""`python -m app`: check everything, then serve with one process or several."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from functools import partial
from typing import NoReturn

from ..digits.catalogue import Catalogue
from ..digits.errors import InvalidModel
from ..digits.process import set_up_process
from ..environment import find_foreign_variables
from ..guard.keys import InvalidKeys, Keyring
from ..main import create_app
from ..settings import Settings, SettingsError, load_settings
from .cores import count_cores
from .process import Server, configure, resume_collection
from .signals import record_reloads
from .sockets import bind, check_grpc_port
from .supervisor import Supervisor, WorkerProcess
from .workers import create_shared_folder

log = logging.getLogger("app")


def serve() -> int:
    """Serve until SIGTERM or SIGINT, then exit with 0; return 2 if the service can't start."""
    # before uvicorn handles these signals, and after it, as it raises the signal that ended it once more
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _exit_now())
    record_reloads()
    set_up_process()
    try:
        settings = load_settings()
        sockets = bind(settings)
        check_grpc_port(settings)
        keyring = _load_keys(settings)
        _run(settings, keyring, _load_models(settings), sockets)
    except SettingsError as error:
        print(f"digits can't start: {error}", file=sys.stderr)
        return 2
    return _exit_now()


def _exit_now() -> NoReturn:
    logging.shutdown()
    os._exit(0)  # without waiting for threads whose requests have timed out


def _run(settings: Settings, keyring: Keyring, catalogue: Catalogue, sockets: list[socket.socket]) -> None:
    app_factory = partial(create_app, settings, keyring, threads=count_cores())
    config = configure(settings, app=partial(app_factory, catalogue=catalogue))
    foreign_variables = find_foreign_variables(os.environ)
    if foreign_variables:
        log.info("ignored variables that are not settings", extra={"variables": foreign_variables})
    if settings.workers == 1:
        Server(config).run(sockets)
        return
    del catalogue, config  # each worker loads its own
    resume_collection()
    supervisor = Supervisor(settings, keyring, partial(WorkerProcess, settings, app_factory, sockets))
    with create_shared_folder():
        supervisor.run()


def _load_models(settings: Settings) -> Catalogue:
    """Load the models here, so that a bad one ends the service with one line and not in every worker.

    Raises:
        SettingsError: a model can't be served.
    """
    try:
        return Catalogue.load(settings.models_dir, default=settings.default_model)
    except InvalidModel as error:
        names = f"DIGITS_MODELS_DIR={settings.models_dir} DIGITS_DEFAULT_MODEL={settings.default_model}"
        msg = f"{names}: {error.detail}"
        raise SettingsError(msg) from None


def _load_keys(settings: Settings) -> Keyring:
    """Return the keys that clients may use.

    Raises:
        SettingsError: the keys can't be read, or the client's variable is set instead of the service's.
    """
    try:
        keyring = Keyring(settings.api_keys, settings.api_keys_file)
    except (InvalidKeys, OSError) as error:
        names = ["DIGITS_API_KEYS=(not shown)"] if settings.api_keys else []
        names += [f"DIGITS_API_KEYS_FILE={settings.api_keys_file}"] if settings.api_keys_file else []
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"{' '.join(names)}: {reason}"
        raise SettingsError(msg) from None
    if os.environ.get("DIGITS_KEY") and not keyring.keys:
        msg = "DIGITS_KEY is the key that clients send, but this service requires none; did you mean "
        msg += "DIGITS_API_KEYS? To run without keys, unset DIGITS_KEY."
        raise SettingsError(msg)
    return keyring
