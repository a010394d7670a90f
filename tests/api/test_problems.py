"""Every row of the error table, over a real socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from app.digits.images import MAX_PIXELS
from app.server.protocol import MAX_SKIPPED
from app.settings import Settings
from tests.conftest import GOLDEN, HOSTILE
from tests.serving import PATIENCE, serve, wait_until
from tests.slow import SlowDecoder

NINE = (GOLDEN / "9-grey.png").read_bytes()
TINY = (GOLDEN / "1-eight-pixels.png").read_bytes()  # so small that no thread is asked
PNG = {"Content-Type": "image/png"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
SMALL = Settings(max_body_bytes=5_000, max_batch_body_bytes=20_000, max_batch=3, max_in_flight=4)


@pytest.fixture(scope="module")
def small() -> Iterator[httpx.Client]:
    """A service with small limits."""
    with serve(SMALL) as client:
        yield client


@pytest.fixture
def few() -> Iterator[httpx.Client]:
    """A service with four places."""
    with serve(Settings(max_in_flight=4, max_batch=3)) as client:
        yield client


def problem(answer: httpx.Response, status: int, code: str, *, limit: int | None = None) -> dict[str, Any]:
    """Check that the answer is that problem, whole and exact, and return it."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    members = {"type", "title", "status", "detail", "code", "request_id"}
    assert body.keys() == (members if limit is None else members | {"limit"})
    assert body["type"] == f"urn:digits:problem:{code}"
    assert (body["status"], body["code"], body.get("limit")) == (status, code, limit)
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert len(body["detail"]) > 10
    assert body["detail"].endswith((".", "!"))
    return body


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {"Content-Type": "application/json"}),
        (b"[]", {"Content-Type": "application/json"}),
        (b"{}", {"Content-Type": "application/json"}),
        (b'{"image": 7}', {"Content-Type": "application/json"}),
        (b'{"image": null}', {"Content-Type": "application/json"}),
        (b'{"image": "A"}', {"Content-Type": "application/json"}),
        (b'{"image": "?!"}', {"Content-Type": "application/json"}),
        (b'{"image": "data:image/png,AAAA"}', {"Content-Type": "application/json"}),
        ('{"image": "ä"}'.encode(), {"Content-Type": "application/json"}),
        (b'{"image": "\xff"}', {"Content-Type": "application/json"}),
        (b"[" * 100_000, {"Content-Type": "application/json"}),
        (b"", MULTIPART),
        (b"nonsense", MULTIPART),
        (b"--b--\r\n", MULTIPART),
        (b"x", {"Content-Type": "multipart/form-data"}),
        (b"x", {"Content-Type": "multipart/form-data; boundary="}),
        (
            b'--b\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nx\r\n--b--\r\n',
            MULTIPART,
        ),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ncut of', MULTIPART),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", MULTIPART),
    ],
)
def test_400_malformed_request(client: httpx.Client, body: bytes, headers: dict[str, str]) -> None:
    problem(client.post("/predict", content=body, headers=headers), 400, "malformed_request")


def test_400_for_a_form_of_many_other_fields(client: httpx.Client) -> None:
    fields = {f"field{number}": "x" for number in range(100)}
    answer = client.post("/predict", data=fields, files={"file": NINE})
    assert "more than 16 parts" in problem(answer, 400, "malformed_request")["detail"]


def test_other_fields_of_a_form_are_ignored(client: httpx.Client) -> None:
    answer = client.post("/predict", data={"a": "b", "c": "d"}, files={"file": NINE})
    assert answer.json()["digit"] == 9


def test_400_for_two_pictures_names_the_other_route(client: httpx.Client) -> None:
    for count in (2, 3, 50):
        files = [("file", ("a", NINE))] * count
        body = problem(client.post("/predict", files=files), 400, "malformed_request")
        assert "/predict/batch" in body["detail"]


def test_400_for_a_parameter_that_is_no_flag(client: httpx.Client) -> None:
    body = problem(client.post("/predict?view=perhaps", content=NINE, headers=PNG), 400, "malformed_request")
    assert "perhaps" in body["detail"]


@pytest.mark.parametrize("path", ["/nothing", "/nothing/", "/models/cnn/weights", "/docs/../etc"])
def test_404_not_found(client: httpx.Client, path: str) -> None:
    problem(client.get(path), 404, "not_found")


def test_404_unknown_model(client: httpx.Client) -> None:
    body = problem(client.post("/predict?model=gpt", content=NINE, headers=PNG), 404, "unknown_model")
    assert "cnn, finder, line-reader, linear, mlp-1000, mlp-128" in body["detail"]
    problem(client.post("/predict/batch?model=", json={"images": [""]}), 404, "unknown_model")
    problem(client.get("/models/gpt"), 404, "unknown_model")


