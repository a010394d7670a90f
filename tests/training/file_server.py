"""A server of files on loopback, for tests of downloads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from threading import Thread


@contextmanager
def serve_files(files: Mapping[str, bytes], *, length: int | None = None) -> Iterator[str]:
    """Serve files by their paths; yield the URL of the server.

    Args:
        files: by their paths.
        length: what the server claims every file's length to be, instead of its own.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(length or len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with TCPServer(("127.0.0.1", 0), Handler) as server:  # HTTPServer would look its name up
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
