"""A bucket in memory: as much of S3's interface as pyarrow's client uses, over a real socket."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

CHANGED = "2026-11-21T12:00:00.000Z"


class Bucket(BaseHTTPRequestHandler):
    """Answers for /bucket/KEY."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    parts: ClassVar[dict[str, dict[int, bytes]]] = {}  # of uploads in progress

    def do_GET(self) -> None:
        if "list-type" in self.query:
            self.list_objects(self.query["prefix"], self.query.get("delimiter", ""))
        elif self.key not in self.objects:
            self.answer(404)
        else:
            data, size = self.objects[self.key], len(self.objects[self.key])
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            headers = {"Content-Range": f"bytes {first}-{min(last, size - 1)}/{size}"}
            self.answer(206, data[first : last + 1], headers)

    def do_HEAD(self) -> None:
        exists = not self.key or self.key in self.objects
        self.answer(200 if exists else 404, self.objects.get(self.key, b""))

    def do_PUT(self) -> None:
        data = self.body()
        if "uploadId" in self.query:
            self.parts[self.query["uploadId"]][int(self.query["partNumber"])] = data
            self.answer(200)
        elif source := self.headers["x-amz-copy-source"]:
            self.objects[self.key] = self.objects[unquote(source).removeprefix("bucket/")]
            self.answer_xml("CopyObjectResult", "<ETag>copied</ETag>")
        else:
            self.objects[self.key] = data
            self.answer(200)

    def do_POST(self) -> None:
        body = self.body().decode()
        if "uploads" in self.query:
            self.parts[upload := uuid.uuid4().hex] = {}
            self.answer_xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        elif "uploadId" in self.query:
            parts = self.parts.pop(self.query["uploadId"])
            self.objects[self.key] = b"".join(parts[number] for number in sorted(parts))
            self.answer_xml("CompleteMultipartUploadResult", "<ETag>whole</ETag>")
        else:  # of several at a time
            for key in re.findall("<Key>(.*?)</Key>", body):
                self.objects.pop(key, None)
            self.answer_xml("DeleteResult", "")

    def do_DELETE(self) -> None:
        self.objects.pop(self.key, None)
        self.answer(204)

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/bucket").removeprefix("/")

    @property
    def query(self) -> Mapping[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def body(self) -> bytes:
        if "Transfer-Encoding" not in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        return join_chunks(io.BytesIO(join_chunks(self.rfile)))  # S3's chunks within HTTP's

    def list_objects(self, prefix: str, delimiter: str) -> None:
        entries = []
        for key, data in sorted(self.objects.items()):
            name, separator, _ = key.removeprefix(prefix).partition(delimiter or "\0")
            if key.startswith(prefix) and separator:
                entries.append(f"<CommonPrefixes><Prefix>{escape(prefix + name)}/</Prefix></CommonPrefixes>")
            elif key.startswith(prefix):
                details = f"<LastModified>{CHANGED}</LastModified><Size>{len(data)}</Size>"
                entries.append(f"<Contents><Key>{escape(key)}</Key>{details}</Contents>")
        content = "".join(dict.fromkeys(entries))
        self.answer_xml("ListBucketResult", f"<KeyCount>{len(entries)}</KeyCount>{content}")

    def answer_xml(self, kind: str, text: str) -> None:
        self.answer(200, f"<?xml version='1.0'?><{kind}>{text}</{kind}>".encode())

    def answer(self, status: int, data: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "ETag": "tag", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def join_chunks(chunks: io.BufferedIOBase) -> bytes:
    """Return the content of chunks, and read the trailer after the last one."""
    data = b""
    while size := int(chunks.readline().partition(b";")[0], 16):
        data += chunks.read(size)
        chunks.readline()
    while chunks.readline().strip():
        pass
    return data
