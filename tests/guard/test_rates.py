"""Rate limits: the token buckets, and the answers over a real socket."""

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
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_full_bucket_allows_a_burst_and_then_one_token_per_interval() -> None:
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


def test_every_client_has_its_own_bucket() -> None:
    buckets = Buckets(1, clock=Clock())
    assert buckets.take("a")[1] == 0
    assert buckets.take("b")[1] == 0
    assert buckets.take("a")[1] > 0


@given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=200))
def test_no_minute_exceeds_twice_the_rate_and_a_token_is_there_after_the_wait(
    size: int, pauses: list[float]
) -> None:
    clock = Clock()
    buckets = Buckets(size, clock=clock)
    taken_at: list[float] = []
    for pause in pauses:
        clock.now += pause
        remaining, wait = buckets.take("a")
        if wait:
            clock.now += wait + 1e-6
            remaining, wait = buckets.take("a")
        assert wait == 0
        assert 0 <= remaining < size
        taken_at.append(clock.now)
    for start in taken_at:
        assert sum(start <= at < start + WINDOW for at in taken_at) <= 2 * size


def test_the_number_of_buckets_is_limited() -> None:
    buckets = Buckets(1, max_clients=10, clock=Clock())
    for number in range(1000):
        buckets.take(f"client {number}")
    assert buckets.take("client 999")[1] > 0
    assert len(buckets) == 10


def test_429_says_when_to_try_again() -> None:
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


def test_every_key_has_its_own_limit() -> None:
    with serve(Settings(rate_limit=1, api_keys=("first key", "second key"))) as client:
        assert client.get("/models", headers={"X-API-Key": "first key"}).status_code == 200
        assert client.get("/models", headers={"X-API-Key": "second key"}).status_code == 200
        assert client.get("/models", headers={"X-API-Key": "first key"}).status_code == 429


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("from:a:proxy", "from:another:proxy", False),
    ],
)
def test_the_addresses_of_an_ipv6_site_are_one_client(first: str, second: str, same: object) -> None:
    assert (get_client({"client": (first, 1)}) == get_client({"client": (second, 2)})) is same


def get_status(client: httpx.Client, address: str) -> int:
    return client.get("/models", headers={"X-Forwarded-For": address}).status_code


def test_x_forwarded_for_is_ignored_by_default() -> None:
    with serve(Settings(rate_limit=1)) as client:
        assert get_status(client, "192.0.2.1") == 200
        assert get_status(client, "192.0.2.2") == 429


def test_x_forwarded_for_of_a_trusted_proxy_is_used() -> None:
    with start_process(rate_limit="1", trusted_proxies="127.0.0.0/8") as running:
        assert get_status(running.client, "192.0.2.1") == 200
        assert get_status(running.client, "192.0.2.2") == 200
        assert get_status(running.client, "192.0.2.2") == 429
        assert get_status(running.client, "192.0.2.2, 127.0.0.5") == 429
        assert get_status(running.client, "1.2.3.4, 192.0.2.2") == 429
