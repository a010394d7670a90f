"""No request costs more than a second of processor time or 256 MB, whatever its bytes."""

from __future__ import annotations

import gzip
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest

from app.settings import MEBIBYTE
from tests.api.v2 import slow_deflate
from tests.conftest import GOLDEN
from tests.costs import TICKS, measure_cost, needs_proc, read_megabytes
from tests.serving import PATIENCE, Process, start_process, wait_until

pytestmark = needs_proc

SECONDS: Final = 1.0  # of processor time, in all threads together
# of them in the thread of the event loop, which answers health checks: receiving 32 MiB takes 0.1, and up to
# 0.26 beside others that wait for memory, too
LOOP_SECONDS: Final = 0.4
MEGABYTES: Final = 256.0
KEPT_MEGABYTES: Final = 60.0  # of memory that was freed, but not returned to the kernel: 8 to 43
ONE: Final = 10 * MEBIBYTE  # bytes: the longest body of one picture, by default
MANY: Final = 32 * MEBIBYTE  # of a batch, and of /v2
INSTANCES: Final = "/v1/models/cnn:predict"
KEY: Final = "a-long-key-for-tests"

Answer = tuple[int, str | None]  # status and code, which /v2 and answers to batches do not have
FINE: Final = (200, None)
MALFORMED: Final = (400, "malformed_request")
TOO_MANY: Final = (422, "batch_too_large")
NO_PICTURE: Final = (415, "unsupported_media_type")
EMPTY: Final = (422, "unreadable_image")


@dataclass(frozen=True)
class Payload:
    """A request that is meant to cost much."""

    path: str
    make: Callable[[], bytes]  # its body: all of them together would be gigabytes
    answer: Answer
    headers: dict[str, str] = field(default_factory=dict)


