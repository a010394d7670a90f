"""The OpenAPI document: it says what the service does, and its examples are answers of the service."""

from __future__ import annotations

import copy
import json
import re
from typing import Any, Final

import httpx
import pytest
from jsonschema import Draft202012Validator, ValidationError

from app.api import openapi
from app.settings import Settings
from app.wire import problems
from tests.api import examples
from tests.api.examples import Answers, is_same, record_answers
from tests.serving import serve

AGAIN: Final = "run `make examples`, look at what has changed, and commit it"
NO_ANSWERS_OF_A_ROUTE: Final = {"not_found", "method_not_allowed"}  # they say that there is none


@pytest.fixture(scope="module")
def fetch_document() -> tuple[dict[str, Any], Answers]:
    """The document, and what the service answers where the document has examples."""
    return record_answers()


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    served: dict[str, Any] = client.get("/openapi.json").json()
    return served


def contents(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return where each media type of a request or an answer stands, and what the document says of it."""
    found = []
    for _, operation in openapi.iterate_operations(document):
        name = operation["operationId"]
        for media_type, content in operation.get("requestBody", {"content": {}})["content"].items():
            found.append((f"{name} {media_type}", content))
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                found.append((f"{name} {status} {media_type}", content))
    return [(place, content) for place, content in found if place.endswith("json")]


def values(content: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    examples = document["components"]["examples"]
    references = [part["$ref"].rpartition("/")[2] for part in content.get("examples", {}).values()]
    return [examples[name]["value"] for name in references]


def check(value: object, schema: dict[str, Any], document: dict[str, Any]) -> None:
    Draft202012Validator({**document, **schema}).validate(value)


def test_every_json_body_has_an_example_that_matches_its_schema(document: dict[str, Any]) -> None:
    assert len(contents(document)) > 40
    for place, content in contents(document):
        assert values(content, document), f"{place} has no example: see tests/api/examples.py, then {AGAIN}"
        for value in values(content, document):
            check(value, content["schema"], document)


@pytest.mark.parametrize("member", ["digit", "confidence", "model", "image", "others", "view"])
def test_an_example_that_lacks_a_member_would_fail(document: dict[str, Any], member: str) -> None:
    content = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    invalid = copy.deepcopy(content["example"])
    del invalid[member]
    with pytest.raises(ValidationError):
        check(invalid, content["schema"], document)


def test_the_examples_are_what_the_service_answers(
    fetch_document: tuple[dict[str, Any], Answers], document: dict[str, Any]
) -> None:
    served, answers = fetch_document
    assert is_same(served, document)
    recorded_now = examples.choose_examples(answers)
    committed = json.loads(openapi.EXAMPLES.read_text(encoding="utf-8"))
    assert recorded_now.keys() == committed.keys(), AGAIN
    for section, now in recorded_now.items():
        assert is_same(now, committed[section]), f"{section}: {AGAIN}"


def test_every_answer_has_the_status_code_and_headers_that_it_is_documented_with(
    fetch_document: tuple[dict[str, Any], Answers],
) -> None:
    document, answers = fetch_document
    described = {operation.id: operation for operation in examples.list_operations(document)}
    for (operation, status, code), answer in answers.items():
        response = described[operation].answers[status]
        assert status == openapi.DEFAULT or answer.status == int(status), (operation, status, code)
        assert code is None or answer.body.get("code", code) == code  # /v2 has no codes
        assert answer.headers["Content-Type"] in response["content"]
        for name, reference in response["headers"].items():
            header = document["components"]["headers"][reference["$ref"].rpartition("/")[2]]
            value = answer.headers.get(name)
            assert value is not None or not header.get("required"), (operation, status, name)
            if value is not None:
                typed = int(value) if header["schema"]["type"] == "integer" else value
                check(typed, header["schema"], document)


def test_every_answer_has_the_documented_rate_headers(document: dict[str, Any]) -> None:
    with serve(Settings(rate_limit=5)) as client:
        answers = [client.get("/models/cnn") for _ in range(6)]
    headers = document["components"]["headers"]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    for answer in answers:
        for name in ("RateLimit", "RateLimit-Policy"):
            assert re.fullmatch(headers[name]["schema"]["pattern"], answer.headers[name])


def test_every_code_is_documented_at_a_route(document: dict[str, Any]) -> None:
    named = {
        code
        for _, operation in openapi.iterate_operations(document)
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
        for code in content.get("examples", {})
    }
    assert named == problems.TITLES.keys() - NO_ANSWERS_OF_A_ROUTE


def test_operations_have_unique_names_and_described_tags(
    document: dict[str, Any],
) -> None:
    all_of_them = [operation for _, operation in openapi.iterate_operations(document)]
    names = [operation["operationId"] for operation in all_of_them]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    used = {tag for operation in all_of_them for tag in operation["tags"]}
    assert used == {tag["name"] for tag in document["tags"]}


def test_keys_are_documented_as_optional_or_required(
    document: dict[str, Any],
) -> None:
    with serve(Settings(api_keys=(examples.KEY,))) as client:
        locked = client.get("/openapi.json").json()
    ways: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
    assert (document["security"], locked["security"]) == ([{}, *ways], ways)
    assert {**document, "security": ways} == locked
    for path, operation in openapi.iterate_operations(locked):
        assert ("401" in operation["responses"]) == ("security" not in operation), path
