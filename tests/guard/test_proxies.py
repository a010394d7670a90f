"""The address and the scheme of the client behind trusted proxies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from app.guard.proxies import MAX_HOPS, ProxyGuard
from app.settings import Settings
from tests.conftest import GOLDEN
from tests.serving import serve, start_process

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
PEER = ("10.0.0.9", 4321)
TRUSTED = ("10.0.0.0/8", "2001:db8:ffff::/48", "::ffff:172.16.0.0/108", "fe80::1")


def apply_headers(*lines: tuple[str, str], client: Any = PEER, trusted: tuple[str, ...] = TRUSTED) -> Scope:  # noqa: ANN401
    """Return the scope that the application receives for a request with these headers."""
    scopes: list[Scope] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        scopes.append(scope)

    async def nothing(*_: object) -> Any:  # noqa: ANN401
        return None

    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines]
    scope: Scope = {"type": "http", "client": client, "scheme": "http", "headers": headers}
    asyncio.run(ProxyGuard(app, trusted)(scope, nothing, nothing))
    return scopes[0]


def client_of(*values: str, client: Any = PEER) -> Any:  # noqa: ANN401
    return apply_headers(*(("X-Forwarded-For", value) for value in values), client=client)["client"]


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["192.0.2.1"], ("192.0.2.1", 0)),
        (["1.2.3.4, 192.0.2.1"], ("192.0.2.1", 0)),
        (["1.2.3.4", "192.0.2.1"], ("192.0.2.1", 0)),  # two lines are one list
        (["192.0.2.1", "10.0.0.1"], ("192.0.2.1", 0)),
        (["1.2.3.4,192.0.2.1 ,10.0.0.1", "10.0.0.2,2001:db8:ffff::7"], ("192.0.2.1", 0)),
        (["10.0.0.1, 10.0.0.2"], ("10.0.0.1", 0)),  # the client is one of the proxies
        (["192.0.2.1,,", "", " , "], ("192.0.2.1", 0)),
        (["192.0.2.1:8080"], ("192.0.2.1", 8080)),
        (["[2001:db8::1]:8080"], ("2001:db8::1", 8080)),
        (["[2001:db8::1]"], ("2001:db8::1", 0)),
        (["2001:DB8:0::1"], ("2001:db8::1", 0)),  # one client, however it is written
        (["::ffff:192.0.2.1"], ("192.0.2.1", 0)),
        (["192.0.2.1, ::ffff:10.0.0.1"], ("192.0.2.1", 0)),
        (["192.0.2.1, 172.16.0.1"], ("192.0.2.1", 0)),
        (["192.0.2.1, fe80::1%eth0"], ("192.0.2.1", 0)),
        (["192.0.2.1:99999"], ("192.0.2.1", 0)),
        (["192.0.2.1:0x50"], PEER),
        (["192.0.2.1:8080:9"], PEER),
        (["192.0.2.1, nonsense"], PEER),
        (["192.0.2.1, unknown, 10.0.0.1"], ("10.0.0.1", 0)),
        (["192.0.2.1 198.51.100.1"], PEER),
        (["192.0.2.\xb2"], PEER),
        (["[192.0.2.1"], PEER),
        (["[]:80"], PEER),
        (["_hidden"], PEER),
        (["256.1.1.1"], PEER),
        (["192.0.2.01"], PEER),
        ([""], PEER),
        ([], PEER),
    ],
)
def test_the_client_is_the_last_address_that_is_not_a_trusted_proxy(
    values: list[str], client: tuple[str, int]
) -> None:
    assert client_of(*values) == client


@pytest.mark.parametrize("peer", [("192.0.2.9", 1), ("::1", 1), ("not an address", 1), None])
def test_untrusted_peers_are_not_believed(peer: tuple[str, int] | None) -> None:
    assert client_of("198.51.100.1", client=peer) == peer


def test_a_trusted_proxy_with_an_ipv4_mapped_address_is_believed() -> None:
    assert client_of("198.51.100.1", client=("::ffff:10.0.0.9", 1)) == ("198.51.100.1", 0)


def test_a_long_list_is_read_from_its_end_and_only_up_to_the_limit() -> None:
    assert client_of(",".join(["198.51.100.1"] * 5_000 + ["192.0.2.1"])) == ("192.0.2.1", 0)
    assert client_of(*["198.51.100.1"] * 500, "192.0.2.1") == ("192.0.2.1", 0)
    assert client_of("198.51.100.1", ",".join(["10.0.0.1"] * MAX_HOPS)) == ("10.0.0.1", 0)


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=5))
def test_garbage_does_not_count_as_new_clients(garbage: list[str]) -> None:
    assert client_of(*garbage, "192.0.2.1") == ("192.0.2.1", 0)
    assert client_of(*garbage, "no address") == PEER


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        (["https"], "https"),
        (["HTTPS "], "https"),
        (["http", "https"], "https"),
        (["https, http"], "http"),
        (["ftp"], "http"),
        (["https\x7f"], "http"),
        (["https;x"], "http"),
        ([""], "http"),
    ],
)
def test_the_scheme_is_the_one_that_the_last_proxy_reports(values: list[str], scheme: str) -> None:
    assert apply_headers(*(("X-Forwarded-Proto", value) for value in values))["scheme"] == scheme


def test_a_second_header_does_not_evade_the_rate_limit() -> None:
    with serve(Settings(rate_limit=3, trusted_proxies=("127.0.0.0/8",))) as client:

        def status(*lines: str) -> int:
            return client.get("/models", headers=[("X-Forwarded-For", line) for line in lines]).status_code

        requests = [("1.1.1.1", "192.0.2.1"), ("2.2.2.2", "192.0.2.1, 127.0.0.2"), ("x", "192.0.2.1:1")]
        assert [status(*lines) for lines in requests] == [200, 200, 200]
        assert status("4.4.4.4", "192.0.2.1") == 429
        assert status("192.0.2.1", "192.0.2.2") == 200


def test_the_log_names_the_client_behind_the_proxy() -> None:
    with start_process(trusted_proxies="127.0.0.1, ::1") as running:
        headers = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "[2001:db8::5]:99")]
        running.client.post("/predict", content=THREE, headers=[("Content-Type", "image/png"), *headers])
        running.popen.terminate()
        _, log = running.end()
    assert '"client":"2001:db8::5"' in log
    assert "1.2.3.4" not in log
