"""What the dearest picture of each format costs a real service: never more than is promised."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.api.costly_pictures import (
    HEIGHT,
    PALETTE,
    TRANSPARENCY,
    WIDTH,
    avif,
    bmp,
    chunk,
    first_scan,
    gif,
    heic,
    jpeg,
    png,
    refining_scan,
    tiff,
    webp,
)
from tests.api.v2.wire import body, picture_input
from tests.conftest import GOLDEN
from tests.costs import measure_cost, needs_proc
from tests.data.golden import photo
from tests.data.heif import build_grid, load_hevc
from tests.data.writing import draw_lines, encode_png
from tests.serving import Process, start_process

SECONDS: Final = 1.0  # of processor time
MEGABYTES: Final = 256 * 1e6 / 2**20  # beyond four bytes for each pixel
READ, BLANK, DAMAGED, COSTLY, MANY = "", "no_ink", "unreadable_image", "image_too_large", "batch_too_large"
PIXELS: Final = WIDTH * HEIGHT
BYTES: Final = {"Content-Type": "application/octet-stream"}
DIGIT: Final = (GOLDEN / "9-grey.png").read_bytes()
COMMENT: Final = b"!\xfe" + (b"\xff" + b"x" * 255) * 39_000 + b"\0"
BOMB: Final = zlib.compress(bytes(10**7), 9)
EXIF: Final = b"MM\0*" + struct.pack(">LH", 8, 65_535) + struct.pack(">HHLL", 0x0100, 5, 2**31, 0) * 65_535


def _with_chunks(chunks: bytes) -> bytes:
    return DIGIT[:33] + chunks + DIGIT[33:]


def _with_segments(segments: bytes) -> bytes:
    whole = (GOLDEN / "9-progressive.jpg").read_bytes()
    return whole[:2] + segments + whole[2:]


# Name → how it is made, its pixels, and what it may be answered with: what decodes in good time on one
# machine is given up on another.
FILES: Final[dict[str, tuple[Callable[[], bytes], int, set[str]]]] = {
    "a BMP of 134 bytes that declares 10,000,000x4, by run lengths": (
        lambda: bmp(8, compression=1, width=10_000_000, height=4, data=b"\1\0\0\0" * 18),
        PIXELS,
        {DAMAGED},
    ),
    "40 megapixels of BMP by run lengths": (
        lambda: bmp(8, compression=1, data=b"\1\0\0\0" * HEIGHT + b"\0\1"),
        PIXELS,
        {BLANK, COSTLY},
    ),
    "40 megapixels of BMP in one bit": (lambda: bmp(1, data=bytes(PIXELS // 8)), PIXELS, {BLANK}),
    "a progressive JPEG of 100 scans": (
        lambda: jpeg([first_scan(), *[refining_scan()] * 99]),
        PIXELS,
        {COSTLY},
    ),
    "a progressive JPEG of as many scans as are allowed": (
        lambda: jpeg([first_scan(), *[refining_scan()] * 18]),
        PIXELS,
        {BLANK, COSTLY},
    ),
    "a progressive JPEG of many scans that is decoded twice": (
        lambda: jpeg(
            [first_scan(width=4000, height=3000), *[refining_scan(width=4000, height=3000)] * 30],
            width=4000,
            height=3000,
        ),
        12_000_000,
        {BLANK, COSTLY},
    ),
    "a progressive JPEG of one scan, without subsampling": (
        lambda: jpeg([first_scan(3)], components=3),
        PIXELS,
        {BLANK},
    ),
    "a progressive JPEG without an end": (lambda: jpeg([first_scan()])[:-2], PIXELS, {BLANK}),
    "a grey PNG": (lambda: png(8, 0), PIXELS, {BLANK}),
    "a grey PNG in 16 bits": (lambda: png(16, 0), PIXELS, {BLANK, COSTLY}),
    "a PNG of one bit": (lambda: png(1, 0), PIXELS, {BLANK}),
    "a PNG in colour": (lambda: png(8, 2), PIXELS, {BLANK, COSTLY}),
    "a PNG in colour, of which one is transparent": (
        lambda: png(8, 2, extra=chunk(b"tRNS", bytes(6))),
        PIXELS,
        {BLANK, COSTLY},
    ),
    "a PNG with a palette and transparency": (
        lambda: png(8, 3, extra=PALETTE + TRANSPARENCY),
        PIXELS,
        {BLANK, COSTLY},
    ),
    "a PNG with alpha": (lambda: png(8, 6), PIXELS, {BLANK, COSTLY}),
    "an interlaced PNG with alpha": (lambda: png(8, 6, interlaced=True), PIXELS, {BLANK, COSTLY}),
    "a PNG with alpha in 16 bits": (lambda: png(16, 6), PIXELS, {COSTLY}),
    "a PNG of noise with alpha": (lambda: png(8, 6, noise=29_989), PIXELS, {READ, BLANK, COSTLY}),
    "a PNG as long and thin as can be": (
        lambda: png(8, 2, width=PIXELS // 4, height=4),
        PIXELS,
        {BLANK, COSTLY},
    ),
    "a PNG as high and thin as can be": (
        lambda: png(8, 2, width=4, height=PIXELS // 4),
        PIXELS,
        {BLANK, COSTLY},
    ),
    "a PNG of millions of chunks": (lambda: _with_chunks(chunk(b"tEXt", b"") * 800_000), 0, {DAMAGED}),
    "a PNG with texts that unpack to 10 GB": (
        lambda: _with_chunks(chunk(b"zTXt", b"k\0\0" + BOMB) * 900),
        0,
        {READ},
    ),
    "a PNG with EXIF of 65,535 entries": (lambda: _with_chunks(chunk(b"eXIf", EXIF)), 0, {READ}),
    "a JPEG of millions of comments": (lambda: _with_segments(b"\xff\xfe\0\2" * 2_400_000), 0, {DAMAGED}),
    "a JPEG of padding": (lambda: _with_segments(b"\xff" * 9_900_000), 0, {READ}),
    "a GIF": (gif, PIXELS, {BLANK}),
    "a GIF whose canvas is 40 megapixels": (
        lambda: gif(side=(16, 16), canvas=(WIDTH, HEIGHT)),
        PIXELS,
        {BLANK},
    ),
    "a GIF with a comment of 10 MB": (lambda: gif(side=(16, 16), before=COMMENT), 256, {DAMAGED, BLANK}),
    "a TIFF of a fax": (lambda: tiff("1", "group4"), PIXELS, {BLANK, COSTLY}),
    "a TIFF in colour": (lambda: tiff("RGB", "tiff_lzw"), PIXELS, {BLANK, COSTLY}),
    "a TIFF in colour of 25,000 strips": (
        lambda: tiff("RGB", "tiff_adobe_deflate", size=(1600, 25_000), rows=1),
        PIXELS,
        {BLANK, COSTLY},
    ),
    "a TIFF with alpha": (lambda: tiff("RGBA", "tiff_lzw", size=(6000, 5000)), 30_000_000, {BLANK, COSTLY}),
    "a TIFF of JPEGs": (lambda: tiff("RGB", "jpeg", rows=16), PIXELS, {BLANK, COSTLY}),
    "a HEIC of 12 megapixels, as phones save it": (lambda: heic("white-tile", 8, 6), 12_582_912, {BLANK}),
    "a HEIC of as many costly tiles as are allowed": (
        lambda: heic("costly-tile", 9, 7),
        16_515_072,
        {BLANK, READ, COSTLY},
    ),
    "a HEIC of 40 megapixels": (lambda: heic("white-tile", 14, 10), 36_700_160, {COSTLY}),
    "a HEIC of small tiles": (
        lambda: build_grid([load_hevc("9-tile-4")] * 1_024, 32, (2_048, 2_048)),
        4_194_304,
        {BLANK, COSTLY},
    ),
    "an AVIF": (lambda: avif("RGB", (WIDTH, HEIGHT)), PIXELS, {COSTLY}),
    "an AVIF of as many pixels as are allowed": (lambda: avif("RGB", (5_500, 4_200)), 23_100_000, {BLANK}),
    "an AVIF with alpha": (lambda: avif("RGBA", (4_000, 2_900)), 11_600_000, {BLANK, COSTLY}),
    "a WebP": (lambda: webp(WIDTH, HEIGHT), PIXELS, {COSTLY}),
    "a WebP of as many pixels as are allowed": (lambda: webp(4400, 4200), 18_480_000, {BLANK}),
}


@pytest.fixture(scope="module")
def service() -> Iterator[Process]:
    with start_process(log_level="error") as running:  # nobody reads the log here, and pipes get full
        for path in ("/predict", "/predict/number"):
            assert running.client.post(path, content=DIGIT, headers=BYTES).status_code == HTTPStatus.OK
        yield running


def _code(answer: httpx.Response) -> str:
    return READ if answer.status_code == HTTPStatus.OK else str(answer.json()["code"])


@needs_proc
@pytest.mark.parametrize("name", FILES)
def test_the_costliest_picture_of_each_format_costs_no_more_than_promised(
    name: str, service: Process
) -> None:
    make, pixels, codes = FILES[name]
    picture = make()
    assert len(picture) < 10 * 2**20
    for path in ("/predict", "/predict/number") if READ in codes else ("/predict",):
        with measure_cost(service.popen.pid) as cost:
            answer = service.client.post(path, content=picture, headers=BYTES)
        assert _code(answer) in codes, answer.text
        assert answer.status_code in {HTTPStatus.OK, HTTPStatus.UNPROCESSABLE_ENTITY}
        assert cost.seconds <= SECONDS, path
        assert cost.megabytes <= MEGABYTES + 4 * pixels / 2**20, path


@needs_proc
def test_a_page_full_of_digits_costs_no_more_than_promised(service: Process) -> None:
    page = encode_png(draw_lines(*["4071825369" * 3] * 20, height=24))
    with measure_cost(service.popen.pid) as cost:
        answer = service.client.post("/predict/number?view=true", content=page, headers=BYTES)
    assert answer.status_code == HTTPStatus.OK
    assert len(answer.json()["digits"]) > 100
    assert cost.seconds <= SECONDS
    assert cost.megabytes <= MEGABYTES


@needs_proc
def test_a_batch_costs_no_more_than_promised_and_says_which_pictures_are_too_many(service: Process) -> None:
    files = [("files", DIGIT), *[("files", png(8, 0))] * 60]
    with measure_cost(service.popen.pid) as cost:
        answer = service.client.post("/predict/batch", files=files)
    assert answer.status_code == HTTPStatus.OK
    codes = [row["problem"]["code"] if row["problem"] else READ for row in answer.json()["results"]]
    assert codes[0] == READ
    assert codes[1:].count(BLANK) >= 1
    assert codes[1:].count(BLANK) + codes.count(MANY) == 60
    refused = answer.json()["results"][-1]["problem"]
    assert refused["limit"] == 800
    assert "Send it in another batch." in refused["detail"]
    assert cost.seconds <= SECONDS
    assert cost.megabytes <= MEGABYTES + 4 * PIXELS / 2**20


@needs_proc
def test_a_tensor_of_pictures_costs_no_more_than_promised(service: Process) -> None:
    content, headers = body(picture_input([DIGIT, *[png(8, 0)] * 60], binary=True))
    with measure_cost(service.popen.pid) as cost:
        answer = service.client.post("/v2/models/cnn/infer", content=content, headers=headers)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert cost.seconds <= SECONDS
    assert cost.megabytes <= MEGABYTES + 4 * PIXELS / 2**20


def test_a_broken_picture_does_not_affect_others_in_its_batch(service: Process) -> None:
    broken = [DIGIT[:60], png(8, 3, width=28, height=28), b"", FILES["a WebP"][0](), b"text"]
    files = [("files", data) for data in (DIGIT, *broken, DIGIT)]
    results = service.client.post("/predict/batch", files=files).json()["results"]
    assert [row["problem"] and row["problem"]["status"] for row in results] == [
        None, 422, 422, 422, 422, 415, None,
    ]  # fmt: skip


def test_a_batch_of_phone_photos_is_read(service: Process) -> None:
    small = photo(7, (1008, 756), (300, 120, 300, 500), seed=1)
    file = io.BytesIO()
    small.resize((4032, 3024)).save(file, "JPEG", quality=90)
    answer = service.client.post("/predict/batch", files=[("files", file.getvalue())] * 6)
    assert [row["prediction"] and row["prediction"]["digit"] for row in answer.json()["results"]] == [7] * 6


TINY: Final = (GOLDEN / "1-eight-pixels.png").read_bytes()
_SMALL_SCAN: Final = first_scan(width=300, height=300)
_SMALL_REFINEMENT: Final = refining_scan(width=300, height=300)
SMALL_BUT_SLOW: Final[dict[str, Callable[[], bytes]]] = {
    "100 scans of 300x300": lambda: jpeg([_SMALL_SCAN, *[_SMALL_REFINEMENT] * 99], width=300, height=300),
    "50 KB of empty segments": lambda: _with_segments(b"\xff\xfe\0\2" * 12_000),
    "a photograph": (GOLDEN / "4-photo-exif-6.jpg").read_bytes,
}


@needs_proc
@pytest.mark.parametrize("name", SMALL_BUT_SLOW)
def test_a_small_file_that_takes_long_does_not_block_the_event_loop(name: str, service: Process) -> None:
    # a machine may be slow, and coverage measured: the smallest picture takes as many times as long then
    assert _measure_event_loop(service, SMALL_BUT_SLOW[name]()) < 4 * _measure_event_loop(service, TINY)


def _measure_event_loop(service: Process, picture: bytes) -> float:
    before = _event_loop_seconds(service)
    for _ in range(50):
        service.client.post("/predict", content=picture, headers=BYTES)
    return _event_loop_seconds(service) - before


def _event_loop_seconds(service: Process) -> float:
    """Return the processor time of the main thread, in which the event loop runs."""
    pid = service.popen.pid
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by prlimit(2)")
def test_a_picture_is_not_called_corrupt_if_memory_runs_out() -> None:
    import resource  # noqa: PLC0415  is not there on Windows

    pictures = {"PNG": png(8, 2), "JPEG": jpeg([first_scan(3)], components=3), "WebP": webp(4400, 4200)}
    with start_process(log_level="error") as running:
        assert running.client.post("/predict", content=DIGIT, headers=BYTES).status_code == HTTPStatus.OK
        pid = running.popen.pid
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + 50 * 10**6, resource.RLIM_INFINITY))
        for name, picture in pictures.items():
            answer = running.client.post("/predict", content=picture, headers=BYTES)
            assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE, name
            assert answer.json()["code"] == "overloaded"
        files = [("files", data) for data in (DIGIT, pictures["PNG"], DIGIT)]
        rows = running.client.post("/predict/batch", files=files).json()["results"]
        assert [row["problem"] and row["problem"]["code"] for row in rows] == [None, "overloaded", None]
        resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for name, picture in pictures.items():
            # a busy machine may not decode as many pixels in the time that it has
            code = _code(running.client.post("/predict", content=picture, headers=BYTES))
            assert code in {BLANK, "image_too_large"}, name
