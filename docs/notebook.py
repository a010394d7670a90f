"""Turns notebooks/digits.ipynb, with its stored outputs, into a page of the site."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nbformat

FILE: Final = "notebooks/digits.ipynb"
PAGE: Final = "notebook.md"
NOTE: Final = (
    "This page shows the notebook with the outputs of a full run. To run it yourself, "
    f'<a href="../{FILE}" download>download it</a> into a copy of the repository.'
)
_NOISE: Final = re.compile(r"\x1b\[[0-9;]*m|━+ ?")  # colours of the terminal, and progress bars


@dataclass(frozen=True)
class NotebookPage:
    """Markdown, and the figures that it shows."""

    markdown: str
    figures: Mapping[str, bytes]  # path from the site's root → PNG


def render_notebook(root: Path) -> NotebookPage:
    """Render the notebook of the repository at `root`."""
    notebook = nbformat.read(root / FILE, as_version=4)
    figures = {}
    blocks = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            blocks.append(cell.source)
            continue
        blocks.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            name = f"{PAGE.removesuffix('.md')}/{cell.id}.png"
            data = output.get("data", {})
            if "image/png" in data:
                figures[name] = base64.b64decode(data["image/png"])
            blocks += _render_output(output, data, figure=name)
    title, *others = blocks
    heading, _, introduction = title.partition("\n")
    return NotebookPage("\n\n".join([heading, NOTE, introduction, *others]), figures)


def _render_output(output: Mapping[str, Any], data: Mapping[str, str], *, figure: str) -> Iterator[str]:
    """Yield an output as Markdown. The sheet to draw on needs the service, so HTML is left out."""
    if "image/png" in data:
        yield f"![{Path(figure).stem.replace('-', ' ').capitalize()}]({figure})"
    elif "text/markdown" in data:
        yield data["text/markdown"]
    elif "text/html" not in data:
        text = output.get("text") or data["text/plain"]
        yield f"```text\n{_NOISE.sub('', text).rstrip()}\n```"
