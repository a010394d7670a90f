"""Measures deploy/ray/score.py in Ray's environment: pictures a second on one core and on two, and memory.

    .venv-ray/bin/python -m benchmarks.score [--pictures 200000] [--shard 10000]

Draws small pictures, all different, as PNG into one Parquet file. Reads some in a plain loop over
`app.digits`; scores all with one core and with two, and a quarter with two cores to compare the memory. As in
a long run, Ray's start does not count: rates are measured from when every core has finished its first shard.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.catalogue import Catalogue
from app.digits.errors import ImageError
from app.settings import Settings
from benchmarks.processes import list_family
from tests.data.strokes import ink

SIDE: Final = 64  # pixels: width and height of a picture
LOOP_PICTURES: Final = 20_000  # that the plain loop reads
BATCH_SIZE: Final = 256  # pictures that the network classifies at a time, as in the scorer
INTERVAL: Final = 0.5  # seconds between two measurements of memory


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.score")
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--shard", type=int, default=10_000, help="pictures; small for a short trial")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = (arguments.pictures, arguments.pictures // 4)
        all_pictures, quarter = (draw_file(Path(folder), count, shard=arguments.shard) for count in counts)
        print(
            f"a plain loop over app.digits: {measure_plain_loop(all_pictures):,.0f} pictures a second",
            flush=True,
        )
        for file, cores in ((all_pictures, 1), (all_pictures, 2), (quarter, 2)):
            print(json.dumps(measure_run(file, cores=cores, shard=arguments.shard)), flush=True)


def draw_file(folder: Path, count: int, *, shard: int) -> Path:
    """Draw a Parquet file of pictures, with a shard in each row group."""
    file = folder / f"{count}.parquet"
    ranges = [range(start, min(start + shard, count)) for start in range(0, count, shard)]
    schema = pa.schema({"path": pa.string(), "bytes": pa.binary()})
    with ProcessPoolExecutor() as pool, pq.ParquetWriter(file, schema, compression="none") as writer:
        for numbers, pictures in zip(ranges, pool.map(_draw_pictures, ranges), strict=True):
            paths = [f"{number:09}-{number % 10}.png" for number in numbers]
            writer.write_table(pa.table({"path": paths, "bytes": pictures}, schema))
    return file


def _draw_pictures(numbers: range) -> list[bytes]:
    """Draw digits with various pens, positions and slants."""
    rng = np.random.default_rng(numbers.start)
    pictures = []
    for number in numbers:
        width, height = rng.uniform(16, 28), rng.uniform(28, 44)
        box = (rng.uniform(6, SIDE - 6 - width), rng.uniform(6, SIDE - 6 - height), width, height)
        pen, slant = int(rng.integers(2, 6)), rng.uniform(-0.15, 0.25)
        _, png = cv2.imencode(".png", 255 - ink(number % 10, (SIDE, SIDE), box=box, pen=pen, slant=slant))
        pictures.append(bytes(png))
    return pictures


def measure_plain_loop(file: Path) -> float:
    """Return how many pictures a second one process reads without Ray, and without writing results."""
    settings = Settings()
    catalogue = Catalogue.load(settings.models_dir, default=settings.default_model)
    classifier, finder = catalogue.get().classifier, catalogue.get_finder()
    count, started = 0, time.perf_counter()
    for batch in pq.ParquetFile(file).iter_batches(BATCH_SIZE, columns=["bytes"]):
        forms = []
        for data in batch.column(0).to_pylist():
            try:
                upload = canonicalise_upload(images.identify(data), classifier=classifier, finder=finder)
                forms.append(upload.canonical.picture)
            except ImageError:
                continue
        classifier.classify(np.array(forms))
        count += batch.num_rows
        if count >= LOOP_PICTURES:
            break
    return count / (time.perf_counter() - started)


def measure_run(file: Path, *, cores: int, shard: int) -> dict[str, float]:
    """Score a file with some cores; return errors, rates and memory."""
    with tempfile.TemporaryDirectory(dir=file.parent) as out:
        command = [sys.executable, "-m", "deploy.ray.score", str(file), out, "--id", "path"]
        command += ["--shard", str(shard), "--cores", str(cores)]
        started, peak_mib = time.perf_counter(), 0
        with subprocess.Popen(command) as process:
            while process.poll() is None:
                peak_mib = max(peak_mib, measure_memory(process.pid))
                time.sleep(INTERVAL)
        seconds = time.perf_counter() - started
        files = sorted(Path(out).glob("*.parquet"), key=lambda each: each.stat().st_mtime)
        times = [each.stat().st_mtime for each in files]
        counts = [pq.read_metadata(each).num_rows for each in files]
        rows = pq.read_table(out, columns=["path", "digit"]).to_pylist()
        return {
            "cores": cores,
            "pictures": len(rows),
            "wrong": sum(
                int(row["path"][-5]) != row["digit"] for row in rows
            ),  # including unreadable pictures
            "seconds": round(seconds, 1),
            "per_second": round(
                sum(counts[cores:]) / (times[-1] - times[cores - 1])
            ),  # without each core's first shard
            "result_bytes": round(sum(each.stat().st_size for each in files) / len(rows), 1),  # a picture
            "peak_mib": peak_mib,  # memory of all processes
        }


def measure_memory(pid: int) -> int:
    """Return the mebibytes that a process and its descendants use; shared pages count once."""
    kibibytes = 0
    for member in list_family(pid):
        with suppress(OSError):  # the process has ended
            shares = Path(f"/proc/{member}/smaps_rollup").read_text()
            kibibytes += int(shares.partition("\nPss:")[2].split()[0])
    return kibibytes // 1024


if __name__ == "__main__":
    main()
