"""`python -m app` serves; `… keys new ID` makes a key, `… feedback` looks after what has been kept."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import uvicorn
from starlette.types import ASGIApp

from app.digits.catalogue import Catalogue
from app.digits.errors import InvalidModel
from app.environment import find_others
from app.guard import keys
from app.guard.keys import Keyring
from app.guard.protocol import guarded
from app.guard.sharing import ListeningSocket
from app.main import create_app
from app.settings import Settings, SettingsError, load_settings
from app.signals import note_reloads
from app.supervisor import Supervisor
from app.telemetry import logs
from app.telemetry.workers import shared_folder

KEEP_ALIVE = 75  # seconds: longer than load balancers' idle time (60), so that they close first
LOCAL = {"0.0.0.0", "::", "127.0.0.1", "::1"}  # noqa: S104  what a browser on this machine calls localhost
log = logging.getLogger("app")


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        "python -m app", description="Serve, with the settings of the environment."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    new = commands.add_parser("keys", help="make an API key").add_subparsers(required=True, metavar="COMMAND")
    made = new.add_parser("new", help="print a new key, once, and its line for DIGITS_API_KEYS_FILE")
    made.add_argument("id", help="what the logs call it")
    told = "list, export or delete the pictures that POST /feedback has kept"
    kept = commands.add_parser("feedback", help=told).add_subparsers(
        dest="what", required=True, metavar="COMMAND"
    )
    kept.add_parser("list", help="print a line for each")
    exported = kept.add_parser("export", help="write them into folders 0 to 9 and none, to train with")
    exported.add_argument("folder", type=Path, help="a new one, or an empty one")
    which = kept.add_parser("delete", help="delete some or all").add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[], metavar="ID", help="as `list` prints it")
    which.add_argument("--older-than", type=int, metavar="DAYS", help="those that have been kept for longer")
    which.add_argument("--all", action="store_true", help="all of them")
    asked = parser.parse_args()
    if asked.command == "feedback":
        return feedback(asked)
    return serve() if asked.command is None else new_key(asked.id)


def new_key(identity: str) -> int:
    """Print a key and its line; return 2 if the id is none."""
    try:
        key, line = keys.made(identity)
    except keys.BadKeys as error:
        print(error, file=sys.stderr)
        return 2
    print("The key, which nothing keeps but you:", key, "Add to DIGITS_API_KEYS_FILE:", line, sep="\n")
    return 0


def feedback(asked: argparse.Namespace) -> int:
    """Look after the pictures that have been kept; return 2 where no database is named, 1 where it fails."""
    try:
        url = load_settings().feedback_url
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if url is None:
        print("DIGITS_FEEDBACK_URL is not set: it names the database to look into", file=sys.stderr)
        return 2
    from app.feedback import command  # noqa: PLC0415  an extra

    return command.run(asked, url)


def serve() -> int:
    """Serve until SIGTERM or SIGINT, then exit with 0; return 2 where something stops the start."""
    # until uvicorn handles them; and once more in the end, when it raises the signal that has ended it
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _exit())
    note_reloads()
    try:
        settings = load_settings()
        keyring = _check(settings)
        _run(settings, keyring, _bound(settings))
    except SettingsError as error:
        print(f"digits can't start: {error}", file=sys.stderr)
        return 2
    return _exit()


def _exit() -> NoReturn:
    logging.shutdown()
    os._exit(0)  # a thread that still decodes, its request long answered, must not hold up the end


def _run(settings: Settings, keyring: Keyring, sockets: list[socket.socket]) -> None:
    """Serve until a signal ends it."""
    config = configured(settings, app=partial(create_app, settings, keyring))
    others = find_others(os.environ)
    if others:
        log.info("variables that are not the service's", extra={"variables": others})
    if settings.workers == 1:
        Server(config).run(sockets)
        return
    supervisor = Supervisor(settings, keyring, config, sockets, announce=partial(announce, config))
    with shared_folder():
        supervisor.run()


def _bound(settings: Settings) -> list[socket.socket]:
    """Bind all addresses that the host's name stands for: localhost has two.

    Raises:
        SettingsError: none can be bound; another service listens there, or the address is another machine's.
    """
    sockets: list[socket.socket] = []
    reason = ""
    asked = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, proto, _, address in asked:
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            bound.bind(address)
        except OSError as error:  # a container may know ::1 by name and have no IPv6
            reason = str(error.strerror)
            bound.close()
        else:
            sockets.append(ListeningSocket.of(bound, shared=settings.workers > 1))
    if not sockets:
        msg = f"DIGITS_HOST={settings.host} DIGITS_PORT={settings.port}: can't listen there ({reason})"
        raise SettingsError(msg)
    return sockets


def configured(settings: Settings, *, app: str | Callable[[], ASGIApp]) -> uvicorn.Config:
    """Return how uvicorn serves what the function `app`, or the one of that name, makes."""
    return uvicorn.Config(
        app,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=logs.config(settings),
        access_log=False,  # `app.telemetry.access` writes it, with the request's id
        server_header=False,
        http=guarded(settings),  # type: ignore[arg-type]  # what makes a protocol will do
        proxy_headers=False,  # `app.guard.proxies` reads them
        loop="asyncio",  # as fast here as uvloop, which accepts one connection a turn (docs/performance.md)
        lifespan="on",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.graceful_timeout,
    )


def announce(config: uvicorn.Config) -> None:
    """Log the address to open in a browser, now that it answers."""
    host = "localhost" if config.host in LOCAL else config.host
    log.info("digits is ready: http://%s:%d", f"[{host}]" if ":" in host else host, config.port)


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, then listen."""
        await super().startup(sockets)
        announce(self.config)


def _check(settings: Settings) -> Keyring:
    """Try what only the start can show, for one clear line instead of a traceback.

    The models are loaded here, too, so that with several workers a bad one stops the start instead of
    restarting workers for ever.

    Returns:
        The keys that let in.

    Raises:
        SettingsError: the address can't be resolved, or the keys or the models can't be read.
    """
    try:
        socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except OSError as error:
        msg = f"DIGITS_HOST={settings.host}: no address of this machine ({error.strerror})"
        raise SettingsError(msg) from None
    keyring = _read_keys(settings)
    try:
        Catalogue.load(settings.models_dir, default=settings.default_model)
    except InvalidModel as error:
        names = f"DIGITS_MODELS_DIR={settings.models_dir} DIGITS_DEFAULT_MODEL={settings.default_model}"
        msg = f"{names}: {error.detail}"
        raise SettingsError(msg) from None
    return keyring


def _read_keys(settings: Settings) -> Keyring:
    try:
        keyring = Keyring(settings.api_keys, settings.api_keys_file)
    except (keys.BadKeys, OSError) as error:
        names = ["DIGITS_API_KEYS=(not shown)"] if settings.api_keys else []
        names += [f"DIGITS_API_KEYS_FILE={settings.api_keys_file}"] if settings.api_keys_file else []
        why = error.strerror if isinstance(error, OSError) else error
        msg = f"{' '.join(names)}: {why}"
        raise SettingsError(msg) from None
    if os.environ.get("DIGITS_KEY") and not keyring.keys:
        msg = "DIGITS_KEY is the key that clients send, and this service asks for none; did you mean "
        msg += "DIGITS_API_KEYS? To let everybody in, unset DIGITS_KEY."
        raise SettingsError(msg)
    return keyring


if __name__ == "__main__":
    sys.exit(main())
