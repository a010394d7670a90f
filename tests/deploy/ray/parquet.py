"""Makes and reads Parquet files, where pyarrow is installed: in Ray's environment.

.venv-ray/bin/python tests/deploy/ray/parquet.py pack FOLDER FILE     a row for each file, and one of none
.venv-ray/bin/python tests/deploy/ray/parquet.py rows FOLDER          prints the rows as JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

GROUP = 50  # rows


def pack(folder: Path, file: Path) -> None:
    files = sorted(each for each in folder.iterdir() if each.is_file())
    image = [{"bytes": each.read_bytes(), "width": 28} for each in files] + [None]
    called = [each.name for each in files] + [None]
    struct = pa.struct({"bytes": pa.binary(), "width": pa.int32()})
    pq.write_table(pa.table({"image": pa.array(image, struct), "called": called}), file, row_group_size=GROUP)


def rows(folder: Path) -> None:
    sys.stdout.write(json.dumps(ds.dataset(folder, format="parquet").to_table().to_pylist()))


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    pack(*map(Path, paths)) if command == "pack" else rows(*map(Path, paths))
