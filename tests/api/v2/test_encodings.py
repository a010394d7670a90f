from __future__ import annotations

import gzip
import random
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.v2 import encodings
from app.settings import MEBIBYTE
from app.wire.problems import BodyTooLarge, MalformedRequest, UnsupportedMediaType
from tests.api.v2 import slow_deflate

Coding = Callable[[bytes], bytes]
CODINGS: dict[str, tuple[Coding, Coding]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
}


@pytest.mark.parametrize("coding", CODINGS)
@given(data=st.binary(max_size=2000))
def test_it_agrees_with_the_standard_library(coding: str, data: bytes) -> None:
    pack, unpack = CODINGS[coding]
    assert encodings.decompress(pack(data), coding, max_bytes=2000) == data
    assert unpack(encodings.compress(data, coding)) == data


@pytest.mark.parametrize("coding", CODINGS)
@given(data=st.binary(max_size=100))
def test_arbitrary_bytes_are_refused(coding: str, data: bytes) -> None:
    with pytest.raises(MalformedRequest):
        encodings.decompress(data, coding, max_bytes=100)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_decompression_bomb_is_not_unpacked(coding: str) -> None:
    pack, _ = CODINGS[coding]
    bomb = pack(bytes(1_000_001))
    assert len(bomb) < 1100
    with pytest.raises(BodyTooLarge, match="more than 1000000 bytes"):
        encodings.decompress(bomb, coding, max_bytes=1_000_000)
    assert encodings.decompress(bomb, coding, max_bytes=1_000_001) == bytes(1_000_001)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(lambda packed: packed[:-1], "is cut off"), (lambda packed: 2 * packed, "has bytes after its end")],
)
@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_is_cut_off_or_has_bytes_after_its_end_is_refused(
    coding: str, change: Coding, reason: str
) -> None:
    pack, _ = CODINGS[coding]
    with pytest.raises(MalformedRequest, match=reason):
        encodings.decompress(change(pack(b"a body")), coding, max_bytes=1000)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("more", [-100, -1, 0, 1, 100])
def test_a_body_longer_than_a_step_is_unpacked_completely(coding: str, more: int) -> None:
    pack, _ = CODINGS[coding]
    chance = random.Random(0)
    data = chance.randbytes(3 * encodings.STEP_BYTES + more)  # which no coding makes shorter
    packed = pack(data)
    assert encodings.decompress(packed, coding, max_bytes=len(data)) == data
    for end in (
        packed[: encodings.STEP_BYTES],
        packed[:-1],
        packed + b"x",
        packed + bytes(2 * encodings.STEP_BYTES),
    ):
        with pytest.raises(MalformedRequest):
            encodings.decompress(end, coding, max_bytes=len(data))
    with pytest.raises(BodyTooLarge):
        encodings.decompress(packed, coding, max_bytes=len(data) - 1)


def test_a_stream_that_takes_too_long_to_unpack_is_refused() -> None:
    stream = slow_deflate.make(64 * MEBIBYTE)
    started = time.thread_time()
    with pytest.raises(MalformedRequest, match=r"took more than 0\.5 s|is cut off"):
        encodings.decompress(stream, "deflate", max_bytes=MEBIBYTE)
    assert time.thread_time() - started < 1


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd", "x" * 1000])
def test_other_codings_are_refused(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        encodings.decompress(b"", coding, max_bytes=1)


@pytest.mark.parametrize("coding", ["", "identity", "IDENTITY"])
def test_without_a_coding_the_body_stays_as_it_is(coding: str) -> None:
    assert encodings.decompress(b"as it is", coding, max_bytes=1) == b"as it is"


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, deflate;q=0.5", "deflate"),
        ("gzip;q=0.000, *", "deflate"),
        ("br, GZIP ; q=1.0", "gzip"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("br", None),
        ("identity", None),
        ("gzip;level=9", None),
    ],
)
def test_an_answer_has_the_coding_that_the_client_accepts(header: str, coding: str | None) -> None:
    assert encodings.choose_encoding(header) == coding