@pytest.mark.parametrize("name", ["finder", "line-reader"])
def test_400_unsuitable_model(client: httpx.Client, name: str) -> None:
    for answer in (
        client.post(f"/predict?model={name}", content=NINE, headers=PNG),
        client.post(f"/predict/batch?model={name}", json={"images": [""]}),
    ):
        body = problem(answer, 400, "unsuitable_model")
        assert f"'{name}' is a {name}, and this needs a classifier" in body["detail"]


def test_405_method_not_allowed(client: httpx.Client) -> None:
    answer = client.get("/predict")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"
    problem(client.delete("/models"), 405, "method_not_allowed")


def test_408_slow_upload() -> None:
    with serve(Settings(read_timeout=0.4)) as client:
        connection = http.client.HTTPConnection(
            client.base_url.host, client.base_url.port or 80, timeout=PATIENCE
        )
        with closing(connection):
            connection.putrequest("POST", "/predict")
            for name, value in (*PNG.items(), ("Transfer-Encoding", "chunked")):
                connection.putheader(name, value)
            connection.endheaders(b"a\r\n" + NINE[:10] + b"\r\n")  # the rest never comes
            answer = connection.getresponse()
            refusal = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
    assert "0.4 s" in problem(refusal, 408, "slow_upload")["detail"]
    assert refusal.headers["Connection"] == "close"


def test_an_unread_large_body_closes_the_connection(client: httpx.Client) -> None:
    for path in ("/nothing", "/models"):
        assert client.post(path, content=bytes(MAX_SKIPPED + 1)).headers["Connection"] == "close"
        assert client.post(path, content=iter([NINE, NINE])).headers["Connection"] == "close"
    assert "Connection" not in client.get("/nothing").headers
    assert "Connection" not in client.post("/predict", content=NINE, headers=PNG).headers


def test_an_unread_small_body_is_discarded_and_the_connection_stays_open(client: httpx.Client) -> None:
    with socket.create_connection(
        (client.base_url.host, client.base_url.port or 80), timeout=PATIENCE
    ) as raw:
        head = f"HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(NINE)}\r\n\r\n"
        for path, status in (("/nothing", 404), ("/predict", 200), ("/models", 405), ("/predict", 200)):
            raw.sendall(f"POST {path} {head}".encode() + NINE)
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            assert (answer.status, answer.headers["Connection"]) == (status, None)
            answer.read()


@pytest.mark.parametrize(
    "path", ["/predict", "/predict/batch", "/predict/number", "/explain", "/v2/models/cnn/infer"]
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_411_for_a_picture_without_a_length(client: httpx.Client, path: str, version: str) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=30) as raw:
        raw.sendall(
            f"POST {path} HTTP/{version}\r\nHost: x\r\nContent-Type: image/png\r\n\r\n".encode() + NINE
        )
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, answer.headers["Connection"]) == (411, "close")
        assert b"Content-Length" in answer.read()
        assert raw.recv(1) == b""  # what follows the head is not taken for another request


def test_a_post_without_a_body_needs_no_length(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=30) as raw:
        raw.sendall(b"POST /v2/repository/index HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.recv(12) == b"HTTP/1.1 403"


def test_413_by_the_declared_length_before_the_body_is_read(small: httpx.Client) -> None:
    with socket.create_connection((small.base_url.host, small.base_url.port)) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 99999\r\n\r\n"
        )
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert answer.status == 413
        assert json.loads(answer.read())["code"] == "body_too_large"


def test_413_by_the_counted_length(small: httpx.Client) -> None:
    pieces = (bytes(1_000) for _ in range(100))
    answer = small.post("/predict", content=pieces, headers=PNG)
    problem(answer, 413, "body_too_large", limit=5_000)


