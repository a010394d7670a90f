"""The client's address and scheme behind trusted proxies: X-Forwarded-For and X-Forwarded-Proto."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

MAX_HOPS: Final = 32  # entries that are read, from the right; real chains of proxies have two or three
MAX_PORT: Final = 65535
SCHEMES: Final = frozenset({"http", "https"})
_IPV4_IN_IPV6: Final = 96  # prefix length of ::ffff:0:0/96, which maps IPv4 addresses
_WITH_PORT: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class ProxyGuard:
    """Set the client and the scheme of the scope to those that trusted proxies report.

    uvicorn's `ProxyHeadersMiddleware` accepts any text as an address, so each piece of garbage would count
    as a new client, and it reads any number of entries.
    """

    def __init__(self, app: ASGIApp, trusted: Iterable[str]) -> None:
        self._app = app
        self._trusted = [_simplify_network(ip_network(network)) for network in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        peer = _parse_address(scope["client"][0]) if scope.get("client") else None
        if peer is not None and self._is_trusted(peer):
            scope["client"] = self._find_client(_read_list(scope, b"x-forwarded-for"), scope["client"])
            scheme = next(_read_list(scope, b"x-forwarded-proto"), None)
            if scheme in SCHEMES:
                scope["scheme"] = scheme
        await self._app(scope, receive, send)

    def _find_client(self, hops: Iterable[str], client: tuple[str, int]) -> tuple[str, int]:
        """Return the last hop that is not a trusted proxy.

        Every proxy appends the address that it was reached from, so the entries left of an untrusted address
        may be forged. An entry that is not an address ends the search at the proxy before it.
        """
        for hop in hops:
            parsed = _parse_hop(hop)
            if parsed is None:
                return client
            address, port = parsed
            client = (str(address), port)
            if not self._is_trusted(address):
                return client
        return client

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _read_list(scope: Scope, name: bytes) -> Iterator[str]:
    """Return the elements of a header from right to left. Its lines form one list (RFC 9110, section 5.3)."""
    joined = b",".join(value for key, value in scope["headers"] if key == name)
    last = joined.decode("latin-1").lower().rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    return (element.strip() for element in reversed(last) if element.strip())


def _parse_hop(hop: str) -> tuple[Address, int] | None:
    """Parse an address with or without a port, such as 192.0.2.1:443 or [2001:db8::1]:443."""
    match = _WITH_PORT.fullmatch(hop)
    address = _parse_address((match["v4"] or match["v6"]) if match else hop)
    if address is None:
        return None
    port = int(match["port"] or 0) if match else 0
    return address, port if port <= MAX_PORT else 0


def _parse_address(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])  # without the zone, as in fe80::1%eth0
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _simplify_network(network: Network) -> Network:
    """Convert a network of IPv4-mapped IPv6 addresses to an IPv4 network."""
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped and network.prefixlen >= _IPV4_IN_IPV6:
        return ip_network((first.ipv4_mapped, network.prefixlen - _IPV4_IN_IPV6))
    return network
