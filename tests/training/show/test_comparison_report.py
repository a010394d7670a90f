from __future__ import annotations

import io

from rich.console import Console

from training.judge.comparison import Comparison
from training.show import comparison_report


def print_report(compared: Comparison) -> list[str]:
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(*comparison_report.build_report(compared))
    return console.export_text().splitlines()


def cells(lines: list[str], first: str) -> list[str]:
    """Return the cells of the row that begins so."""
    return next(
        row[1:-1]
        for row in ([cell.strip() for cell in line.split("│")] for line in lines)
        if row[1:2] == [first]
    )


def test_the_report_says_what_changed(compared: Comparison) -> None:
    lines = print_report(compared)
    assert "on 7 pictures of mine" in lines[0]
    assert cells(lines, "recipe") == ["recipe", "0.0.1", "0.0.2", ""]
    assert cells(lines, "accuracy") == ["accuracy", "42.86%", "42.86%", "+0.00%"]
    assert cells(lines, "parameters") == ["parameters", "7,850", "8,000", "+150"]
    assert cells(lines, "multiply-adds") == ["multiply-adds", "7,840", "7,840", "+0"]
    assert cells(lines, "digits rejected") == ["digits rejected", "", "100.00%", ""]
    assert cells(lines, "AUROC of that") == ["AUROC of that", "", "0.5000", ""]
    assert all(float(cell) > 0 for cell in cells(lines, "microseconds")[1:3])


def test_the_report_says_where_they_disagree_and_whether_it_is_chance(compared: Comparison) -> None:
    lines = print_report(compared)
    assert cells(lines, "3") == ["3", "3", "·", "2", "1", "·"]
    assert cells(lines, "9") == ["9", "1", "·", "·", "·", "1"]
    assert cells(lines, "photos") == ["photos", "3", "·", "2", "1", "·"]
    assert cells(lines, "scans") == ["scans", "4", "1", "·", "1", "2"]
    assert cells(lines, "all") == ["all", "7", "1", "2", "2", "2"]
    assert any(line.startswith("2 uploads are refused") for line in lines)
    assert "p = 1.0000" in " ".join(lines)
