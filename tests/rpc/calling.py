"""Calls methods over gRPC as a client does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx

from app.rpc.messages import CLASSES
from app.settings import Settings
from app.wire.paths import HEALTH_SERVICE, RPC_SERVICE
from tests.serving import PATIENCE, free_port, serve


@dataclass
class Answer:
    """What a call returned: a message or a status."""

    code: grpc.StatusCode
    detail: str
    metadata: dict[str, str]
    message: Any = None


@dataclass
class Caller:
    """A client of a service."""

    port: int
    http: httpx.Client
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = [("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options)

    def begin(self, method: str, message: bytes, **options: Any) -> Any:  # noqa: ANN401  grpcio has no types
        """Begin a call, which goes on in the background."""
        service = HEALTH_SERVICE if method == "Check" else RPC_SERVICE
        answer = CLASSES["HealthCheckResponse" if method == "Check" else f"{method}Response"]
        function = self.channel.unary_unary(f"/{service}/{method}", response_deserializer=answer.FromString)
        metadata = tuple({**self.metadata, **options.pop("metadata", {})}.items())
        return function.future(message, metadata=metadata, **{"timeout": PATIENCE, **options})

    def call(self, method: str, message: bytes = b"", **options: object) -> Answer:
        """Call a method; its message is serialised."""
        call = self.begin(method, message, **options)
        error = call.exception()
        metadata = dict(call.trailing_metadata())
        return Answer(call.code(), call.details(), metadata, None if error else call.result())

    def infer(self, *tensors: dict[str, Any], options: Any = None, **members: Any) -> Answer:  # noqa: ANN401
        """Call ModelInfer."""
        return self.call("ModelInfer", build_request(*tensors, **members), **(options or {}))


def build(name: str, /, **members: object) -> bytes:
    """Return a serialised message."""
    message: bytes = CLASSES[name](**members).SerializeToString()
    return message


def build_request(*tensors: dict[str, Any], model_name: str = "cnn", **members: object) -> bytes:
    return build("ModelInferRequest", model_name=model_name, inputs=tensors, **members)


def picture_tensor(*pictures: bytes) -> dict[str, Any]:
    contents = {"bytes_contents": pictures}
    return {"name": "picture", "datatype": "BYTES", "shape": [len(pictures)], "contents": contents}


def image_tensor(count: int = 1, **contents: object) -> dict[str, Any]:
    """Return an input of canonical pictures, which are in `contents` or in the request's raw contents."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": [count, 28, 28]}
    return {**tensor, "contents": contents} if contents else tensor


@contextmanager
def serve_grpc(**settings: Any) -> Iterator[Caller]:  # noqa: ANN401
    """Serve HTTP and gRPC until the block ends."""
    port = free_port()
    with serve(Settings(grpc_port=port, **settings)) as http:
        caller = Caller(port, http)
        yield caller
        caller.channel.close()
