"""Adds to the site what lies outside docs/: openapi.json, the notebook, and the files that pages link to.

MkDocs calls it: `hooks` in mkdocs.yml. The files get the same paths below the site's root as they have in the
repository, Markdown and the notebook become pages, and links are rewritten.

    python -m docs.hook     prints openapi.json
"""

from __future__ import annotations

import asyncio
import json
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from app.main import create_app
from app.settings import Settings
from docs import notebook

_TARGET: Final = re.compile(r"(?<=\]\()[^)#:\s]+")  # of a link to a file, without its anchor
DOCS: Final = "docs/"
# of the service's page, whose look the site has
ICON: Final = "app/static/icon.svg"
FONT: Final = "app/static/fraunces-e812ad2f.woff2"
PAGES: Final = {"README.md": "index.md", notebook.FILE: notebook.PAGE}  # what takes the place of a file


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add openapi.json, icon, font, the notebook, and the files that pages link to, directly or not."""
    root = Path(config.config_file_path).parent
    page = notebook.render_notebook(root)
    generated: dict[str, str | bytes] = {
        "openapi.json": asyncio.run(openapi_document()),
        "icon.svg": (root / ICON).read_text(),
        "fraunces.woff2": (root / FONT).read_bytes(),
        notebook.FILE: (root / notebook.FILE).read_text(),
        notebook.PAGE: page.markdown,
        **page.figures,
    }
    for path, content in generated.items():
        files.append(File.generated(config, path, content=content))
    _add_linked_files(files, config, root)
    return files


def _add_linked_files(files: Files, config: MkDocsConfig, root: Path) -> None:
    waiting = [page for page in files if page.is_documentation_page()]
    while waiting:
        page = waiting.pop()
        for path in _find_links(page, page.content_string, root):
            if files.get_file_from_path(_to_site_path(path)) is None:
                added = File.generated(
                    config,
                    _to_site_path(path),
                    abs_src_path=str(root / path),
                    inclusion=InclusionLevel.NOT_IN_NAV,
                )
                files.append(added)
                waiting += [added] if added.is_documentation_page() else []


async def openapi_document() -> str:
    """Return the OpenAPI document that the service serves."""
    app = create_app(Settings())
    async with app.router.lifespan_context(app):
        return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Rewrite links to the files' places on the site."""
    root = Path(config.config_file_path).parent

    def rewrite_link(target: re.Match[str]) -> str:
        path = _to_repository_path(page.file, target[0])
        if not (root / path).is_file():
            return target[0]  # MkDocs reports it
        return posixpath.relpath(_to_site_path(path), posixpath.dirname(page.file.src_uri))

    return _TARGET.sub(rewrite_link, markdown)


def _find_links(page: File, markdown: str, root: Path) -> Iterator[str]:
    for target in _TARGET.findall(markdown):
        path = _to_repository_path(page, target)
        if not path.startswith((DOCS, "..")) and (root / path).is_file():
            yield path


def _to_repository_path(page: File, target: str) -> str:
    folder = posixpath.dirname(page.src_uri if page.generated_by else DOCS + page.src_uri)
    return posixpath.normpath(posixpath.join(folder, target))


def _to_site_path(path: str) -> str:
    return PAGES.get(path, path.removeprefix(DOCS))


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(openapi_document()))