def test_413_has_a_limit_of_its_own_for_batches(small: httpx.Client) -> None:
    problem(small.post("/predict", json={"image": "A" * 6_000}), 413, "body_too_large", limit=5_000)
    assert small.post("/predict/batch", json={"images": ["A" * 6_000]}).status_code == 200
    answer = small.post("/predict/batch", json={"images": ["A" * 30_000]})
    problem(answer, 413, "body_too_large", limit=20_000)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/pdf", None]
)
def test_415_for_a_request_of_another_type(client: httpx.Client, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    body = problem(client.post("/predict", content=NINE, headers=headers), 415, "unsupported_media_type")
    assert "multipart/form-data" in body["detail"]


def test_415_for_a_batch_as_raw_bytes(client: httpx.Client) -> None:
    problem(client.post("/predict/batch", content=NINE, headers=PNG), 415, "unsupported_media_type")


def test_415_for_a_file_of_another_format_whatever_it_is_called(client: httpx.Client) -> None:
    answer = client.post("/predict", files={"file": ("digit.png", b"GIF97a no", "image/png")})
    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("name", "code", "limit"),
    [
        ("truncated-half.png", "unreadable_image", None),
        ("bomb.png", "image_too_large", MAX_PIXELS),
        ("three-pixels-high.png", "image_too_small", 4),
        ("white.png", "no_ink", None),
    ],
)
def test_422_for_a_picture_that_cant_be_read(
    client: httpx.Client, name: str, code: str, limit: int | None
) -> None:
    data = (HOSTILE / name).read_bytes()
    problem(client.post("/predict", content=data, headers=PNG), 422, code, limit=limit)


def test_422_batch_too_large(small: httpx.Client) -> None:
    for count in (4, 5, 9):
        by_json = small.post("/predict/batch", json={"images": ["AAAA"] * count})
        problem(by_json, 422, "batch_too_large", limit=3)
        by_form = small.post("/predict/batch", files=[("files", ("a", b"x"))] * count)
        problem(by_form, 422, "batch_too_large", limit=3)


def test_422_empty_batch(client: httpx.Client) -> None:
    problem(client.post("/predict/batch", json={"images": []}), 422, "empty_batch")


def test_500_is_a_problem_document_and_reveals_no_internals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from app.main import create_app  # noqa: PLC0415

    app = create_app(Settings())

    @app.get("/broken")
    async def broken() -> None:
        msg = "secret of the inside"
        raise RuntimeError(msg)

    with serve(Settings(), app) as client:
        answer = client.get("/broken", headers={"X-Request-ID": "my-own-id"})
    body = problem(answer, 500, "internal_error")
    assert body["request_id"] == "my-own-id"
    assert "secret" not in answer.text
    assert "secret of the inside" in caplog.text


def test_503_overloaded_when_all_places_are_taken_while_health_stays_ok(
    few: httpx.Client, slow_decoder: SlowDecoder
) -> None:
    with slow_decoder.occupy(few, 4):
        refusal = few.post("/predict", content=NINE, headers=PNG)
        problem(refusal, 503, "overloaded", limit=4)
        assert refusal.headers["Retry-After"] == "1"
        assert few.get("/health/ready").status_code == 200
        assert few.get("/health/live").status_code == 200
    wait_until(lambda: few.post("/predict", content=NINE, headers=PNG).status_code == 200)


def test_503_for_a_batch_that_needs_more_places_than_are_free(
    few: httpx.Client, slow_decoder: SlowDecoder
) -> None:
    batch = {"images": ["AAAA"] * 3}
    with slow_decoder.occupy(few, 2):
        problem(few.post("/predict/batch", json=batch), 503, "overloaded", limit=4)
    wait_until(lambda: few.post("/predict/batch", json=batch).status_code == 200)


def test_a_client_that_hangs_up_frees_its_place(
    small: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 10\r\n\r\n"
    caplog.set_level("INFO", "app.access")
    with socket.create_connection((small.base_url.host, small.base_url.port)) as raw:
        raw.sendall(head)
    wait_until(lambda: any(getattr(record, "status", None) == 499 for record in caplog.records))


def test_504_timeout() -> None:
    large = (GOLDEN / "6-photo-small-in-large.jpg").read_bytes()
    with serve(Settings(request_timeout=0.0001, max_in_flight=1, max_batch=1)) as client:
        problem(client.post("/predict", content=large, headers=PNG), 504, "timeout")
        # the place is free again once the work, which can't be stopped, has ended
        wait_until(lambda: client.post("/predict", content=TINY, headers=PNG).status_code == 200)


def test_a_refused_preflight_is_a_problem() -> None:
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    with serve(Settings(cors_origins=("https://good.example",))) as client:
        problem(client.options("/predict", headers=preflight), 400, "malformed_request")
        allowed = client.options("/predict", headers=preflight | {"Origin": "https://good.example"})
        answer = client.post("/predict", content=NINE, headers=PNG | {"Origin": "https://good.example"})
    assert allowed.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://good.example"


def test_without_origins_no_page_of_another_site_may_read_answers(client: httpx.Client) -> None:
    answer = client.post("/predict", content=NINE, headers=PNG | {"Origin": "https://any.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
