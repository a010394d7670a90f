"""/mcp of a running service, used by the client of the SDK over streamable HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp.types import CallToolResult

from app.settings import Settings
from tests.conftest import ROOT
from tests.costs import measure_cost, needs_proc
from tests.mcp.calling import MODES, NUMBER, PHOTO, encode, get_text, use_service
from tests.serving import serve, start_process, wait_until
from tests.slow import LARGE, SlowDecoder
from tests.telemetry.scrapes import scrape

KEY = "a key of some length"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}
DIGIT = {"image": encode(PHOTO.read_bytes())}


@pytest.fixture(scope="module")
def service() -> Iterator[httpx.Client]:
    with serve(Settings(mcp=True)) as client:
        yield client


def call(service: httpx.Client, name: str, arguments: dict[str, Any], **options: Any) -> CallToolResult:  # noqa: ANN401
    async def work(client: Client) -> CallToolResult:
        return await client.call_tool(name, arguments)

    return use_service(service, work, **options)


def build_call(name: str, arguments: object) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def post(service: httpx.Client, name: str, arguments: object, **options: Any) -> httpx.Response:  # noqa: ANN401
    """Call a tool without the SDK."""
    return service.post(
        "/mcp", json=build_call(name, arguments), headers=ACCEPT | options.pop("headers", {}), **options
    )


@pytest.mark.parametrize("mode", MODES)
def test_both_tools_read_base64_and_a_data_url(service: httpx.Client, mode: str) -> None:
    async def work(client: Client) -> list[CallToolResult]:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["read_digit", "read_number"]
        url = f"data:image/jpeg;base64,{encode(NUMBER.read_bytes())}"
        return [
            await client.call_tool("read_digit", DIGIT),
            await client.call_tool("read_number", {"image": url}),
        ]

    digit, number = use_service(service, work, mode=mode)
    expected = service.post("/predict", files={"file": PHOTO.read_bytes()}).json()
    assert digit.structured_content == expected
    assert get_text(digit).startswith("The digit is 7")
    assert (
        number.structured_content
        == service.post("/predict/number", files={"file": NUMBER.read_bytes()}).json()
    )
    assert get_text(number).startswith("The number is 4071")


def test_warnings_are_part_of_the_text(service: httpx.Client) -> None:
    several = call(service, "read_digit", {"image": encode(NUMBER.read_bytes())})
    assert get_text(several).endswith("Warnings: several_digits.")


def test_paths_are_not_read(service: httpx.Client) -> None:
    for arguments in ({"path": str(PHOTO)}, {"path": str(PHOTO), "image": DIGIT["image"]}):
        result = call(service, "read_digit", arguments)
        assert result.is_error
        assert get_text(result).startswith("The arguments can't be accepted: ")


def test_errors_are_those_of_predict_and_are_counted(service: httpx.Client) -> None:
    before = scrape(service)
    for file in ("white.png", "truncated-half.jpg", "page.html"):
        picture = (ROOT / "tests" / "data" / "hostile" / file).read_bytes()
        result = call(service, "read_digit", {"image": encode(picture)})
        problem = service.post("/predict", files={"file": picture}).json()
        assert result.is_error
        assert get_text(result) == problem["detail"]
    after = scrape(service)
    counted = [scraped.value("digits_refusals_total", code="no_ink") for scraped in (before, after)]
    assert counted[1] - counted[0] == 2
    assert after.value("digits_requests_total", route="/mcp", status="200") > 0
    assert after.value("digits_predictions_total", model="cnn") > 0


def test_keys_are_asked_for() -> None:
    with serve(Settings(mcp=True, api_keys=(KEY,))) as service:
        assert post(service, "read_digit", DIGIT).status_code == 401
        result = call(service, "read_digit", DIGIT, headers={"Authorization": f"Bearer {KEY}"})
        assert not result.is_error


def test_rates_and_the_size_of_bodies_are_limited() -> None:
    with serve(Settings(mcp=True, rate_limit=2, max_body_bytes=4096)) as service:
        large = post(service, "read_digit", {"image": "A" * 5000})
        assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
        assert post(service, "read_digit", {"image": "A"}).status_code == 200
        assert post(service, "read_digit", {"image": "A"}).json()["code"] == "rate_limited"


def test_pages_of_other_origins_are_refused(service: httpx.Client) -> None:
    refused = post(service, "read_digit", DIGIT, headers={"Origin": str(service.base_url)})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "DIGITS_CORS_ORIGINS lists those that may" in refused.json()["detail"]
    with serve(Settings(mcp=True, cors_origins=("https://assistant.example",))) as open_service:
        allowed = post(open_service, "read_digit", DIGIT, headers={"Origin": "https://assistant.example"})
        assert allowed.status_code == 200


def test_a_call_needs_a_place(slow_decoder: SlowDecoder) -> None:
    settings = Settings(mcp=True, max_in_flight=1, max_batch=1)
    with serve(settings) as service, slow_decoder.occupy(service, 1):
        for tool in ("read_digit", "read_number"):
            result = post(service, tool, DIGIT).json()["result"]
            assert result["isError"]
            assert result["content"][0]["text"].startswith("The service processes up to 1 pictures at a time")


@pytest.mark.parametrize("version", [{}, {"MCP-Protocol-Version": "2025-11-25"}])
def test_a_client_that_hangs_up_keeps_its_place_until_the_work_has_ended(
    slow_decoder: SlowDecoder, version: dict[str, str]
) -> None:
    with serve(Settings(mcp=True)) as service:
        request = service.build_request(
            "POST", "/mcp", json=build_call("read_digit", {"image": encode(LARGE)}), headers=ACCEPT | version
        )
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection((service.base_url.host, service.base_url.port or 80)) as connection:
            connection.sendall(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + request.content)
            wait_until(lambda: slow_decoder.begun > 0)
        wait_until(lambda: scrape(service).value("digits_requests_total", route="/mcp") == 1)
        assert scrape(service).value("digits_pictures_in_flight") == 1
        slow_decoder.go_on.set()
        wait_until(lambda: scrape(service).value("digits_pictures_in_flight") == 0)


def test_a_call_that_takes_too_long_is_given_up(slow_decoder: SlowDecoder) -> None:
    with serve(Settings(mcp=True, request_timeout=0.1)) as service:
        result = post(service, "read_digit", {"image": encode(LARGE)}).json()["result"]
        assert result["content"][0]["text"].startswith("There was no prediction within 0.1 s.")
        slow_decoder.go_on.set()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b'"x"', b'{"jsonrpc": "2.0"}', b"\xff\xfe", b"null"]
)
def test_what_is_no_message_is_refused(service: httpx.Client, content: bytes) -> None:
    answer = service.post("/mcp", content=content, headers={"Content-Type": "application/json", **ACCEPT})
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (400, "malformed_request")
    assert problem["detail"].endswith(". Send one message of JSON-RPC 2.0.")


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {}])
def test_what_is_not_json_is_refused(service: httpx.Client, headers: dict[str, str]) -> None:
    problem = service.post("/mcp", content=json.dumps(LIST), headers=headers | ACCEPT).json()
    assert (problem["status"], problem["code"]) == (415, "unsupported_media_type")
    assert problem["detail"].endswith(". Send application/json.")
    compressed = service.post("/mcp", json=LIST, headers={"Content-Encoding": "gzip", **ACCEPT}).json()
    assert (compressed["status"], compressed["code"]) == (415, "unsupported_media_type")


def test_other_methods_are_not_allowed(service: httpx.Client) -> None:
    for method in ("GET", "DELETE"):
        answer = service.request(method, "/mcp")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


MESSAGE = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call",'
    b'"params":{"name":"read_digit","arguments":{"image":"%s"}}}'
)
HOSTILE = {
    "lists": b"[" * 5_000_000 + b"]" * 5_000_000,
    "members": b"{" + b'"a":1,' * 1_700_000 + b'"a":1}',
    "numbers": b"[" + b"1," * 5_000_000 + b"1]",
    "escapes": MESSAGE % (rb"\u0041" * 1_700_000),
    "base64": MESSAGE % (b"A" * 10_000_000),
    "no base64": MESSAGE % (b"%41" * 3_300_000),
    "a long name": MESSAGE.replace(b"read_digit", b"x" * 10_000_000),
    "long numbers": b'{"image":[' + b",".join([b"1" * 4200] * 990) + b"]}",
    "a long number": MESSAGE.replace(b'"id":1', b'"id":' + b"1" * 10_000_000),
}


@needs_proc
def test_hostile_messages_cost_little() -> None:
    with start_process(mcp="true") as running:
        assert post(running.client, "read_digit", DIGIT).status_code == 200
        for name, content in HOSTILE.items():
            headers = {"Content-Type": "application/json", **ACCEPT}
            with measure_cost(running.popen.pid) as cost:
                answer = running.client.post("/mcp", content=content, headers=headers)
            assert answer.status_code < 500, name
            assert cost.seconds < 1, name
            assert cost.megabytes < 256, name
        assert post(running.client, "read_digit", DIGIT).status_code == 200


def test_several_workers_answer_calls() -> None:
    with start_process(mcp="true", workers="2") as running:

        async def work(client: Client) -> bool:
            results = [await client.call_tool("read_digit", DIGIT) for _ in range(4)]
            return not any(result.is_error for result in results)

        assert all(use_service(running.client, work, mode=mode) for mode in MODES for _ in range(2))
        running.popen.terminate()
        status, log = running.end()
    assert status == 0
    lines = [json.loads(line) for line in log.splitlines()]
    calls = [line for line in lines if line.get("path") == "/mcp" and line.get("model")]
    assert {(line["model"], line["digits"], line["outcome"]) for line in calls} == {("cnn", 1, "ok")}


def test_it_is_off_by_default(client: httpx.Client) -> None:
    assert post(client, "read_digit", DIGIT).status_code == 404
    assert "/mcp" not in client.get("/openapi.json").json()["paths"]


def test_it_is_described_where_it_is_on(service: httpx.Client) -> None:
    assert service.get("/openapi.json").json()["paths"]["/mcp"]["post"]["operationId"] == "mcp"


def test_without_the_extra_the_start_says_how_to_install_it() -> None:
    script = "import sys, runpy; sys.modules['mcp'] = None; sys.argv = ['app']; "
    script += "runpy.run_module('app', run_name='__main__')"
    command, environment = [sys.executable, "-c", script], {"DIGITS_MCP": "true"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(
        "digits can't start: DIGITS_MCP=true: the extra 'mcp' is not installed (mcp is missing): "
        "pip install 'digits[mcp]'."
    )
