"""A Label Studio, as far as its files and tokens are concerned: what version 1.23.2 answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Final

from tests.serving import run_handler, wait_until

LEGACY_TOKEN: Final = "0123456789abcdef0123456789abcdef01234567"  # noqa: S105
PERSONAL_TOKEN: Final = "header.payload.signature"  # noqa: S105  as a JSON Web Token
ACCESS_TOKEN: Final = "access.{}.token"  # noqa: S105  each is valid for two files
UPLOADS: Final = "/data/upload/1/"


class FileHandler(BaseHTTPRequestHandler):
    """Sends files to those who have a token."""

    files: Mapping[str, bytes]
    requests: list[str]  # the methods and paths of all requests
    exchanges: int  # of the personal token for an access token
    downloads: int
    sent: list[str]  # the paths of all files that were sent

    def do_GET(self) -> None:
        self.requests.append(f"GET {self.path}")
        if self.path.startswith(f"{UPLOADS}elsewhere"):
            self._answer(302, b"", Location="http://127.0.0.1:1/data/upload/7.png")
        elif not self._is_authorised():
            self._answer(401, b"{}")
        elif self.path not in self.files:
            self._answer(404, b"{}")
        else:
            if self.path.startswith(f"{UPLOADS}last"):
                wait_until(lambda: len(self.sent) == len(self.requests) - 1 > 0)
            self._answer(200, self.files[self.path])
            self.sent.append(self.path)

    def do_POST(self) -> None:
        self.requests.append(f"POST {self.path}")
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if sent != {"refresh": PERSONAL_TOKEN}:
            self._answer(401, b"{}")
            return
        type(self).exchanges += 1
        self._answer(200, json.dumps({"access": ACCESS_TOKEN.format(self.exchanges)}).encode())

    def _is_authorised(self) -> bool:
        authorization = self.headers["Authorization"]
        if authorization == f"Bearer {ACCESS_TOKEN.format(self.exchanges)}":
            type(self).downloads += 1
            return self.downloads <= 2 * self.exchanges
        return bool(authorization == f"Token {LEGACY_TOKEN}")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_files(files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve files by their names until the block ends; yield the address, and the requests that arrive.

    A file whose name begins with "last" is not the first one to be sent, and none is being sent with it.
    """
    requests: list[str] = []
    paths = {f"{UPLOADS}{name}": file for name, file in files.items()}
    state = {"files": paths, "requests": requests, "exchanges": 0, "downloads": 0, "sent": []}
    with run_handler(type("Handler", (FileHandler,), state)) as address:
        yield address, requests
