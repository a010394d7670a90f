from __future__ import annotations

from pathlib import Path

import pytest

from app.server.cores import count_cores


def test_without_a_quota_there_is_at_least_one_core(tmp_path: Path) -> None:
    assert count_cores(tmp_path / "none") >= 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("50000 100000", 1), ("100000 100000", 1), ("150000 100000", 2), ("9900000 100000", 99)],
)
def test_a_containers_quota_is_rounded_up_to_whole_cores(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert count_cores(tmp_path / "cpu.max") == min(expected, count_cores(tmp_path / "none"))


def test_a_container_without_a_quota_may_use_all_cores(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert count_cores(tmp_path / "cpu.max") == count_cores(tmp_path / "none")
