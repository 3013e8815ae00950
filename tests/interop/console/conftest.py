"""A browser before a real gateway. Any error in the browser's console, any request to another host and any violation
of the content security policy fails the test in which it happens."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import sync_playwright

from tests.support.browser import DESK, Watched, sign_in, standing

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


@pytest.fixture(scope="session")
def stand(tmp_path_factory):
    """The site that most tests look at: 100,000 points and more."""
    with standing(tmp_path_factory.mktemp("stand"), "--many", "100000") as facts:
        yield facts


class Chromium:
    """One browser for all tests, another one if it has died between two of them."""

    def __init__(self, playwright) -> None:
        self._kind = playwright.chromium
        self._running = None

    def new_context(self, **options):
        if self._running is None or not self._running.is_connected():
            args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            self._running = self._kind.launch(executable_path=CHROMIUM, args=args)
        return self._running.new_context(**options)

    def close(self) -> None:
        if self._running is not None:
            self._running.close()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = Chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture
def watched(stand):
    watched = Watched(stand["url"])
    yield watched
    watched.check()


@pytest.fixture
def fresh(browser, stand, watched):
    """Makes a page of somebody who has not signed in: ``fresh(viewport=PHONE, color_scheme="dark")``."""
    contexts = []

    def make(**options):
        options.setdefault("viewport", DESK)
        options.setdefault("locale", "en-GB")
        context = browser.new_context(base_url=stand["url"], **options)
        contexts.append(context)
        page = context.new_page()
        watched.watch(page)
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def signed_in_state(browser, stand):
    """Cookies and storage of a browser that has signed in, so that each test need not."""
    context = browser.new_context(base_url=stand["url"], locale="en-GB")
    page = context.new_page()
    sign_in(page, stand["password"])
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def signed_in(fresh, signed_in_state):
    """Makes a page of somebody who has: ``signed_in("points", viewport=PHONE)``."""

    def make(place: str = "", **options):
        page = fresh(storage_state=signed_in_state, **options)
        page.goto(f"/#/{place}")
        page.wait_for_selector("#main h1")
        return page

    return make
