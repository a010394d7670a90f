"""Measures deploy/ray/score.py, in Ray's environment: pictures a second on one core and on two, and memory.

    .venv-ray/bin/python -m benchmarks.score [--pictures 200000] [--shard 10000]

Draws small pictures, each another, as PNG into one Parquet file; reads the first of them in a plain loop over
`app.digits`; scores them all with one core and with two, and a quarter of them with two for the memory.
A rate counts from when every core has done its first shard, so it is what a long run has: Ray's start is told
apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.digits import images
from app.digits.catalogue import Catalogue
from app.digits.errors import ImageError
from app.digits.look import canonicalise_upload
from app.digits.process import set_up_process
from app.server.cores import count_cores
from app.settings import Settings
from deploy.ray.sources import Source, divide
from tests.data.strokes import ink

SIDE: Final = 64  # pixels
FILES: Final = 50_000  # that are listed
LOOP: Final = 20_000  # pictures that the plain loop reads
BATCH: Final = 256  # pictures that the network is asked about at a time, as the scorer does
SAMPLE: Final = 0.5  # seconds between two looks at the memory
MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scored:
    """What one run took."""

    cores: int
    pictures: int
    wrong: int  # digits that are others than were drawn; errors, too
    seconds: float  # all in all
    per_second: float  # once it runs
    result_bytes: float  # a picture
    peak_mib: dict[str, int]  # proportional set size, by kind of process
    cpu_seconds: dict[str, int]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.score")
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument(
        "--shard", type=int, default=10_000, help="pictures; the fewer, the smaller a trial may be"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = (arguments.pictures, arguments.pictures // 4)
        whole, quarter = (draw_file(Path(folder), count, shard=arguments.shard) for count in counts)
        alone = measure_plain_loop(whole)
        print(f"a plain loop over app.digits: {alone:,.0f} pictures a second", flush=True)
        print(f"listing: {measure_listing():,.0f} files a second", flush=True)
        runs = []
        for file, cores in ((whole, 1), (whole, 2), (quarter, 2)):
            runs.append(measure_scoring(file, cores=cores, shard=arguments.shard))
            print(json.dumps(asdict(runs[-1])), flush=True)
    one, two, few = runs
    print(f"one core does {one.per_second / alone:.2f} times what the plain loop does")
    print(f"two cores do {two.per_second / one.per_second:.2f} times what one does")
    for run in (few, two):
        print(f"{run.pictures:,} pictures take {sum(run.peak_mib.values())} MiB at most")


def draw_file(folder: Path, count: int, *, shard: int) -> Path:
    """Draw a Parquet file of `count` pictures, in groups of a shard each."""
    file = folder / f"{count}.parquet"
    starts = range(0, count, shard)
    with ProcessPoolExecutor(count_cores()) as pool:
        groups = pool.map(_draw_group, starts, [min(shard, count - start) for start in starts])
        schema = pa.schema({"path": pa.string(), "bytes": pa.binary()})
        with pq.ParquetWriter(file, schema, compression="none") as writer:
            for group in groups:
                writer.write_table(pa.table(group, schema))
    return file


def _draw_group(start: int, count: int) -> dict[str, list[object]]:
    chance = np.random.default_rng(start)
    paths: list[object] = [f"{number:09}-{number % 10}.png" for number in range(start, start + count)]
    return {
        "path": paths,
        "bytes": [_draw_picture(number % 10, chance) for number in range(start, start + count)],
    }


def _draw_picture(digit: int, chance: np.random.Generator) -> bytes:
    """Draw a digit with any of many pens, in any place and slant."""
    width, height = chance.uniform(16, 28), chance.uniform(28, 44)
    left, top = chance.uniform(6, SIDE - 6 - width), chance.uniform(6, SIDE - 6 - height)
    drawing = ink(
        digit,
        (SIDE, SIDE),
        box=(left, top, width, height),
        pen=int(chance.integers(2, 6)),
        slant=chance.uniform(-0.15, 0.25),
    )
    _, png = cv2.imencode(".png", 255 - drawing)
    return bytes(png)


def measure_plain_loop(file: Path) -> float:
    """Return how many pictures a second one process reads without Ray, and without writing results."""
    set_up_process()
    settings = Settings()
    classifier = Catalogue.load(settings.models_dir, default=settings.default_model).get().classifier
    count, started = 0, time.perf_counter()
    for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=["bytes"]):
        looks = []
        for data in batch.column(0).to_pylist():
            try:
                looks.append(canonicalise_upload(images.identify(data)).canonical.picture)
            except ImageError:
                continue
        classifier.classify(np.array(looks))
        count += batch.num_rows
        if count >= LOOP:
            break
    return count / (time.perf_counter() - started)


def measure_listing() -> float:
    """Return how many files a second are found in folders of a thousand."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(FILES):
            file = Path(folder) / f"{number // 1000:03}" / f"{number % 1000:03}.png"
            file.parent.mkdir(exist_ok=True)
            file.touch()
        source = Source.find(folder, pictures="bytes", ids=None)
        started = time.perf_counter()
        found = sum(len(shard.files) for shard in divide(source, pictures=1000))
        return found / (time.perf_counter() - started)


