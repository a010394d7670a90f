"""Base64 as clients write it: what is meant is read, what was damaged on the way is named."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api import base64_text
from app.wire.problems import MalformedRequest

Write = Callable[[bytes], str]


def standard(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def indent(data: bytes) -> str:
    return base64.encodebytes(data).decode().replace("\n", "\r\n \t" + 12 * " ")


WAYS: dict[str, Write] = {
    "standard": standard,
    "without padding": lambda data: standard(data).rstrip("="),
    "URL-safe": url_safe,
    "URL-safe without padding": lambda data: url_safe(data).rstrip("="),
    "in lines": lambda data: base64.encodebytes(data).decode(),
    "in indented lines": indent,
    "in lines of one letter": lambda data: "\r\n".join(standard(data)),
    "between tabs": lambda data: "\t".join(standard(data)),
    "between blanks": lambda data: f" \n\t {standard(data)} \r\n ",
    "a data: URL": lambda data: f"data:image/png;base64,{standard(data)}",
    "a data: URL in capitals": lambda data: f"DATA:;BASE64,{standard(data)}",
    "a data: URL with blanks": lambda data: f" data:image/png;charset=utf-8; base64 ,\n{standard(data)}\n",
    "a percent-encoded data: URL": lambda data: f"data:;base64,{quote(standard(data), safe='')}",
    "a data: URL of escapes alone": lambda data: (
        "data:;base64," + "".join(f"%{ord(letter):02x}" for letter in standard(data))
    ),
    "a percent-encoded data: URL in lines": lambda data: (
        f"data:;base64,{quote(base64.encodebytes(data).decode(), safe='')}"
    ),
}


@pytest.mark.parametrize("way", WAYS)
@given(data=st.binary(max_size=300))
def test_every_way_to_write_base64_is_read(way: str, data: bytes) -> None:
    assert base64_text.decode(WAYS[way](data), "image") == data


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("more", [-4, -1, 0, 1, 2, 3, 5])
def test_text_longer_than_a_block_is_read(way: str, more: int) -> None:
    length = 3 * base64_text.BLOCK + more
    data = bytes(range(256)) * (length // 256) + bytes(length % 256)
    assert base64_text.decode(WAYS[way](data), "image") == data


@given(text=st.text("AZaz09+/-_=%4aF \n\t,;:", max_size=40))
def test_any_text_is_either_refused_or_decoded_completely(text: str) -> None:
    with suppress(MalformedRequest):
        data = base64_text.decode(text, "image")
        letters = re.sub(r"[\s=]", "", text.translate(str.maketrans("-_", "+/")))
        assert standard(data).rstrip("=")[:-1] == letters[:-1]  # the last one may have bits to spare
        assert len(data) == len(letters) * 3 // 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("iVBO Rw0K", "a space inside, where a '+' was probably lost"),
        ("iVBO\nRw 0K", "where a '+' was probably lost"),
        ("data:;base64,iVBO Rw0K", "where a '+' was probably lost"),
        ("data:;base64,iVBO%20Rw0K", "where a '+' was probably lost"),
        ("ab+/-_12", "mixes the standard alphabet"),
        ("ab-/", "mixes the standard alphabet"),
        ("AAAAA", "5 characters do not make whole bytes"),
        ("AAAA=", "more '=' at its end"),
        ("AA===", "more '=' at its end"),
        ("====", "more '=' at its end"),
        ("AA==AAAA", "the character '='"),
        ("AAA?", "the character '?'"),
        ("AAA\0", r"the character '\x00'"),
        ("AAÄA", "characters that are not ASCII"),
        ("AA\u0660A", "characters that are not ASCII"),
        ("data:image/png,AAAA", "does not say ;base64"),
        ("data:base64,AAAA", "does not say ;base64"),
        ("data:image/png;base64", "no comma"),
        ("data:;base64,%4", "a '%' that is not followed by two hexadecimal digits"),
        ("data:;base64,%zz", "a '%' that is not followed by two hexadecimal digits"),
        ("data:;base64,%%41", "a '%' that is not followed by two hexadecimal digits"),
        ("data:;base64,%2541A", "the character '%'"),
        ("data:;base64,%ffAAAA", "the character 'ÿ'"),
        ("%41%41%41%41", "the character '%'"),
    ],
)
def test_an_error_says_what_is_wrong_with_the_text(text: str, reason: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        base64_text.decode(text, "image")
    assert reason in caught.value.detail
    assert "data:image/png;base64." in caught.value.detail  # the remedy


@given(data=st.binary(min_size=1, max_size=300))
def test_a_plus_that_became_a_space_is_never_misread(data: bytes) -> None:
    text = standard(data)
    lost = text.replace("+", " ")
    if " " in lost.strip():
        with pytest.raises(MalformedRequest, match="a '\\+' was probably lost"):
            base64_text.decode(lost, "image")


def test_lines_may_be_indented_however_far() -> None:
    for width in (1, 31, 2 * base64_text.BLOCK):
        lines = f"\n{width * ' '}".join(["iVBORw0K", "GgoAAAAN"])
        assert base64_text.decode(lines, "image") == base64.b64decode("iVBORw0KGgoAAAAN")


@pytest.mark.parametrize("place", [-2, -1, 0, 1, 2])
def test_a_lost_plus_is_detected_at_any_block_boundary(place: int) -> None:
    letters = list("\n" + "A" * 2 * base64_text.BLOCK + "\n  AA")
    letters[base64_text.BLOCK + place] = " "
    with pytest.raises(MalformedRequest, match="probably lost"):
        base64_text.decode("A" + "".join(letters), "image")


def test_a_space_within_a_line_is_refused_however_the_lines_are_indented() -> None:
    lines = ["iVBORw0KGgo=" for _ in range(3)]
    lines[1] = lines[1].replace("V", " ")
    with pytest.raises(MalformedRequest, match="probably lost"):
        base64_text.decode("\n    ".join(lines), "image")
