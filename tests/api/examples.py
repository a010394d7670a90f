"""The examples of the OpenAPI document, as a running service gives them.

    make examples       asks for all of them, and writes app/api/examples.json

The file has the request and the good answers of each operation, and one answer for each code.
A new route needs a body in `REQUESTS`, if it takes JSON; a new code a function in `REFUSALS`.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from app.api import openapi
from app.main import create_app
from app.settings import MEBIBYTE, Settings
from tests.conftest import GOLDEN, HOSTILE, MODELS, ROOT
from tests.serving import PATIENCE, serve, start_process, wait_until
from tests.slow import slow_down_pillow

NUMBERS: Final = ROOT / "tests" / "data" / "numbers"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
KEY: Final = "a-key"
PROTOCOLS: Final = ("/v1/models/", "/v2/models/")
REPOSITORY: Final = "/v2/repository/"
FEEDBACK: Final = "/feedback"
ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"  # of all requests, so that asking again changes little


def text(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def tensor(*pictures: str) -> dict[str, Any]:
    """Return pictures as in the Open Inference Protocol."""
    given = {"name": "picture", "shape": [len(pictures)], "datatype": "BYTES", "data": list(pictures)}
    return {"id": "1", "inputs": [given]}


def instances(*pictures: str) -> dict[str, Any]:
    """Return pictures as in TensorFlow Serving."""
    return {"instances": [{"b64": picture} for picture in pictures]}


def wrap(path: str, *pictures: str) -> dict[str, Any]:
    """Return pictures as the protocol that a path belongs to takes them."""
    return tensor(*pictures) if path.startswith("/v2") else instances(*pictures)


# operation → the JSON that is sent for its example
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "predict": {"image": text(GOLDEN / "9-one-bit.png")},
    "predict_batch": {"images": [text(GOLDEN / "9-one-bit.png"), text(HOSTILE / "white.png")]},
    "predict_number": {"image": text(NUMBERS / "2907.png")},
    "explain": {"image": text(GOLDEN / "9-one-bit.png")},
    "give_feedback": {"image": text(GOLDEN / "9-one-bit.png"), "digit": 9},
    "infer": tensor(text(GOLDEN / "9-one-bit.png")),
    "infer_version": tensor(text(GOLDEN / "9-one-bit.png")),
    "tensor_predict": instances(text(GOLDEN / "9-one-bit.png")),
    "tensor_predict_version": instances(text(GOLDEN / "9-one-bit.png")),
    "index": {"ready": True},
    "load": {},
    "unload": {},
}


@dataclass(frozen=True)
class RequestExample:
    """A request."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def service(self) -> str:
        """The service that answers it well."""
        return "locked" if self.path.startswith(REPOSITORY) or self.method == "DELETE" else "default"

    def with_key(self) -> RequestExample:
        return replace(self, headers={**self.headers, "X-API-Key": KEY})

    def with_body(self, media_type: str, body: bytes | None) -> RequestExample:
        return replace(self, body=body, headers={"Content-Type": media_type})

    def with_picture(self, file: Path) -> RequestExample:
        """Send another picture."""
        if self.path == FEEDBACK:
            return self.with_body(JSON, json.dumps({"image": text(file), "digit": 9}).encode())
        if "batch" in self.path:
            return self.with_body(JSON, json.dumps({"images": [text(file)]}).encode())
        if self.path.startswith(PROTOCOLS):
            return self.with_body(JSON, json.dumps(wrap(self.path, text(file))).encode())
        return self.with_body(BYTES, file.read_bytes())


@dataclass(frozen=True)
class AnswerExample:
    """What came back."""

    status: int
    headers: httpx.Headers
    body: Any


@dataclass(frozen=True)
class Operation:
    """One of the document's."""

    id: str
    example: RequestExample  # built from the document's example
    answers: dict[str, dict[str, Any]]  # status → the response that the document describes


def list_operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, described in item.items():
            name = described["operationId"]
            filled = path
            for parameter in described.get("parameters", []):
                if parameter["in"] == "path" and f"{{{parameter['name']}}}" in filled:
                    assert "examples" in parameter["schema"], f"{path}: a part of it has no example"
                    filled = filled.replace(f"{{{parameter['name']}}}", parameter["schema"]["examples"][0])
            example = RequestExample(method.upper(), filled)
            if JSON in described.get("requestBody", {"content": {}})["content"]:
                assert name in REQUESTS, f"{name} has no request in tests/api/examples.py"
                example = example.with_body(JSON, json.dumps(REQUESTS[name]).encode())
            yield Operation(name, example, described["responses"])