def measure_scoring(file: Path, *, cores: int, shard: int) -> Scored:
    """Score a file with so many cores."""
    with tempfile.TemporaryDirectory(dir=file.parent) as out:
        command = [sys.executable, "-m", "deploy.ray.score", file, out, "--id", "path"]
        options = ["--shard", shard, "--cores", cores]
        started = time.perf_counter()
        with subprocess.Popen([*map(str, command), *map(str, options)], stderr=subprocess.PIPE) as running:
            with _watch(running.pid) as watch:
                _, errors = running.communicate()
            if running.returncode not in {0, 1}:
                sys.exit(errors.decode())
        seconds = time.perf_counter() - started
        files = sorted(Path(out).glob("*.parquet"), key=lambda each: each.stat().st_mtime)
        times, counts = (
            [each.stat().st_mtime for each in files],
            [pq.read_metadata(each).num_rows for each in files],
        )
        size = sum(each.stat().st_size for each in files)
        rows = pq.read_table(out, columns=["path", "digit"]).to_pylist()
    return Scored(
        cores=cores,
        pictures=len(rows),
        wrong=sum(int(row["path"][-5]) != row["digit"] for row in rows),
        seconds=round(seconds, 1),
        per_second=round(sum(counts[cores:]) / (times[-1] - times[cores - 1])),
        result_bytes=round(size / len(rows), 1),
        peak_mib={kind: round(peak / MEBIBYTE) for kind, peak in watch.peaks.items()},
        cpu_seconds=dict(watch.cpu()),
    )


@dataclass(slots=True)
class Watch:
    """What a process and those that it started take, by kind of process."""

    peaks: Counter[str] = field(default_factory=Counter)  # bytes
    spent: dict[int, tuple[str, float]] = field(default_factory=dict)  # seconds of processor time, by process

    def sample(self, root: int) -> None:
        """Look once."""
        now: Counter[str] = Counter()
        family = {root}
        for pid in sorted(int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                if pid != root and int(fields[1]) not in family:
                    continue
                family.add(pid)
                name = Path(f"/proc/{pid}/cmdline").read_bytes()
                shares = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:  # it has ended meanwhile
                continue
            kind = "driver" if pid == root else "scorers" if name.startswith(b"ray::") else "Ray"
            now[kind] += 1024 * int(shares.partition("\nPss:")[2].split()[0])  # what several share is parted
            self.spent[pid] = kind, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        self.peaks |= now

    def cpu(self) -> Counter[str]:
        """Return the seconds of processor time."""
        seconds: Counter[str] = Counter()
        for kind, spent in self.spent.values():
            seconds[kind] += round(spent)
        return seconds


@contextmanager
def _watch(pid: int) -> Iterator[Watch]:
    """Look now and then."""
    watch, over = Watch(), threading.Event()

    def looking() -> None:
        while not over.wait(SAMPLE):
            watch.sample(pid)

    looker = threading.Thread(target=looking)
    looker.start()
    try:
        yield watch
    finally:
        over.set()
        looker.join()


if __name__ == "__main__":
    main()
