"""Folders of labelled pictures → sets, each of single digits, of one line or of several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from training.data.real_sets import (
    LABELS,
    LINE_SEPARATOR,
    UploadSet,
    load_real_sets,
    read_table,
    read_upload,
)
from training.errors import DataError

COLUMNS: Final = ("file", "route", "expected")  # of a table of cases
SEED: Final = 17  # of the pictures that are chosen from a set


def load_sets(folder: Path) -> tuple[list[UploadSet], Mapping[str, str]]:
    """Read the sets in a folder that show digits; return also why others are skipped, by name.

    A set is what `training.data.real_sets` reads, or one of cases: a folder whose table has the columns file,
    route and expected. Of these, the pictures for each route are a set.
    """
    real, cases = load_real_sets(folder), dict(_read_cases(folder))
    skipped = {name: reason for name, reason in real.skipped.items() if name not in cases}
    sets = [*real.numbers, *(upload_set for each in cases.values() for upload_set in each), *real.digits]
    return [part for upload_set in sets for part in _split_by_lines(upload_set)], skipped


def _read_cases(folder: Path) -> Iterator[tuple[str, list[UploadSet]]]:
    """Yield the sets of each folder of cases, with its name."""
    for file in sorted(folder.glob(f"*/{LABELS}")):
        by_route = defaultdict(list)
        for row in _read_rows(file):
            label = row["expected"].replace(LINE_SEPARATOR, "\n")
            by_route[row["route"]].append((read_upload(file.parent / row["file"]), label))
        if by_route:
            sets = [_make_set(f"{folder.name} {route}", pairs) for route, pairs in by_route.items()]
            yield file.parent.name, sets


def _read_rows(file: Path) -> list[dict[str, str]]:
    """Return the rows of a table of cases; none of another table, or of one that can't be read."""
    with suppress(DataError):
        return [row for row in read_table(file) if all(row.get(column) for column in COLUMNS)]
    return []


def _split_by_lines(upload_set: UploadSet) -> Iterator[UploadSet]:
    """Yield the pictures of one line, then those of several."""
    if one := _select(upload_set, upload_set.name, lambda label: "\n" not in label):
        yield one
    if several := _select(upload_set, f"{upload_set.name}, several lines", lambda label: "\n" in label):
        yield several


def _select(upload_set: UploadSet, name: str, is_selected: Callable[[str], bool]) -> UploadSet:
    pairs = zip(upload_set.uploads, upload_set.labels, strict=True)
    return _make_set(name, [(upload, label) for upload, label in pairs if is_selected(label)])


def _make_set(name: str, pairs: list[tuple[bytes, str]]) -> UploadSet:
    return UploadSet(name, tuple(upload for upload, _ in pairs), tuple(label for _, label in pairs))


def choose_pictures(upload_set: UploadSet, limit: int | None) -> UploadSet:
    """Choose at most `limit` pictures at random, always the same ones."""
    if limit is None or limit >= len(upload_set):
        return upload_set
    chosen = sorted(np.random.default_rng(SEED).permutation(len(upload_set))[:limit])
    return _make_set(upload_set.name, [(upload_set.uploads[row], upload_set.labels[row]) for row in chosen])


def is_single_digits(upload_set: UploadSet) -> bool:
    """Tell whether every picture shows one digit."""
    return all(len(label) == 1 for label in upload_set.labels)


def is_single_line(upload_set: UploadSet) -> bool:
    """Tell whether every picture shows one line."""
    return not any("\n" in label for label in upload_set.labels)
