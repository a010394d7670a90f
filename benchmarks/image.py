"""Measures what the image adds to its base: `python -m benchmarks.image [NAME]`, after `make image`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

from tests.needs import find_engine

IMAGE: Final = "digits"
SCRIPT: Final = """
import gzip, io, json, tarfile
from importlib.metadata import distributions
from pathlib import Path

def measure(files):
    packed = io.BytesIO()
    with gzip.open(packed, "wb", 6) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for file in files:
            archive.add(file)
    return {"MB": sum(file.stat().st_size for file in files) / 1e6, "compressed": packed.tell() / 1e6}

root = Path("/opt/digits")
everything = {file for file in root.rglob("*") if file.is_file() and not file.is_symlink()}
sizes = {"everything": measure(everything)}
for package in distributions():
    installed = {Path(package.locate_file(file)).resolve() for file in package.files or ()}
    sizes[package.name] = measure(installed & everything)
print(json.dumps(sizes))
"""


def measure(image: str = IMAGE) -> dict[str, dict[str, int]] | None:
    """Return the megabytes of everything, and of each package of at least one; None if there is no image."""
    engine = find_engine()
    if engine is None:
        return None
    command = [engine, "run", "--rm", "--network=none", image, "python", "-c", SCRIPT]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        return None
    sizes: dict[str, dict[str, float]] = json.loads(result.stdout)
    largest_first = sorted(sizes.items(), key=lambda item: -item[1]["MB"])
    return {
        name: {unit: round(size) for unit, size in each.items()}
        for name, each in largest_first
        if each["MB"] >= 1
    }


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:]), indent=2))
