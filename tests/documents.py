"""Extracts blocks of code, commands and answers from pages, so that tests can execute them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx

from tests.conftest import ROOT

# without CHANGELOG.md, which also describes earlier versions
PAGES: Final = [
    str(file.relative_to(ROOT))
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *ROOT.glob("docs/*.md"))
]
ANYTHING: Final = "…"  # in an expected answer: a value that varies, or omitted members


def read_page(page: str) -> str:
    return (ROOT / page).read_text()


def find_blocks(page: str) -> list[tuple[str, str]]:
    """Return the language and the text of each block of code."""
    return re.findall(r"^```(\w+)\n(.*?)^```", read_page(page), re.DOTALL | re.MULTILINE)


def find_commands(page: str, start: str) -> list[str]:
    """Return the shell commands that begin with `start`, without comments."""
    lines = [line for language, block in find_blocks(page) if language == "sh" for line in block.splitlines()]
    return [line.partition(" # ")[0].strip() for line in lines if line.startswith(start)]


def pair_commands_with_answers(page: str) -> Iterator[tuple[str, Any]]:
    """Yield each curl command with the answer below it, or `ANYTHING` if there is none."""
    for (language, block), (next_language, next_block) in pairwise([*find_blocks(page), ("", "")]):
        if language == "sh" and block.startswith("curl "):
            yield block.strip(), json.loads(next_block) if next_language == "json" else ANYTHING


def run_curl(client: httpx.Client, command: str) -> Any:  # noqa: ANN401  JSON
    words = [
        word.replace("localhost:8000", str(client.base_url).rstrip("/")) for word in shlex.split(command)
    ]
    result = subprocess.run([*words, "--silent"], cwd=ROOT, capture_output=True, check=True)
    return json.loads(result.stdout)


def matches(expected: Any, actual: Any) -> bool:  # noqa: ANN401  JSON
    """Tell whether JSON is as expected. Floats may differ by 1e-5, as processors round differently."""
    if expected == ANYTHING:
        return True
    if isinstance(expected, float):
        return bool(abs(expected - actual) < 1e-5)
    if isinstance(expected, dict):
        keys = expected.keys() - {ANYTHING}
        omitted = actual.keys() - keys
        return (
            keys <= actual.keys()
            and bool(omitted) == (ANYTHING in expected)
            and all(matches(expected[key], actual[key]) for key in keys)
        )
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(map(matches, expected, actual))
    return bool(expected == actual)


def matches_text(expected: str, actual: str) -> bool:
    """Tell whether text is as expected. Percentages may differ by half a point."""
    percentage = re.compile(r"(\d+\.\d)%")
    values, others = (list(map(float, percentage.findall(text))) for text in (expected, actual))
    texts = {percentage.sub("%", text).strip() for text in (expected, actual)}
    return len(texts) == 1 and all(
        abs(value - other) <= 0.5 for value, other in zip(values, others, strict=True)
    )


def find_table(page: str, *columns: str) -> list[tuple[str, ...]]:
    """Return these columns of the table that begins with them."""
    _, _, rest = read_page(page).partition(f"| {' | '.join(columns)} |")
    assert rest, f"{page} has no table that begins with the columns {columns}"
    rows = re.match(r".*\n\|[ :|-]+\|\n((?:\|.*\n)+)", rest)
    assert rows
    cells = [row.strip("| ").split(" | ") for row in rows[1].splitlines()]
    return [tuple(cell.strip() for cell in row[: len(columns)]) for row in cells]


def has_link_target(page: str, target: str) -> bool:
    return ((ROOT / page).parent / Path(target)).exists()
