"""Security headers, unknown paths and methods, redirects and HEAD."""

from __future__ import annotations

import httpx
import pytest

from tests.conftest import GOLDEN

PNG = {"Content-Type": "image/png"}
THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
CALLS = (
    ("POST", "/predict", 200),
    ("POST", "/predict/number", 200),
    ("POST", "/explain", 200),
    ("GET", "/models", 200),
    ("GET", "/docs", 200),
    ("GET", "/health/live", 200),
    ("GET", "/nowhere", 404),
    ("PUT", "/predict", 405),
    ("GET", "/models/nobody", 404),
)


@pytest.mark.parametrize(("method", "path", "status"), CALLS)
def test_every_response_has_security_headers(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path, content=THREE if method != "GET" else None, headers=PNG)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    caching = {"/docs": "no-cache"}.get(path) if method == "GET" else "no-store"
    assert answer.headers.get("Cache-Control") == caching
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["//predict", "//predict/", "/Predict", "/nowhere", "/models/a/b"])
def test_paths_that_are_not_in_the_document_get_404(client: httpx.Client, path: str) -> None:
    answer = client.post(httpx.URL(str(client.base_url), raw_path=path.encode()), content=THREE, headers=PNG)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_405_lists_the_allowed_methods(client: httpx.Client) -> None:
    answer = client.delete("/models/cnn")
    assert answer.json()["code"] == "method_not_allowed"
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/predict/", "/predict"),
        ("/predict/batch/?view=true", "/predict/batch?view=true"),
        ("/models/cnn//", "/models/cnn"),
        ("/models/%0d%0aSet-Cookie:%20a/", "/models/%0d%0aSet-Cookie:%20a"),
        ("/docs/", "/docs"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_with_a_trailing_slash_is_redirected_and_the_method_preserved(
    client: httpx.Client, path: str, target: str, method: str
) -> None:
    answer = client.request(method, httpx.URL(str(client.base_url), raw_path=path.encode()))
    assert (answer.status_code, answer.headers["Location"]) == (308, target)


def test_a_client_that_follows_redirects_gets_its_answer(client: httpx.Client) -> None:
    answer = client.post("/predict/", content=THREE, headers=PNG, follow_redirects=True)
    assert answer.json()["digit"] == 3


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/docs",
            "/openapi.json",
            "/health/live",
            "/health/ready",
            "/metrics",
            "/models",
            "/models/cnn",
        ),
        *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/cnn", "/v2/models/cnn/ready"),
        "/static/page.css",
        "/models/nobody",
    ],
)
def test_head_is_answered_like_get_without_the_body(client: httpx.Client, path: str) -> None:
    as_get, as_head = client.get(path), client.head(path)
    assert (as_head.status_code, as_head.content) == (as_get.status_code, b"")
    changing = {"date", "x-request-id", "content-length"}  # metrics grow with each request
    assert as_head.headers.keys() == as_get.headers.keys()
    assert all(as_head.headers[name] == as_get.headers[name] for name in as_get.headers.keys() - changing)


def test_head_is_refused_where_there_is_no_get(client: httpx.Client) -> None:
    answer = client.head("/predict")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_every_path_of_the_document_is_served(client: httpx.Client) -> None:
    served = {path.replace("{name}", "cnn") for path in client.get("/openapi.json").json()["paths"]}
    assert {"/predict", "/predict/batch", "/predict/number", "/models", "/models/cnn"} <= served
    assert all(client.options(path).status_code == 405 for path in served)