class Services:
    """Running services, each started when it is first asked for."""

    def __init__(self, kept: ExitStack) -> None:
        self._kept = kept
        self._running: dict[str, httpx.Client] = {}

    def __call__(self, name: str = "default") -> httpx.Client:
        if name not in self._running:
            self._running[name] = self._kept.enter_context(SERVICES[name]())
        return self._running[name]


@contextmanager
def serve_with_feedback(**settings: Any) -> Iterator[httpx.Client]:  # noqa: ANN401  whatever a setting is
    """Serve with a database for feedback."""
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/feedback.db"
        with serve(Settings(**{"feedback_url": url, **settings})) as client:
            yield client


def serve_limited(**settings: Any) -> Callable[[], Any]:  # noqa: ANN401
    return lambda: serve_with_feedback(**settings)


@contextmanager
def serve_draining() -> Iterator[httpx.Client]:
    with start_process(drain_delay="60") as running:
        running.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: running.ready() == 503)
        yield running.client


@contextmanager
def serve_busy() -> Iterator[httpx.Client]:
    """Serve with two places, both taken by pictures that are being read."""
    with (
        serve_with_feedback(max_in_flight=2, max_batch=2) as client,
        slow_down_pillow() as decoder,
        decoder.occupy(client, 2),
    ):
        yield client


@contextmanager
def break_service() -> Iterator[httpx.Client]:
    """Serve with a defect."""
    app = create_app(Settings())

    @app.get("/broken")
    @app.get("/v2/broken", operation_id="broken_v2")
    async def broken() -> None:
        raise RuntimeError

    with serve(Settings(), app) as client:
        yield client


@contextmanager
def serve_bad_file() -> Iterator[httpx.Client]:
    """Serve from a folder in which a model is spoilt once it has been loaded."""
    with TemporaryDirectory() as folder:
        models = shutil.copytree(MODELS, Path(folder) / "models")
        with serve(Settings(models_dir=models, api_keys=(KEY,))) as client:
            (models / "mlp-128" / "model.onnx").write_bytes(b"")
            yield client


SERVICES: Final[dict[str, Callable[[], Any]]] = {
    "default": serve_limited(),
    "locked": serve_limited(api_keys=(KEY,)),
    "with_a_bad_file": serve_bad_file,
    "limited": serve_limited(rate_limit=60),
    "impatient": serve_limited(read_timeout=1),
    "hasty": serve_limited(request_timeout=0.001),
    "draining": serve_draining,
    "broken": break_service,
    "full": serve_limited(feedback_max_bytes=MEBIBYTE),
    "without_its_database": serve_limited(feedback_url="postgresql://127.0.0.1:1/digits", api_keys=(KEY,)),
    "keeping_nothing": serve_limited(feedback_url=None, explain=False),
}


def send_request(client: httpx.Client, example: RequestExample) -> AnswerExample:
    """Ask over a new connection; a length may be declared of which nothing is sent."""
    connection = http.client.HTTPConnection(
        client.base_url.host, client.base_url.port or 80, timeout=PATIENCE
    )
    try:
        connection.request(
            example.method, example.path, example.body, {"X-Request-ID": ID, **example.headers}
        )
        answer = connection.getresponse()
        headers, body = httpx.Headers(answer.getheaders()), answer.read()
        return AnswerExample(
            answer.status, headers, json.loads(body) if "json" in headers["Content-Type"] else body
        )
    finally:
        connection.close()


def read_document(example: RequestExample, length: int) -> RequestExample:
    """Ask with a body of which nothing comes."""
    headers = {"Content-Type": JSON, "Content-Length": str(length)}
    return replace(example, body=None, headers=headers)


def provoke_with_picture(name: str) -> Callable[[Services, RequestExample], AnswerExample]:
    return lambda services, example: send_request(services(), example.with_picture(HOSTILE / name))


