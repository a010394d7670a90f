"""`make bench ARGS=--check`: noise passes, a slower service does not."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.__main__ import FLOORS, KeyPath, check

PATH: KeyPath = ("batch", "over the loop")


def build_results(factor: float, path: KeyPath | None = None) -> dict[str, Any]:
    """Return results whose ratios are their floors, but `factor` times as high at `path`."""
    results: dict[str, Any] = {}
    for keys, floor in FLOORS.items():
        *outer, last = keys
        inner = results
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = floor * factor if keys == path else floor
    return results


def test_ratios_at_their_floors_are_not_measured_again() -> None:
    check(build_results(1.0), {})


@pytest.mark.parametrize("path", FLOORS, ids=" / ".join)
def test_what_is_low_once_is_measured_again(path: KeyPath, capsys: pytest.CaptureFixture[str]) -> None:
    name = path[0]
    check(build_results(0.9, path), {name: lambda: build_results(1.0)[name]})
    assert " / ".join(path) in capsys.readouterr().out


def test_what_stays_low_fails() -> None:
    low = build_results(0.9, PATH)
    with pytest.raises(SystemExit, match=" / ".join(PATH)):
        check(low, {PATH[0]: lambda: low[PATH[0]]})
