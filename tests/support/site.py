"""The documentation as a site: a hook of MkDocs that shows the project's documents where they lie.

Documents stand beside the code that they are about (``adapters/modbus/README.md``) and link to each other by relative
paths. So the site has the same tree as the project: every document is a page, what documents link to or show is a file,
and the same link works in both.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs loads a hook as a file

from mkdocs.structure.files import File, Files  # noqa: E402

from tests.support.documents import DOCUMENTS, images, links  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page


def sources() -> list[str]:
    """Paths from the root of all that the site has: the documents, and the files that they show or link to."""
    found = {*DOCUMENTS, ROOT / "docs" / "site.css"}
    for document in DOCUMENTS:
        for link in links(document) + images(document):
            target = (document.parent / link.partition("#")[0]).resolve()
            if not re.match(r"[a-z]+:", link) and target.is_file():
                found.add(target)
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's own files, and ours by their paths from the root."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    ours = [File(path, str(ROOT), config.site_dir, config.use_directory_urls) for path in sources()]
    return Files(theme + ours)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Marks for the tests say nothing to readers."""
    del page
    return re.sub(r"^ *<!-- .* -->\n", "", markdown, flags=re.MULTILINE)
