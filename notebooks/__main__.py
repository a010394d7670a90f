"""`python -m notebooks`: run digits.ipynb from top to bottom and store its outputs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK: Final = Path(__file__).parent / "digits.ipynb"
PATIENCE: Final = 1800  # seconds for one cell; the longest trains for a minute or two
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


def main() -> None:
    """Run the notebook in full and write it."""
    notebook = execute(nbformat.read(NOTEBOOK, as_version=4))
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
