"""Keys that the layers set in a request's ASGI scope, and typed access to them."""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.types import Scope

ROUTE: Final = "digits.route"  # the path as the OpenAPI document has it
KEY_ID: Final = "digits.key_id"  # which key the request came with
OUTCOME: Final = "digits.outcome"  # the code of the problem that the request is answered with
WORK: Final = "digits.work"  # the `app.telemetry.stages.Stages` of its work
IPV6_SITE_BITS: Final = 64  # bits of an IPv6 address that identify a site, which chooses the others itself


def get_route(scope: Scope) -> str | None:
    """Return the route of a request, or None."""
    route: str | None = scope.get(ROUTE)
    return route


def get_key_id(scope: Scope) -> str | None:
    """Return the id of the key that a request came with, or None."""
    key: str | None = scope.get(KEY_ID)
    return key


def get_outcome(scope: Scope) -> str | None:
    """Return the code of the problem that a request is answered with, or None."""
    outcome: str | None = scope.get(OUTCOME)
    return outcome


def get_client(scope: Scope) -> str:
    """Return what identifies the client: a key, an IPv4 address, or an IPv6 site."""
    if KEY_ID in scope:
        return f"key {scope[KEY_ID]}"
    address = scope["client"][0] if scope.get("client") else ""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, IPV6_SITE_BITS), strict=False))
    except ValueError:  # not an address
        return address


def get_header(scope: Scope, name: bytes) -> bytes:
    """Return a request's header, or empty bytes; `name` is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""
