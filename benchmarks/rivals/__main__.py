"""Reads labelled pictures with the service and with PP-OCR: `make bench-rivals ARGS="FOLDER…"`.

A folder holds sets as `training.data.real_sets` describes them, or cases (`benchmarks.rivals.sets`). Prints,
for each set and reader, how many pictures were read right as a whole, how many were read wrong with a
confidence of at least 0.9, and the median of the processor time for one picture. Digits are compared, not
signs or line breaks. Everything runs in this process, with one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from app.digits.catalogue import Catalogue
from benchmarks.figures import print_table
from benchmarks.rivals import pp_ocr
from benchmarks.rivals.readers import Reader, build_service_readers
from benchmarks.rivals.score import SURE, Score, measure
from benchmarks.rivals.sets import choose_pictures, load_sets
from training.data.real_sets import UploadSet

MODELS: Final = Path("models")
Scores: TypeAlias = Mapping[str, Mapping[str, Score]]  # set → reader → score
FIGURES: Final[Mapping[str, Callable[[Score], str]]] = {
    "right as a whole": lambda score: f"{score.right} ({score.right / score.pictures:.1%})",
    f"wrong with confidence {SURE} or more": lambda score: str(score.surely_wrong),
    "milliseconds of processor time, median": lambda score: f"{score.cpu_ms:.1f}",
}


def main() -> None:
    """Read everything, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.rivals")
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="a folder of sets of pictures"
    )
    parser.add_argument("--only", nargs="+", metavar="SET", help="names of sets (default: all)")
    parser.add_argument("--limit", type=int, metavar="N", help="choose N pictures of each set at random")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    arguments = parser.parse_args()
    sets = _load_all(arguments.folders, only=arguments.only, limit=arguments.limit)
    try:
        rivals = pp_ocr.build_readers()
    except ModuleNotFoundError as error:
        sys.exit(f"{error}: `make bench-rivals` runs this in .venv-rivals, where PP-OCR is installed.")
    readers = [*build_service_readers(Catalogue.load(MODELS, default="cnn")), *rivals]
    scores = {upload_set.name: _read_with_all(upload_set, readers) for upload_set in sets}
    print_tables(scores, [reader.name for reader in readers])
    if arguments.json:
        arguments.json.write_text(json.dumps(describe(scores), indent=2) + "\n")


def _load_all(folders: Sequence[Path], *, only: Sequence[str] | None, limit: int | None) -> list[UploadSet]:
    sets = []
    for folder in folders:
        loaded, skipped = load_sets(folder)
        sets += [choose_pictures(each, limit) for each in loaded if only is None or each.name in only]
        for name, reason in skipped.items():
            print(f"{name} is skipped: {reason}", file=sys.stderr)
    if not sets:
        sys.exit("There are no pictures of digits to read.")
    return sets


def _read_with_all(upload_set: UploadSet, readers: Sequence[Reader]) -> dict[str, Score]:
    scores = {}
    for reader in readers:
        if reader.suits(upload_set):
            scores[reader.name] = measure(reader.read, upload_set)
            print(f"{upload_set.name}: {reader.name}: {scores[reader.name]}", file=sys.stderr, flush=True)
    return scores


def print_tables(scores: Scores, readers: Sequence[str]) -> None:
    """Print a table for each figure, with a row for each set and a column for each reader."""
    for figure, format_score in FIGURES.items():
        print()
        print_table(
            (figure, "pictures", *readers),
            (
                (
                    name,
                    str(next(iter(by_reader.values())).pictures),
                    *(format_score(by_reader[each]) if each in by_reader else "" for each in readers),
                )
                for name, by_reader in scores.items()
            ),
        )


def describe(scores: Scores) -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores as JSON has them."""
    return {
        name: {reader: dataclasses.asdict(score) for reader, score in by_reader.items()}
        for name, by_reader in scores.items()
    }


if __name__ == "__main__":
    main()
