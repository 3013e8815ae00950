"""The documentation as a whole: a site with every page, a reference in step with the source, sound pictures."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import lru_cache

import pytest
import yaml

from gateway.quality import Reason
from tests.support.documents import DOCUMENTS, ROOT, anchors, blocks, images, name, prose, rows
from tests.support.reference.pages import MADE, pages
from tests.support.reference.words import exits
from tests.support.site import sources
from tests.test_docs_facts import exit_codes

DOCS = ROOT / "docs"
EVERY_DOCUMENT = pytest.mark.parametrize("path", DOCUMENTS, ids=name)
PICTURES = sorted((DOCS / "images").glob("*.svg"))


class SiteLoader(yaml.SafeLoader):
    """Reads what MkDocs' file has beside plain YAML."""


SiteLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
SITE = yaml.load((ROOT / ".mkdocs.yml").read_text(), SiteLoader)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does, with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ROOT / ".mkdocs.yml", "-d", folder],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_document(site):
    for path in DOCUMENTS:
        page = site / path.relative_to(ROOT).with_suffix(".html")
        page = page.with_name("index.html") if page.name == "README.html" else page
        assert page.exists(), f"{name(path)} is no page"


def test_headings_have_the_same_anchors_here_and_there(site):
    """What a link finds on GitHub it finds in the site."""
    for path in DOCUMENTS:
        page = site / path.relative_to(ROOT).with_suffix(".html")
        page = page.with_name("index.html") if page.name == "README.html" else page
        made = set(re.findall(r'<h[1-6] id="([^"]+)"', page.read_text()))
        assert anchors(path) <= made, f"{name(path)}: {sorted(anchors(path) - made)}"


def test_the_site_asks_nobody_else(site):
    """No font, script, style or picture of another server."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        found = re.findall(r'<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)="(?:https?:)?//[^"]*"', text)
        assert [tag for tag in found if 'rel="canonical"' not in tag] == [], page.name
        assert "fonts.g" not in text
        assert "gtag" not in text


def test_every_list_and_table_of_a_page_is_one(site):
    """One reader of Markdown takes for a list what another takes for text, unless a blank line stands before it."""
    for page in site.rglob("*.html"):
        text = re.sub(r"<(pre|code|script|style)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        assert not re.search(r"<p>[^<]*\n\|", text), f"{page.name}: a table that is none"
        assert not re.search(r"<p>(?:(?!</p>).)*\n\s*(?:[*-]|\d+\.) (?:(?!</p>).)*</p>", text, re.DOTALL), page.name


def nav_pages(entry):
    if isinstance(entry, str):
        yield entry
    for below in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from nav_pages(below)


def test_every_document_is_in_the_navigation():
    found = list(nav_pages(SITE["nav"]))
    assert sorted(found) == sorted({path for path in sources() if path.endswith(".md")})


def test_the_parts_of_the_navigation():
    parts = [next(iter(part)) for part in SITE["nav"]]
    assert parts == ["Start", "Tutorial", "How to", "Reference", "Networks", "Concepts", "Operations", "Development"]


@EVERY_DOCUMENT
def test_pictures_exist_and_say_what_they_show(path):
    for image in images(path):
        assert not re.match(r"[a-z]+:", image), "a picture of another server"
        assert (path.parent / image).resolve().is_file(), f"{image} does not exist"
    assert not re.search(r"!\[\s*\]", prose(path)), "a picture without words for it"


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_drawings_work_by_themselves_in_light_and_dark(path):
    text = path.read_text()
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title")
    assert root.findtext(f"{space}desc")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r'(?:href|src)="(?!#)|url\((?!#)|@import|<script', text)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for shape in root.iter(f"{space}rect"):
        at = {key: float(shape.attrib[key]) for key in ("x", "y", "width", "height")}
        assert at["x"] + at["width"] <= width, shape.attrib
        assert at["y"] + at["height"] <= height, shape.attrib
    assert any(path.name in image for document in DOCUMENTS for image in images(document)), "nobody shows it"


def test_the_reference_is_what_the_source_says():
    """`make docs` makes it anew."""
    made = pages()
    written = {path.name: path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md")}
    assert sorted(made) == sorted(written)
    assert [page for page in made if made[page] != written[page]] == [], "run make docs"
    assert all(text.startswith(MADE) for text in made.values())


def test_the_reference_knows_every_exit_code():
    assert set(exits()) == exit_codes() | {0, 2}


@EVERY_DOCUMENT
def test_console_blocks_run_or_say_why_not(path):
    """A mark on the line before says who runs it: this suite's walks and examples, or the reason why nobody can."""
    for block in blocks(path):
        if block.language == "console":
            assert block.marker, f"{block}: mark it walk, serve, run, or not run: why"
            word = block.marker.partition(":")[0]
            assert word in MARKS, f"{block}: {word!r} is no mark"
            assert word != "not run" or block.marker.partition(": ")[2], f"{block}: why is it not run?"


MARKS = {"run", "walk", "walk with mosquitto_pub", "serve", "not run", "against a device", "against the simulator",
         "simulator", "trying"}  # fmt: skip


@EVERY_DOCUMENT
def test_other_blocks_are_what_they_say(path):
    for block in blocks(path):
        if block.language == "python":
            ast.parse(block.text)
        elif block.language == "sh":
            done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
            assert done.returncode == 0, f"{block}: {done.stderr}"


@lru_cache(maxsize=1)
def texts() -> str:
    """Every text of the program, one a line; the pieces of one that is put together stand apart."""
    found = []
    for package in ("gateway", "adapters", "pipelines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            found += [
                node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
    return "\n".join([*found, *(reason.text for reason in Reason)])


def messages():
    """What the page of failures quotes from the program: inline code in the first column that reads like a sentence."""
    for cell in (row[0] for row in rows((DOCS / "troubleshooting.md").read_text())):
        yield from (text for text in re.findall(r"`([^`]+)`", cell) if " " in text or text.count("-") or "_" in text)


def test_messages_of_the_page_of_failures_are_those_of_the_program():
    found = list(messages())
    missing = [
        (message, part)
        for message in found
        for part in message.split("...")
        if part.strip(" :()") and part.strip(" :()") not in texts() and not message.startswith("onpath ")
    ]
    assert missing == []
    assert len([message for message in found if " " in message]) >= 25
