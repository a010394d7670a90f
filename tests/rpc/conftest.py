"""A service that also serves gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rpc.calling import Caller, serve_grpc


@pytest.fixture(scope="package")
def caller() -> Iterator[Caller]:
    """A client of a service with default settings."""
    with serve_grpc() as caller:
        yield caller