def provoke_unknown_model(services: Services, example: RequestExample) -> AnswerExample:
    other = example.path.replace("/cnn", "/none").replace("/mlp-128", "/none")
    path = other if other != example.path else f"{example.path}?model=none"
    return send_request(services(example.service), replace(example, path=path).with_key())


def provoke_unsuitable_model(services: Services, example: RequestExample) -> AnswerExample:
    other = example.path.replace("/cnn", "/finder")
    path = other if other != example.path else f"{example.path}?model=finder"
    return send_request(services(), replace(example, path=path))


def provoke_rate_limited(services: Services, example: RequestExample) -> AnswerExample:
    answers = (send_request(services("limited"), example) for _ in range(1000))
    return next(answer for answer in answers if answer.status == 429)


def provoke_timeout(services: Services, example: RequestExample) -> AnswerExample:
    return send_request(services("hasty"), example.with_picture(GOLDEN / "6-photo-small-in-large.jpg"))


def provoke_batch_too_large(services: Services, example: RequestExample) -> AnswerExample:
    many = ["AAAA"] * 65
    body = wrap(example.path, *many) if example.path.startswith(PROTOCOLS) else {"images": many}
    return send_request(services(), example.with_body(JSON, json.dumps(body).encode()))


def provoke_feedback_full(services: Services, example: RequestExample) -> AnswerExample:
    """Add to a picture bytes that no decoder looks at."""
    large = (GOLDEN / "9-grey.bmp").read_bytes() + bytes(MEBIBYTE)
    return send_request(
        services("full"), replace(example.with_body(BYTES, large), path=f"{example.path}?digit=9")
    )


def provoke_empty_batch(services: Services, example: RequestExample) -> AnswerExample:
    body = wrap(example.path) if example.path.startswith(PROTOCOLS) else {"images": []}
    return send_request(services(), example.with_body(JSON, json.dumps(body).encode()))


def provoke_malformed_request(services: Services, example: RequestExample) -> AnswerExample:
    body = b"[]" if example.path.startswith(REPOSITORY) else b"{}"
    return send_request(services(example.service), example.with_body(JSON, body).with_key())


def provoke_unsupported_media_type(services: Services, example: RequestExample) -> AnswerExample:
    if example.path.startswith(PROTOCOLS):
        return send_request(services(), example.with_picture(ROOT / "Makefile"))
    return send_request(services(), example.with_body("text/plain", b"7"))


def provoke_internal_error(services: Services, example: RequestExample) -> AnswerExample:
    path = "/v2/broken" if example.path.startswith(("/v1", "/v2")) else "/broken"
    return send_request(services("broken"), RequestExample("GET", path))


def provoke_invalid_model(services: Services, example: RequestExample) -> AnswerExample:
    return send_request(services("with_a_bad_file"), example.with_key())


def provoke_length_required(services: Services, example: RequestExample) -> AnswerExample:
    request = services().build_request(example.method, example.path, headers={"X-Request-ID": ID})
    del request.headers["Content-Length"]
    answer = services().send(request)
    return AnswerExample(answer.status_code, answer.headers, answer.json())


def provoke_overloaded(_: Services, example: RequestExample) -> AnswerExample:
    with serve_busy() as client:  # by itself: no service of this process can decode meanwhile
        return send_request(client, example)


def provoke_model_in_use(services: Services, example: RequestExample) -> AnswerExample:
    return send_request(
        services("locked"), replace(example, path=example.path.replace("mlp-128", "cnn")).with_key()
    )


# code → how it is brought about
REFUSALS: Final[dict[str, Callable[[Services, RequestExample], AnswerExample]]] = {
    "malformed_request": provoke_malformed_request,
    "unauthorized": lambda services, example: send_request(services("locked"), example),
    "forbidden": lambda services, example: send_request(services("keeping_nothing"), example),
    "unknown_model": provoke_unknown_model,
    "unsuitable_model": provoke_unsuitable_model,
    "invalid_model": provoke_invalid_model,
    "model_in_use": provoke_model_in_use,
    "slow_upload": lambda services, example: send_request(services("impatient"), read_document(example, 1)),
    "length_required": provoke_length_required,
    "body_too_large": lambda services, example: send_request(services(), read_document(example, 10**9)),
    "unsupported_media_type": provoke_unsupported_media_type,
    "unreadable_image": provoke_with_picture("truncated-half.png"),
    "image_too_large": provoke_with_picture("bomb.png"),
    "image_too_small": provoke_with_picture("three-pixels-high.png"),
    "no_ink": provoke_with_picture("white.png"),
    "empty_batch": provoke_empty_batch,
    "batch_too_large": provoke_batch_too_large,
    "rate_limited": provoke_rate_limited,
    "head_too_large": lambda services, example: send_request(
        services(), replace(example, headers={"X": 70_000 * "x"})
    ),
    "internal_error": provoke_internal_error,
    "overloaded": provoke_overloaded,
    "not_ready": lambda services, example: send_request(services("draining"), example),
    "timeout": provoke_timeout,
    "unknown_feedback": lambda services, example: send_request(services("locked"), example.with_key()),
    "feedback_full": provoke_feedback_full,
    "feedback_unavailable": lambda services, example: send_request(
        services("without_its_database"), example.with_key()
    ),
}


