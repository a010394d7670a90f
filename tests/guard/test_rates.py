"""How often a client may ask."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.guard.rates import WINDOW, Buckets
from app.settings import Settings
from app.wire.scope import get_client
from tests.serving import serve, start_process


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_full_bucket_gives_all_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    buckets = Buckets(3, clock=clock)
    assert [buckets.take("a") for _ in range(3)] == [(2, 0.0), (1, 0.0), (0, 0.0)]
    assert buckets.take("a")[1] == pytest.approx(20)
    clock.now += 19.9
    assert buckets.take("a")[1] == pytest.approx(0.1)
    clock.now += 0.1
    assert buckets.take("a") == (0, 0.0)
    clock.now += 2 * WINDOW
    assert buckets.take("a") == (2, 0.0)


def test_every_client_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(1, clock=Clock())
    assert buckets.take("a")[1] == 0
    assert buckets.take("b")[1] == 0
    assert buckets.take("a")[1] > 0


@given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=200))
def test_no_minute_has_twice_the_rate_and_no_wait_is_in_vain(size: int, pauses: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(size, clock=clock)
    given: list[float] = []
    for pause in pauses:
        clock.now += pause
        left, wait = buckets.take("a")
        if wait:
            clock.now += wait + 1e-6
            left, wait = buckets.take("a")
        assert wait == 0
        assert 0 <= left < size
        given.append(clock.now)
    for start in given:
        assert sum(start <= at < start + WINDOW for at in given) <= 2 * size


def test_memory_is_bounded() -> None:
    buckets = Buckets(1, max_clients=10, clock=Clock())
    for number in range(1000):
        buckets.take(f"client {number}")
    assert buckets.take("client 999")[1] > 0
    assert len(buckets) == 10


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    with serve(Settings(rate_limit=2)) as client:
        first, second, third = (client.get("/models") for _ in range(3))
        assert client.get("/health/ready").status_code == 200
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert first.headers["RateLimit-Policy"] == '"default";q=2;w=60'
    assert [answer.headers["RateLimit"][:13] for answer in (first, second, third)] == [
        '"default";r=1',
        '"default";r=0',
        '"default";r=0',
    ]
    problem = third.json()
    assert (problem["code"], problem["limit"]) == ("rate_limited", 2)
    assert 1 <= int(third.headers["Retry-After"]) <= 30
    assert "RateLimit" not in client.headers


def test_keys_are_counted_apart() -> None:
    with serve(Settings(rate_limit=1, api_keys=("first key", "second key"))) as client:
        assert client.get("/models", headers={"X-API-Key": "first key"}).status_code == 200
        assert client.get("/models", headers={"X-API-Key": "second key"}).status_code == 200
        assert client.get("/models", headers={"X-API-Key": "first key"}).status_code == 429


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("from:a:proxy", "from:another:proxy", False),
    ],
)
def test_an_ipv6_site_is_one_client(one: str, other: str, same: object) -> None:
    assert (get_client({"client": (one, 1)}) == get_client({"client": (other, 2)})) is same


def forwarded(client: httpx.Client, address: str) -> int:
    return client.get("/models", headers={"X-Forwarded-For": address}).status_code


def test_a_forwarded_address_is_not_believed() -> None:
    with serve(Settings(rate_limit=1)) as client:
        assert forwarded(client, "192.0.2.1") == 200
        assert forwarded(client, "192.0.2.2") == 429


def test_a_trusted_proxy_is_believed() -> None:
    with start_process(rate_limit="1", trusted_proxies="127.0.0.0/8") as running:
        assert forwarded(running.client, "192.0.2.1") == 200
        assert forwarded(running.client, "192.0.2.2") == 200
        assert forwarded(running.client, "192.0.2.2") == 429
        assert forwarded(running.client, "192.0.2.2, 127.0.0.5") == 429
        assert forwarded(running.client, "1.2.3.4, 192.0.2.2") == 429
