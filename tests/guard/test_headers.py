"""What every answer carries, and what is refused before anything else is looked at."""

from __future__ import annotations

import httpx
import pytest

from tests.conftest import GOLDEN

PNG = {"Content-Type": "image/png"}
THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
CALLS = (
    ("POST", "/predict", 200),
    ("POST", "/predict/number", 200),
    ("GET", "/models", 200),
    ("GET", "/docs", 200),
    ("GET", "/health/live", 200),
    ("GET", "/nowhere", 404),
    ("PUT", "/predict", 405),
    ("GET", "/models/nobody", 404),
)


@pytest.mark.parametrize(("method", "path", "status"), CALLS)
def test_every_answer_tells_browsers_to_be_careful(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path, content=THREE if method != "GET" else None, headers=PNG)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    kept = {"/docs": "no-cache"}.get(path) if method == "GET" else "no-store"
    assert answer.headers.get("Cache-Control") == kept
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/predict/", "//predict", "/Predict", "/nowhere", "/models/a/b"])
def test_only_paths_of_the_document_are_served(client: httpx.Client, path: str) -> None:
    answer = client.post(httpx.URL(str(client.base_url), raw_path=path.encode()), content=THREE, headers=PNG)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_a_wrong_method_names_the_right_ones(client: httpx.Client) -> None:
    answer = client.delete("/models/cnn")
    assert answer.json()["code"] == "method_not_allowed"
    assert answer.headers["Allow"] == "GET"


def test_every_route_of_the_application_is_in_its_document(client: httpx.Client) -> None:
    served = {path.replace("{name}", "cnn") for path in client.get("/openapi.json").json()["paths"]}
    assert {"/predict", "/predict/batch", "/predict/number", "/models", "/models/cnn"} <= served
    assert all(client.options(path).status_code == 405 for path in served)
