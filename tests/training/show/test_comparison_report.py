from __future__ import annotations

import io

from rich.console import Console

from training.judge.comparison import Comparison
from training.show import comparison_report


def print_report(compared: Comparison) -> list[str]:
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(*comparison_report.build_report(compared))
    return console.export_text().splitlines()


def get_cells(lines: list[str], first: str) -> list[str]:
    """Return the cells of the row whose first cell is `first`."""
    return next(
        row[1:-1]
        for row in ([cell.strip() for cell in line.split("│")] for line in lines)
        if row[1:2] == [first]
    )


def test_the_report_shows_what_changed(compared: Comparison) -> None:
    lines = print_report(compared)
    assert "on 7 pictures of mine" in lines[0]
    assert get_cells(lines, "recipe") == ["recipe", "0.0.1", "0.0.2", ""]
    assert get_cells(lines, "accuracy") == ["accuracy", "42.86%", "42.86%", "+0.00%"]
    assert get_cells(lines, "parameters") == ["parameters", "7,850", "8,000", "+150"]
    assert get_cells(lines, "multiply-adds") == ["multiply-adds", "7,840", "7,840", "+0"]
    assert get_cells(lines, "digits rejected") == ["digits rejected", "", "100.00%", ""]
    assert get_cells(lines, "AUROC") == ["AUROC", "", "0.5000", ""]
    assert all(float(cell) > 0 for cell in get_cells(lines, "microseconds")[1:3])


def test_the_report_counts_disagreements_and_tests_their_significance(compared: Comparison) -> None:
    lines = print_report(compared)
    assert get_cells(lines, "3") == ["3", "3", "·", "2", "1", "·"]
    assert get_cells(lines, "9") == ["9", "1", "·", "·", "·", "1"]
    assert get_cells(lines, "photos") == ["photos", "3", "·", "2", "1", "·"]
    assert get_cells(lines, "scans") == ["scans", "4", "1", "·", "1", "2"]
    assert get_cells(lines, "all") == ["all", "7", "1", "2", "2", "2"]
    assert any(line.startswith("2 uploads are left out") for line in lines)
    assert "p = 1.0000" in " ".join(lines)