def record_accepted(services: Services, example: RequestExample, status: int) -> AnswerExample:
    """Ask so that it is answered well: of the two ways that may be, first with a new picture, then again."""
    example = example.with_picture(GOLDEN / "9-grey.bmp") if status == 201 else example
    answers = (send_request(services(example.service), example.with_key()) for _ in range(2))
    return next(answer for answer in answers if answer.status == status)


Answers = dict[tuple[str, str, str | None], AnswerExample]  # of operation, status, and code or None


def record_answers() -> tuple[dict[str, Any], Answers]:
    """Ask running services for every answer that their document names; return it and them."""
    with ExitStack() as kept:
        services = Services(kept)
        document = services().get("/openapi.json").json()
        answers: Answers = {}
        for operation in list_operations(document):
            for status, described in operation.answers.items():
                for media_type, content in described.get("content", {}).items():
                    if "examples" in content:
                        for code in content["examples"]:
                            answers[operation.id, status, code] = REFUSALS[code](services, operation.example)
                    elif media_type == JSON:
                        answers[operation.id, status, None] = record_accepted(
                            services, operation.example, int(status)
                        )
        return document, answers


Examples = dict[str, dict[str, Any]]


def choose_examples(answers: Answers) -> Examples:
    """Return what the file holds: example and good answers by operation, the first refusal by code."""
    chosen: Examples = {name: {"request": body} for name, body in REQUESTS.items()}
    for (operation, status, code), answer in answers.items():
        if code is None:
            chosen.setdefault(operation, {})[status] = abridge(answer.body)
        else:
            schema = "Problem" if "code" in answer.body else "ProtocolError"
            chosen.setdefault(schema, {}).setdefault(code, answer.body)
    return chosen


def abridge(value: Any) -> Any:  # noqa: ANN401  JSON
    """Leave out of a model's metrics what they are the summary of, which would fill pages."""
    if isinstance(value, list):
        return [abridge(item) for item in value]
    if isinstance(value, dict):
        return {
            key: summarise(item) if key == "metrics" and item else abridge(item)
            for key, item in value.items()
        }
    return value


def summarise(metrics: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in part.items() if not isinstance(value, dict | list)}
        for name, part in metrics.items()
    }


def is_same(one: object, other: object) -> bool:
    """Compare JSON, numbers to the fifth decimal: processors differ in the last ones. Ids are anybody's."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 1e-5
    if isinstance(one, dict) and isinstance(other, dict):
        alike = (key == "request_id" or is_same(one[key], other[key]) for key in one.keys() & other.keys())
        return one.keys() == other.keys() and all(alike)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other


def write(examples: Examples, file: Path) -> None:
    """Write them, an example a line, unless the file has the same already."""
    if not is_same(json.loads(file.read_text(encoding="utf-8")), examples):
        sections = (
            f"{json.dumps(name)}: {{\n" + ",\n".join(f"  {line(*item)}" for item in section.items()) + "\n }"
            for name, section in examples.items()
        )
        file.write_text("{\n " + ",\n ".join(sections) + "\n}\n", encoding="utf-8")


def line(name: str, example: object) -> str:
    return f"{json.dumps(name)}: {json.dumps(example, ensure_ascii=False)}"


def main() -> None:
    logging.disable()  # a defect is among what is asked for
    _, answers = record_answers()
    write(choose_examples(answers), openapi.EXAMPLES)


if __name__ == "__main__":
    main()
