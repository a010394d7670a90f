"""Pictures come from the configured Label Studio alone, with its token, and within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import pytest

from app.digits.errors import DigitsError
from app.label_studio.pictures import LabelStudio, PictureNotFetched
from app.wire.problems import BodyTooLarge, Forbidden
from tests.label_studio.files import LEGACY_TOKEN, PERSONAL_TOKEN, UPLOADS, serve_files
from tests.serving import free_port

PICTURE: Final = b"a picture"
PATH: Final = f"{UPLOADS}7.png"


@pytest.fixture
def label_studio() -> Iterator[tuple[str, list[str]]]:
    with serve_files({"7.png": PICTURE}) as served:
        yield served


def fetch(url: str, key: str | None, *addresses: str, max_bytes: int = 100) -> list[bytes]:
    """Fetch files, one after another."""

    async def fetch_all() -> list[bytes]:
        label_studio = LabelStudio(url, key)
        try:
            return [await label_studio.fetch(address, max_bytes=max_bytes) for address in addresses]
        finally:
            await label_studio.close()

    return asyncio.run(fetch_all())


def test_a_path_and_a_full_address_are_fetched_with_a_legacy_token(
    label_studio: tuple[str, list[str]],
) -> None:
    url, _ = label_studio
    assert fetch(url, LEGACY_TOKEN, PATH, f"{url}{PATH}") == [PICTURE, PICTURE]


def test_a_personal_access_token_is_exchanged_and_again_once_that_has_expired(
    label_studio: tuple[str, list[str]],
) -> None:
    url, requests = label_studio
    assert fetch(url, PERSONAL_TOKEN, PATH, PATH, PATH) == [PICTURE] * 3
    exchange, download = "POST /api/token/refresh", f"GET {PATH}"
    assert requests == [exchange, download, download, download, exchange, download]


@pytest.mark.parametrize("key", [None, "wrong", "a.wrong.one"])
def test_a_refused_token_is_reported_with_the_name_of_the_setting(
    label_studio: tuple[str, list[str]], key: str | None
) -> None:
    with pytest.raises(Forbidden, match="DIGITS_LABEL_STUDIO_KEY"):
        fetch(label_studio[0], key, PATH)


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/data/upload/1/7.png",
        "//example.org/data/upload/1/7.png",
        "https://127.0.0.1/data/upload/1/7.png",
        "http://127.0.0.1:1/data/upload/1/7.png",
        "{url}@example.org/data/upload/1/7.png",
        "http://user@{host}/data/upload/1/7.png",
        "/api/projects/1/export",
        "/data/../api/projects/1/export",
        "/data/%2e%2e/api/projects/1/export",
        "\\\\example.org\\data\\7.png",
        "file:///etc/passwd",
        "s3://bucket/7.png",
        "http://[",
        "\x00",
        " ",
        "7" * 100_000,
    ],
)
def test_no_other_address_is_fetched(label_studio: tuple[str, list[str]], address: str) -> None:
    url, requests = label_studio
    with pytest.raises(Forbidden, match="is not fetched") as refusal:
        fetch(url, LEGACY_TOKEN, address.format(url=url, host=url.removeprefix("http://")))
    assert requests == []
    assert len(refusal.value.detail) < 500


def test_a_redirect_is_not_followed(label_studio: tuple[str, list[str]]) -> None:
    url, requests = label_studio
    with pytest.raises(Forbidden, match="redirects"):
        fetch(url, LEGACY_TOKEN, f"{UPLOADS}elsewhere.png")
    assert len(requests) == 1


def test_a_label_studio_below_a_path_is_asked_below_that_path(label_studio: tuple[str, list[str]]) -> None:
    url, requests = label_studio
    for address in (PATH, f"/labels{PATH}", f"{url}/labels{PATH}"):
        with pytest.raises(PictureNotFetched, match="404"):
            fetch(f"{url}/labels/", LEGACY_TOKEN, address)
    assert requests == [f"GET /labels{PATH}"] * 3
    with pytest.raises(Forbidden, match="is not fetched"):
        fetch(f"{url}/labels", LEGACY_TOKEN, f"{url}{PATH}")


def test_a_file_may_have_as_many_bytes_as_allowed_and_no_more(label_studio: tuple[str, list[str]]) -> None:
    url, _ = label_studio
    assert fetch(url, LEGACY_TOKEN, PATH, max_bytes=len(PICTURE)) == [PICTURE]
    with pytest.raises(BodyTooLarge) as refusal:
        fetch(url, LEGACY_TOKEN, PATH, max_bytes=len(PICTURE) - 1)
    assert refusal.value.limit == len(PICTURE) - 1


@pytest.mark.parametrize("key", [LEGACY_TOKEN, PERSONAL_TOKEN])
def test_a_label_studio_that_does_not_answer_is_named(key: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(DigitsError, match=f"Check that it runs at {url}/"):
        fetch(url, key, PATH)
