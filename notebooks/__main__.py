"""`python -m notebooks`: run digits.ipynb from top to bottom and store its outputs."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

NOTEBOOK: Final = Path(__file__).parent / "digits.ipynb"
PATIENCE: Final = 1800  # seconds for one cell; the longest trains for a minute or two
COLOURS: Final = 128  # of a stored figure: more can't be seen, and fewer blur the heat maps
# Nothing about the machine or its versions, which would differ on the next one.
METADATA: Final[dict[str, Any]] = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(notebook: NotebookNode) -> NotebookNode:
    """Run all cells in a new kernel and return the notebook with their outputs.

    Raises:
        CellExecutionError: a cell raised an error.
    """
    client = NotebookClient(
        notebook,
        timeout=PATIENCE,
        kernel_name="python3",
        # TensorFlow's C++ messages about the machine stay out of the outputs
        extra_arguments=["--IPKernelApp.capture_fd_output=False", "--log-level=ERROR"],
        resources={"metadata": {"path": NOTEBOOK.parent}},
        coalesce_streams=True,
        record_timing=False,
    )
    result = client.execute()
    result.metadata = nbformat.from_dict({**METADATA, "cells_sha256": hash_cells(result)})
    return result


def hash_cells(notebook: NotebookNode) -> str:
    """Return the hash of all code, which shows whether the outputs belong to these cells."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def shrink_pictures(notebook: NotebookNode) -> None:
    """Reduce the colours of all figures, which makes the file less than half as large."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = _reduce_colours(data["image/png"])


def _reduce_colours(png: str) -> str:
    file = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        reduced = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    reduced.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Run the notebook in full and write it."""
    notebook = execute(nbformat.read(NOTEBOOK, as_version=4))
    shrink_pictures(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
