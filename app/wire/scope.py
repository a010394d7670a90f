"""The keys that our middleware adds to the ASGI scope, and functions that read the scope."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

ROUTE: Final = "digits.route"  # the path template in the OpenAPI document
KEY_ID: Final = "digits.key_id"  # the id of the API key
OUTCOME: Final = "digits.outcome"  # the code of the problem document, if the answer is one
WORK: Final = "digits.work"  # the `app.telemetry.stages.Stages` of the request
ROOT_PATH: Final = "digits.root_path"  # the prefix under which a proxy mounts the service
HEADER_INDEX: Final = "digits.headers"  # by name, the first of each
ARRIVAL: Final = "digits.arrival"  # the `Arrival` of the body, if the server tells
IPV6_SITE_BITS: Final = 64  # a site is assigned a /64 and chooses the other bits itself


class Arrival:
    """Whether the whole body of a request has arrived, so that receiving it can't take long."""

    __slots__ = ("is_complete",)

    def __init__(self) -> None:
        self.is_complete = False


NEVER: Final = Arrival()  # for servers that don't tell


def get_route(scope: Scope) -> str | None:
    """Return the path template of a request, or None if no route matches."""
    route: str | None = scope.get(ROUTE)
    return route


def get_key_id(scope: Scope) -> str | None:
    """Return the id of the API key that a request was sent with, if any."""
    key: str | None = scope.get(KEY_ID)
    return key


def get_outcome(scope: Scope) -> str | None:
    """Return the code of the problem document that answers a request, if one does."""
    outcome: str | None = scope.get(OUTCOME)
    return outcome


def get_root_path(scope: Scope) -> str:
    """Return the prefix under which a proxy mounts the service, or an empty text."""
    root_path: str = scope.get(ROOT_PATH, "")
    return root_path


def get_arrival(scope: Scope) -> Arrival:
    """Return whether the body of a request has arrived; it may change at any time."""
    arrival: Arrival = scope.get(ARRIVAL, NEVER)
    return arrival


def get_client(scope: Scope) -> str:
    """Return the name that a client is counted under: a key, an IPv4 address, or an IPv6 network."""
    if KEY_ID in scope:
        return f"key {scope[KEY_ID]}"
    address = scope["client"][0] if scope.get("client") else ""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, IPV6_SITE_BITS), strict=False))
    except ValueError:  # a proxy may write anything
        return address


def get_header(scope: Scope, name: bytes) -> bytes:
    """Return the first header of a name, or b"" if it is missing. `name` is in lower case."""
    return get_headers(scope).get(name, b"")


def get_headers(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers of a request by their names in lower case, the first of each name."""
    headers: Mapping[bytes, bytes] | None = scope.get(HEADER_INDEX)
    if headers is None:
        headers = scope[HEADER_INDEX] = dict(reversed(scope["headers"]))
    return headers