def fill(size: int, pattern: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """Repeat a pattern until the whole is `size` bytes long, or a little less."""
    return before + pattern * ((size - len(before) - len(after)) // len(pattern)) + after


# A value in JSON: what it begins with, what is repeated, and what it ends with.
Value = tuple[bytes, bytes, bytes]
LISTS: Final[dict[str, Value]] = {
    "numbers": (b"[", b"1,", b"1]"),
    "empty texts": (b"[", b'"",', b'""]'),
    "nulls": (b"[", b"null,", b"null]"),
    "not-a-numbers": (b"[", b"NaN,", b"-Infinity]"),
    "lists": (b"[", b"[],", b"[]]"),
    "objects": (b"[", b'{"a":0},', b"{}]"),
    "large exponents": (b"[", b"1e-99999,", b"0]"),
    "a list without an end": (b"[", b"1,", b""),
    "lists as deep as the parser allows": (b"[", b"[" * 150 + b"]" * 150 + b",", b"0]"),
}
VALUES: Final[dict[str, Value]] = {
    "lists in lists": (b"", b"[", b""),
    "objects in objects": (b"", b'{"a":', b""),
    "digits of one number": (b"", b"9", b""),
    "digits behind the point": (b"0.", b"9", b""),
    "long numbers": (b"[", b"9" * 4000 + b",", b"0]"),
    "long fractions": (b"[", b"9" * 4000 + b".5,", b"0]"),
    "white space": (b"", b" \n", b""),
    "a text without an end": (b'"', b"A", b""),
    "null bytes": (b'"', b"\0", b'"'),
    "half surrogates": (b'"', b"\\ud800", b'"'),
    "bytes that are not UTF-8": (b'"', b"\xff", b'"'),
}
TEXTS: Final[dict[str, tuple[Value, Answer]]] = {
    "escaped nulls": ((b'"', b"\\u0000", b'"'), MALFORMED),
    "escaped letters": ((b'"', b"\\u0041" * 4, b'"'), NO_PICTURE),
    "escaped line feeds": ((b'"', b"\\n", b'"'), EMPTY),
    "indented line feeds": ((b'"A', b"\\n ", b'A"'), NO_PICTURE),
    "pairs of surrogates": ((b'"', b"\\ud83d\\ude00", b'"'), MALFORMED),
    "letters and an emoji": ((b'"', b"A", b'\xf0\x9f\x98\x80"'), MALFORMED),
    "emoji": ((b'"', b"\xf0\x9f\x98\x80", b'"'), MALFORMED),
    "base64": ((b'"', b"AAAA", b'"'), NO_PICTURE),
    "URL-safe base64": ((b'"', b"-_-_", b'"'), NO_PICTURE),
    "both alphabets": ((b'"', b"-+-+", b'"'), MALFORMED),
    "padding": ((b'"', b"=", b'"'), MALFORMED),
    "padding within": ((b'"', b"AA==", b'"'), MALFORMED),
    "spaces": ((b'"A', b" ", b'A"'), MALFORMED),
    "spaces between letters": ((b'"', b"A ", b'A"'), MALFORMED),
    "a percent escape for each letter": ((b'"data:;base64,', b"%41" * 4, b'"'), NO_PICTURE),
    "percent-encoded percents": ((b'"data:;base64,', b"%25", b'"'), MALFORMED),
    "percents alone": ((b'"data:;base64,', b"%", b'"'), MALFORMED),
    "data: without an end": ((b'"data:', b"x", b'"'), MALFORMED),
    "many data:": ((b'"', b"data:", b'"'), MALFORMED),
    "many ;base64": ((b'"data:', b";base64", b'x,"'), MALFORMED),
    "many semicolons": ((b'"data:', b";", b'base64,"'), EMPTY),
}
COSTLY_TEXTS: Final = (  # the texts that cost most
    "letters and an emoji",
    "base64",
    "URL-safe base64",
    "spaces",
    "indented line feeds",
    "a percent escape for each letter",
)
BODIES: Final[dict[str, Callable[[int], bytes]]] = {
    "unknown members": lambda size: b"{" + b",".join(b'"%d":0' % n for n in range(size // 12)) + b"}",
    "a member repeated": lambda size: fill(size, b'"image":1,', before=b"{", after=b'"image":1}'),
    "a long name": lambda size: fill(size, b"a", before=b'{"', after=b'":1}'),
    "a byte order mark": lambda size: fill(size, b" ", before=b"\xef\xbb\xbf", after=b"{}"),
    "UTF-16": lambda size: fill(size // 2 - 8, b"1,", before=b'{"image":[').decode().encode("utf-16"),
    "UTF-32": lambda size: fill(size // 4 - 8, b"1,", before=b'{"image":[').decode().encode("utf-32"),
    "nulls": bytes,
}


def put(value: Value, size: int, *, before: bytes, after: bytes) -> Callable[[], bytes]:
    """Return what makes a body with that value in it."""
    begin, pattern, end = value
    return lambda: fill(size, pattern, before=before + begin, after=end + after)


JSON: Final = {"Content-Type": "application/json"}
PREDICT: Final = {
    name: Payload("/predict", put(value, ONE, before=b'{"image":', after=b"}"), answer, JSON)
    for name, (value, answer) in TEXTS.items()
}
BATCH: Final = (
    {
        name: Payload(
            "/predict/batch",
            put(value, MANY, before=b'{"images":', after=b"}"),
            TOO_MANY if name in LISTS or name in {"long numbers", "long fractions"} else MALFORMED,
            JSON,
        )
        for name, value in (LISTS | VALUES).items()
    }
    | {
        "as many long numbers as are allowed": Payload(
            "/predict/batch", lambda: b'{"images":[' + (b"9" * 4299 + b",") * 1000 + b"0]}", MALFORMED, JSON
        ),
    }
    | {
        name: Payload(
            "/predict/batch", put(TEXTS[name][0], MANY, before=b'{"images":[', after=b"]}"), FINE, JSON
        )
        for name in COSTLY_TEXTS
    }
)
NUMBER: Final = {
    name: Payload("/predict/number", lambda make=make: make(ONE), MALFORMED, JSON)  # type: ignore[misc]
    for name, make in BODIES.items()
}
FEEDBACK: Final = {
    name: Payload("/feedback", put(value, ONE, before=b'{"image":"","digit":', after=b"}"), answer, JSON)
    for name, value, answer in (
        ("numbers", LISTS["numbers"], MALFORMED),
        ("lists in lists", VALUES["lists in lists"], MALFORMED),
        ("long numbers", VALUES["long numbers"], MALFORMED),
        ("digits behind the point", VALUES["digits behind the point"], EMPTY),  # 0.999… is 1
    )
}
LOAD: Final = "/v2/repository/models/cnn/load"
REPOSITORY: Final = {
    "unknown parameters": Payload(
        LOAD, put((b"{", b'"a":0,', b'"b":0}'), ONE, before=b'{"parameters":', after=b"}"), MALFORMED, JSON
    ),
    "a few thousand parameters": Payload(
        LOAD,
        lambda: b'{"parameters":{' + b",".join(b'"%04d":0' % n for n in range(9999)) + b"}}",
        MALFORMED,
        JSON,
    ),
    "a long parameter": Payload(
        LOAD, put((b'{"', b"a", b'":0}'), ONE, before=b'{"parameters":', after=b"}"), MALFORMED, JSON
    ),
    "empty texts": Payload(
        "/v2/repository/index",
        put(LISTS["empty texts"], ONE, before=b'{"ready":', after=b"}"),
        MALFORMED,
        JSON,
    ),
}

INFER: Final = "/v2/models/cnn/infer"
IMAGE: Final = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,28,28],"data":'
PICTURE: Final = b'{"inputs":[{"name":"picture","datatype":"BYTES","shape":[%d],"%s":'
GZIP: Final = {"Content-Encoding": "gzip"}
DEFLATE: Final = {"Content-Encoding": "deflate"}
TENSORS: Final[dict[str, tuple[Callable[[], bytes], Answer]]] = (
    {
        name: (put(value, MANY, before=IMAGE, after=b"}]}"), TOO_MANY if name in LISTS else MALFORMED)
        for name, value in (LISTS | VALUES).items()
    }
    | {
        name: (put(value, MANY, before=PICTURE % (1, b"data") + b"[", after=b"]}]}"), answer)
        for name, (value, answer) in TEXTS.items()
        if name in COSTLY_TEXTS
    }
    | {
        "as many values as are allowed, each in a list": (
            lambda: IMAGE + b"[" + b"[0]," * 51_000 + b"[0]]}]}",
            MALFORMED,
        ),
        "as many long numbers among short ones as are allowed": (
            lambda: IMAGE + b"[" + (b"9" * 4299 + b"," + b"0," * 34) * 1400 + b"0]}]}",
            MALFORMED,
        ),
        "a long text among the pixels": (
            put((b'[["', b"\\u0001", b'"],0]'), MANY, before=IMAGE, after=b"}]}"),
            MALFORMED,
        ),
        "outputs": (lambda: b'{"inputs":[],"outputs":[' + b'{"name":"digit"},' * 50_000 + b"{}]}", MALFORMED),
        "inputs": (
            lambda: b'{"inputs":[' + b'{"name":"image","datatype":"","shape":[]},' * 12_000 + b"0]}",
            MALFORMED,
        ),
        "a long shape": (
            lambda: IMAGE.replace(b"[1,", b"[" + b"1.0," * 50_000) + b"[]}]}",
            MALFORMED,
        ),
        "a long number of pictures": (
            lambda: IMAGE.replace(b"[1,", b"[" + b"9" * 4299 + b",") + b"[]}]}",
            TOO_MANY,
        ),
        "a long id": (
            put((b'"', b"\\u0001", b'"'), MANY, before=b'{"inputs":[],"id":', after=b"}"),
            MALFORMED,
        ),
    }
)
V2: Final = (
    {
        name: Payload(INFER, lambda make=make: gzip.compress(make(), 1), answer, GZIP)  # type: ignore[misc]
        for name, (make, answer) in TENSORS.items()
    }
    | {
        f"{name}, not compressed": Payload(INFER, *TENSORS[name])
        for name in ("numbers", "long numbers", "a percent escape for each letter", "letters and an emoji")
    }
    | {
        "a bomb": Payload(INFER, lambda: gzip.compress(bytes(2**30), 1), (413, "body_too_large"), GZIP),
        "nulls, deflated": Payload(INFER, lambda: zlib.compress(bytes(MANY)), MALFORMED, DEFLATE),
        "Huffman codes for nothing": Payload(INFER, lambda: slow_deflate.make(MANY), MALFORMED, DEFLATE),
        "many members of gzip": Payload(INFER, lambda: fill(MANY, gzip.compress(b"")), MALFORMED, GZIP),
        "a long name in the head of gzip": Payload(
            INFER, lambda: fill(MANY, b"a", before=b"\x1f\x8b\x08\x08\0\0\0\0\0\3"), MALFORMED, GZIP
        ),
        "lengths of elements": Payload(
            INFER,
            lambda: (
                (PICTURE % (64, b"parameters") + b'{"binary_data_size":33000000}}]}').ljust(200)
                + struct.pack("<I", 0) * (33_000_000 // 4)
            ),
            MALFORMED,
            {"Inference-Header-Content-Length": "200"},
        ),
    }
)

FORM: Final = {"Content-Type": "multipart/form-data; boundary=b"}
END: Final = b"\r\n--b--\r\n"
FOLDED: Final = b"\r\nX: a" + b"\r\n a" * 2000  # a header in 2,000 lines


def make_rows(side: int, number: bytes) -> bytes:
    """Return a picture of as many rows and columns, all of one number."""
    row = b"[" + b",".join([number] * side) + b"]"
    return b'{"image":[' + b",".join([row] * side) + b"]}"


def part(name: str, headers: bytes = b"") -> bytes:
    """Return the head of a part."""
    disposition = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a"'
    return disposition.encode() + headers + b"\r\n\r\n"


# What is repeated, and what stands before and after it, for a field of that name.
FORMS: Final[dict[str, tuple[Callable[[str], Value], Answer]]] = {
    "parts": (lambda name: (b"", part(name) + b"\r\n", END), MALFORMED),
    "parts of other names": (lambda _: (b"", part("x") + b"\r\n", END), MALFORMED),
    "headers": (lambda name: (part(name)[:-2], b"X: a\r\n", b""), MALFORMED),
    "a long header": (lambda name: (part(name)[:-2] + b"X:", b"x", b""), MALFORMED),
    "a header in many lines": (lambda name: (part(name)[:-4], b"\r\n a", b""), MALFORMED),
    "headers in many lines": (lambda name: (b"", part(name, FOLDED * 7) + b"\r\n", END), MALFORMED),
    "quotes that do not end": (lambda _: (b"", part("x", b';a="\\' * 800) + b"\r\n", END), MALFORMED),
    "false boundaries": (lambda _: (b"", b"--b", b""), MALFORMED),
    "false boundaries in a part": (lambda name: (part(name), b"\r\n--bb", END), MALFORMED),
    "beginnings of boundaries": (lambda name: (part(name), b"\r\n--", END), NO_PICTURE),
    "beginnings of a first boundary": (lambda _: (b"", b"\r\n-", END), MALFORMED),
    "nulls": (lambda _: (b"", b"\0", b""), MALFORMED),
}
FORMS_OF_ONE: Final = {
    name: Payload("/feedback?digit=7", put(value("file"), ONE, before=b"", after=b""), answer, FORM)
    for name, (value, answer) in FORMS.items()
}
FORMS_OF_MANY: Final = {
    name: Payload(
        "/predict/batch",
        put(value("files"), MANY, before=b"", after=b""),
        {"parts": TOO_MANY, "beginnings of boundaries": FINE}.get(name, answer),
        FORM,
    )
    for name, (value, answer) in FORMS.items()
}
OTHERS: Final = {
    "a long right digit": Payload(
        "/feedback", put((part("file") + b"x\r\n" + part("digit"), b"7", END), ONE, before=b"", after=b""),
        MALFORMED, FORM,
    ),
    "white space where a picture should be": Payload(
        "/predict", lambda: b" " * ONE, NO_PICTURE, {"Content-Type": "image/png"}
    ),
}  # fmt: skip
# as many numbers as are allowed, and one more
PIXELS: Final = {
    "whole numbers": Payload(
        "/predict/number", lambda: make_rows(512, b"200"), (422, "no_ink"), JSON
    ),
    "long fractions": Payload(
        "/predict/number", lambda: make_rows(512, b"0.1234567890123456789012345678"), (422, "no_ink"), JSON
    ),
    "too many": Payload("/predict", lambda: make_rows(1500, b"1"), MALFORMED, JSON),
    "too many rows": Payload(
        "/predict", lambda: fill(MEBIBYTE, b"[1],", before=b'{"image":[', after=b"[1]]}"), MALFORMED, JSON
    ),
}  # fmt: skip
FRACTIONS: Final = b"[" + b",".join([b"0." + b"1" * 100] * 784) + b"]"
TENSORFLOW: Final = {
    "single numbers in lists": Payload(
        INSTANCES,
        lambda: fill(64 * 784 * 4, b"[1],", before=b'{"instances":[', after=b"[1]]}"),
        (422, None),
        JSON,
    ),
    "64 pictures of long fractions, the last too large": Payload(
        INSTANCES,
        lambda: b'{"instances":[' + b",".join([*[FRACTIONS] * 63, FRACTIONS.replace(b"0.", b"1.")]) + b"]}",
        (400, None),
        JSON,
    ),
    "spaces": Payload(INSTANCES, lambda: b" " * MANY, (400, None), JSON),
}  # fmt: skip
GROUPS: Final = {
    "predict": PREDICT,
    "batch": BATCH,
    "number": NUMBER,
    "feedback": FEEDBACK,
    "repository": REPOSITORY,
    "v2": V2,
    "form of one": FORMS_OF_ONE,
    "form of many": FORMS_OF_MANY,
    "other": OTHERS,
    "pixels": PIXELS,
    "tensorflow serving": TENSORFLOW,
}
PAYLOADS: Final = {
    f"{group}: {name}": payload for group, payloads in GROUPS.items() for name, payload in payloads.items()
}


@dataclass(frozen=True)
class Service:
    """A process that serves, and how much memory it held when it began to."""

    process: Process
    megabytes: float

    def send(self, payload: Payload) -> httpx.Response:
        """Send over a connection of its own, so that several threads can."""
        address = self.process.client.base_url.join(payload.path)
        headers = payload.headers | {"X-API-Key": KEY}
        return httpx.post(address, content=payload.make(), headers=headers, timeout=PATIENCE)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a key that keeps pictures, at its default limits."""
    file = tmp_path_factory.mktemp("feedback") / "pictures.db"
    with pytest.MonkeyPatch.context() as environment:
        # glibc gives freed blocks back at once: what a process holds is what its requests hold
        environment.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
        yield from _serve(file)


def _serve(file: Path) -> Iterator[Service]:
    patient = {"read_timeout": "3600", "request_timeout": "3600"}  # on a busy machine, too
    with start_process(
        api_keys=KEY, feedback_url=f"sqlite:///{file}", log_level="error", **patient
    ) as running:
        picture = (GOLDEN / "7-photo.jpg").read_bytes()
        headers = {"Content-Type": "image/jpeg", "X-API-Key": KEY}
        assert running.client.post("/feedback?digit=7", content=picture, headers=headers).status_code == 201
        yield Service(running, read_megabytes(running.popen.pid))


def read_loop_seconds(pid: int) -> float:
    """Return the processor time of a process' first thread, which runs the event loop."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_gets_its_exact_answer_within_the_bounds(service: Service, name: str) -> None:
    payload, pid = PAYLOADS[name], service.process.popen.pid

    def read_kept_megabytes() -> float:
        return read_megabytes(pid) - service.megabytes

    assert service.process.ready() == 200  # and so the event loop has finished the request before
    wait_until(lambda: read_kept_megabytes() < KEPT_MEGABYTES)  # its thread may still hold the body
    loop, kept = read_loop_seconds(pid), read_kept_megabytes()
    with measure_cost(pid) as cost:
        answer = service.send(payload)
    status, code = payload.answer
    assert answer.status_code == status, answer.text[:1000]
    assert payload.path in {INFER, INSTANCES} or answer.json().get("code", code) == code
    assert len(answer.content) < 2000  # no mirror of what was sent
    assert cost.seconds < SECONDS
    assert read_loop_seconds(pid) - loop < LOOP_SECONDS
    assert kept + cost.megabytes < MEGABYTES


WORST_PAYLOADS: Final = (
    "batch: a percent escape for each letter",
    "v2: as many long numbers among short ones as are allowed",
    "v2: spaces",
    "v2: Huffman codes for nothing",
)


def test_health_checks_are_answered_during_the_worst_payloads(service: Service) -> None:
    pid = service.process.popen.pid
    loop = read_loop_seconds(pid)
    with ThreadPoolExecutor(len(WORST_PAYLOADS)) as clients:
        answers = [clients.submit(service.send, PAYLOADS[name]) for name in WORST_PAYLOADS]
        checks = 0
        while not all(answer.done() for answer in answers):
            assert service.process.client.get("/health/live").status_code == 200
            checks += 1
            time.sleep(0.01)
    assert [answer.result().status_code for answer in answers] == [
        PAYLOADS[name].answer[0] for name in WORST_PAYLOADS
    ]
    # the checks, a millisecond each, are the loop's work as well
    assert read_loop_seconds(pid) - loop < LOOP_SECONDS * len(WORST_PAYLOADS) + checks / 100
