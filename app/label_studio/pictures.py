"""Fetches the pictures of tasks from the configured Label Studio, and from nowhere else.

Tasks come from outside, and a task may name any address. Only files of that Label Studio are fetched, without
redirects, and within limits of time and bytes; its token is sent to no other host.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httpx

from ..digits.errors import UnreadableImage
from ..wire.problems import BodyTooLarge, Forbidden, shorten

FETCH_TIMEOUT: Final = 5.0  # seconds for one picture, including the wait for a connection
MAX_CONNECTIONS: Final = 8  # that a worker opens to Label Studio
FOLDERS: Final = ("data/", "storage-data/")  # of uploads and local files; the rest of Label Studio is its API
MAX_QUOTED: Final = 200  # characters of an address that an error repeats
TOKEN_DOTS: Final = 2  # in a personal access token, which is a JSON Web Token; legacy tokens have none
_REFUSALS: Final = frozenset({401, 403})


class PictureNotFetched(UnreadableImage):
    """Label Studio does not send a picture."""


class LabelStudio:
    """A Label Studio, as far as its files are concerned."""

    def __init__(self, url: str, key: str | None) -> None:
        """Prepare to connect.

        Args:
            url: its address.
            key: a personal access token or a legacy token; without one, its files must be public.
        """
        self._base = httpx.URL(f"{url.rstrip('/')}/")
        self._key = key or ""
        self._is_personal = self._key.count(".") == TOKEN_DOTS
        self._access_token = ""  # a personal access token is exchanged for one that is valid for minutes
        self._client = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity"},  # the bytes are counted as they arrive
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            timeout=FETCH_TIMEOUT,
            follow_redirects=False,
        )

    async def fetch(self, address: str, *, max_bytes: int) -> bytes:
        """Return the file at an address, which a task gives in full or as a path.

        Raises:
            Forbidden: the address is not one of Label Studio's files, or Label Studio refuses its token.
            BodyTooLarge: the file has more than `max_bytes` bytes.
            PictureNotFetched: Label Studio does not answer, or has no such file.
        """
        url = self._locate(address)
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                return await self._fetch(url, max_bytes)
        except (httpx.HTTPError, TimeoutError) as error:
            reason = str(error) or f"no answer within {FETCH_TIMEOUT:g} s"
            msg = f"Label Studio does not send {_quote(url)}: {reason}. Check that it runs at {self._base}."
            raise PictureNotFetched(msg) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _locate(self, address: str) -> httpx.URL:
        if address.startswith("/") and not address.startswith(("//", self._base.path)):
            address = self._base.path + address[1:]
        try:
            url = self._base.join(address)
        except httpx.InvalidURL:
            url = None
        if url is None or not self._is_file(url):
            folders = " and ".join(str(self._base.join(folder)) for folder in FOLDERS)
            msg = (
                f"The picture {shorten(address, MAX_QUOTED)!r} is not fetched, only those below {folders}. "
                "Import pictures into Label Studio itself, or as data: URLs."
            )
            raise Forbidden(msg)
        return url

    def _is_file(self, url: httpx.URL) -> bool:
        base = self._base
        return (
            (url.scheme, url.host, url.port, url.userinfo) == (base.scheme, base.host, base.port, b"")
            and url.path.startswith(tuple(base.path + folder for folder in FOLDERS))
            and ".." not in url.path
        )

    async def _fetch(self, url: httpx.URL, max_bytes: int) -> bytes:
        authorization = await self._authorise()
        async with self._client.stream("GET", url, headers=authorization) as response:
            if response.status_code not in _REFUSALS or not self._is_personal:
                return await _read(response, max_bytes)
        if authorization == _build_bearer(self._access_token):  # expired, and not exchanged meanwhile
            self._access_token = ""
        async with self._client.stream("GET", url, headers=await self._authorise()) as response:
            return await _read(response, max_bytes)

    async def _authorise(self) -> dict[str, str]:
        if not self._key:
            return {}
        if not self._is_personal:
            return {"Authorization": f"Token {self._key}"}
        if not self._access_token:
            self._access_token = await self._exchange_token()
        return _build_bearer(self._access_token)

    async def _exchange_token(self) -> str:
        response = await self._client.post(self._base.join("api/token/refresh"), json={"refresh": self._key})
        if response.status_code in _REFUSALS:
            msg = (
                "Label Studio refuses its personal access token. Set DIGITS_LABEL_STUDIO_KEY to a valid one."
            )
            raise Forbidden(msg)
        response.raise_for_status()
        try:
            return str(response.json()["access"])
        except (ValueError, LookupError, TypeError):
            msg = "the answer of /api/token/refresh has no access token"
            raise httpx.DecodingError(msg) from None


def _build_bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    _check_status(response)
    if int(response.headers.get("Content-Length", 0)) > max_bytes:
        raise _build_too_large(max_bytes)
    file = bytearray()
    async for piece in response.aiter_raw():
        file += piece
        if len(file) > max_bytes:
            raise _build_too_large(max_bytes)
    return bytes(file)


def _check_status(response: httpx.Response) -> None:
    status, file = response.status_code, _quote(response.url)
    if status in _REFUSALS:
        msg = f"Label Studio answers {status} to {file}. Set DIGITS_LABEL_STUDIO_KEY to a token of a member."
        raise Forbidden(msg)
    if response.is_redirect:
        msg = f"Label Studio redirects {file}, which is not followed. Let it proxy the files of its storage."
        raise Forbidden(msg)
    if not response.is_success:
        msg = f"Label Studio answers {status} to {file}. Check that the task's picture still exists."
        raise PictureNotFetched(msg)


def _build_too_large(max_bytes: int) -> BodyTooLarge:
    msg = f"The task's picture has more than {max_bytes} bytes. Import a smaller one."
    return BodyTooLarge(msg, limit=max_bytes)


def _quote(url: httpx.URL) -> str:
    return repr(shorten(url.path, MAX_QUOTED))
