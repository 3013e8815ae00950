"""The site of the documentation in Chromium: nothing from elsewhere, no errors, readable on a phone, searchable."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[3]
CHROMIUM = shutil.which("chromium")
PAGES = ("index.html", "docs/tutorial.html", "docs/reference/adapter-modbus.html", "docs/concepts/error-bounds.html",
         "docs/troubleshooting.html")  # fmt: skip


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "-f", ROOT / ".mkdocs.yml", "-d", folder],
        cwd=ROOT, check=True, env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""},
    )  # fmt: skip
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, name="site", daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM, "chromium is not installed; .ci/install-peers installs it"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def opened(browser, site, page, **options):
    """A page, and what went wrong on it or was asked elsewhere."""
    tab = browser.new_context(**options).new_page()
    wrong: list[str] = []
    tab.on("request", lambda request: request.url.startswith((site, "data:")) or wrong.append(request.url))
    tab.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(f"{site}/{page}")
    tab.wait_for_load_state("networkidle")
    return tab, wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_on_a_phone(browser, site, page, scheme):
    tab, wrong = opened(browser, site, page, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert wrong == []
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    expected = "slate" if scheme == "dark" else "default"
    assert tab.evaluate("document.body.dataset.mdColorScheme") == expected
    tab.context.close()


def test_search_finds_without_another_server(browser, site):
    tab, wrong = opened(browser, site, "index.html", viewport={"width": 1280, "height": 800})
    tab.locator("input.md-search__input").click()
    tab.keyboard.type("swinging door", delay=20)
    found = tab.locator(".md-search-result__link").first
    found.wait_for()
    assert "Error bounds" in tab.locator(".md-search-result__list").inner_text() or "swinging" in found.inner_text()
    assert wrong == []
    tab.context.close()


def test_the_keyboard_reaches_the_content(browser, site):
    tab, _ = opened(browser, site, "docs/tutorial.html", viewport={"width": 1280, "height": 800})
    tab.keyboard.press("Tab")
    assert "Skip to content" in tab.evaluate("document.activeElement.innerText")
    tab.context.close()
