"""What the layers write into a request's ASGI scope, and what they read there."""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.types import Scope

ROUTE: Final = "digits.route"  # the path as the OpenAPI document has it
KEY_ID: Final = "digits.key_id"  # which key the request came with
OUTCOME: Final = "digits.outcome"  # the code of the problem that the request is answered with
WORK: Final = "digits.work"  # the `app.telemetry.stages.Stages` of its work
IPV6_SITE_BITS: Final = 64  # bits of an IPv6 address that a site is given; the others it chooses itself


def get_route(scope: Scope) -> str | None:
    """Return the route of a request, None where it has none."""
    route: str | None = scope.get(ROUTE)
    return route


def get_key_id(scope: Scope) -> str | None:
    """Return the id of the key that a request came with, None where it came with none."""
    key: str | None = scope.get(KEY_ID)
    return key


def get_outcome(scope: Scope) -> str | None:
    """Return the code of the problem that a request is answered with, None where there is none."""
    outcome: str | None = scope.get(OUTCOME)
    return outcome


def get_client(scope: Scope) -> str:
    """Return who asks: a key, an IPv4 address, or an IPv6 site."""
    if KEY_ID in scope:
        return f"key {scope[KEY_ID]}"
    address = scope["client"][0] if scope.get("client") else ""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, IPV6_SITE_BITS), strict=False))
    except ValueError:  # whatever a proxy has written there
        return address


def get_header(scope: Scope, name: bytes) -> bytes:
    """Return a request's header, empty where it has none; `name` is in small letters."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""
