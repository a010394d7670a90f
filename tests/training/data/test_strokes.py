from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.drawn import make_sample, make_strokes
from training.data import strokes
from training.data.strokes import Sample, StrokeSamples, Writer, find_fault
from training.errors import DataError

SOMEBODY = Writer("unipen", 1)
RNG = np.random.default_rng(0)


def recorded(label: str, *lines: list[tuple[int, int]], size: float = 1.0) -> Sample:
    kind = "digit" if label.isdigit() else "lower" if label.isalpha() else "symbol"
    return Sample(label, kind, SOMEBODY, tuple(np.array(line, np.float32) for line in lines), size, 0.0)


EIGHT = [(400, 500), (0, 250), (400, 0), (700, 250), (400, 500), (0, 750), (400, 1000), (700, 750)]


@pytest.mark.parametrize(
    ("sample", "fault"),
    [
        (recorded("8", EIGHT), None),
        (recorded("8", [(x // 3, y // 3) for x, y in EIGHT]), "tiny digit"),
        (recorded("7", [(0, 0), (300, 500)]), "too little ink"),
        (recorded("8", EIGHT, size=0.3), "size unlike the writer's other digits"),
        (recorded("8", *[EIGHT] * 6), "more than five strokes"),
        (recorded("1", [(0, 0), (1000, 200)]), "1 that lies on its side"),
        (recorded("4", [(0, 0), (50, 1000)]), "bar that is labelled as no 1"),
        (recorded("2", [(0, 0), (1000, 300), (0, 300)]), "more than twice as wide as high"),
        (recorded("8", [*EIGHT, (700, 1000), (0, 0)]), "pen that jumped"),
        (recorded("a", [(0, 0), (100, 300)]), "tiny letter"),
        (recorded(".", [(0, 0), (9, 9)], size=1.4), "dot as large as a digit"),
        (recorded(".", [(0, 0), (9, 9)], size=0.1), None),
    ],
)
def test_bad_samples_are_left_out_with_a_reason(sample: Sample, fault: str | None) -> None:
    assert find_fault(sample) == fault
    samples = StrokeSamples()
    samples.add(sample)
    assert samples.count == (fault is None)
    assert samples.dropped == Counter([fault] if fault else [])


def test_a_digit_stands_on_the_line_and_is_about_one_high() -> None:
    points = np.concatenate(recorded("8", EIGHT).scale())
    assert points.min(axis=0).tolist() == [0, -1]
    assert points[:, 1].max() == pytest.approx(0, abs=1e-6)


def test_a_comma_is_small_and_hangs_below_the_line() -> None:
    comma = replace(recorded(",", [(4, 0), (0, 9)]), size=float("nan"), bottom=float("nan"))
    points = np.concatenate(comma.scale())
    assert np.ptp(points[:, 1]) == pytest.approx(0.4)
    assert points[:, 1].max() == pytest.approx(0.3)


def test_no_hand_outvotes_the_others() -> None:
    samples = make_strokes(writers=2)
    for _ in range(198):  # writer 0 now has a hundred times what writer 1 has
        samples.add(make_sample("3", Writer("unipen", 0), RNG))
    shown: Counter[int] = Counter()
    for one in (samples.pick("3", RNG) for _ in range(400)):
        shown[any(one is own for own in samples.list_samples("3", Writer("unipen", 1)))] += 1
    assert 15 < shown[True] < 85  # a root of a hundredth: 1 in 11; by samples it would be 1 in 101


def test_a_writer_keeps_to_his_own_hand() -> None:
    samples = make_strokes()
    writer = samples.pick_writer(RNG)
    own = samples.list_samples("5", writer)
    picked = [samples.pick("5", RNG, writer=writer) for _ in range(20)]
    assert all(any(pick is one for one in own) for pick in picked)


def test_the_split_is_by_writer_and_never_moves() -> None:
    held_out = [number for number in range(60) if Writer("unipen", number).is_held_out]
    assert held_out == [0, 5, 13, 26, 34, 39, 47]


def write_file(folder: Path, source: str, samples: list[Sample]) -> None:
    lines = [line for sample in samples for line in sample.lines]
    np.savez(
        folder / f"{source}.npz",
        points=np.concatenate(lines).astype(np.int16),
        stroke_starts=np.cumsum([0, *map(len, lines)]),
        sample_starts=np.cumsum([0, *(len(sample.lines) for sample in samples)]),
        label=np.array([sample.label for sample in samples]),
        kind=np.array([sample.kind for sample in samples]),
        writer=np.array([sample.writer.number for sample in samples]),
        size=np.array([sample.size for sample in samples], np.float16),
        bottom=np.array([sample.bottom for sample in samples], np.float16),
    )


def test_files_are_read_screened_and_split(tmp_path: Path) -> None:
    for source in strokes.SOURCES:
        samples = [replace(recorded("8", EIGHT), writer=Writer(source, number)) for number in range(60)]
        write_file(tmp_path, source, [*samples, recorded("7", [(0, 0), (300, 500)])])
    split = strokes.load(tmp_path)
    assert split.training.writers.isdisjoint(split.validation.writers)
    assert split.training.count + split.validation.count == 120
    assert all(writer.is_held_out for writer in split.validation.writers)
    assert split.training.dropped + split.validation.dropped == {"too little ink": 2}


def test_most_slashed_zeros_are_left_out(tmp_path: Path) -> None:
    slashed = [recorded("0", EIGHT, [(0, 0), (700, 1000)]) for _ in range(10)]
    for source in strokes.SOURCES:
        write_file(tmp_path, source, [*slashed, recorded("0", EIGHT)])
    assert strokes.load(tmp_path).training.count + strokes.load(tmp_path).validation.count == 2 * (3 + 1)


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_missing_and_damaged_files_are_told_with_the_remedy(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "unipen.npz").write_bytes(content)
    with pytest.raises(DataError, match="training fetch-strokes"):
        strokes.load(tmp_path)


def test_a_file_is_known_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"strokes")
    assert strokes.hash_file(tmp_path / "one") == hashlib.sha256(b"strokes").hexdigest()
    with pytest.raises(DataError, match="There are no pen strokes at"):
        strokes.hash_file(tmp_path / "none")
