"""For tests in a browser: a gateway to look at, what the browser complains about, ways around the console."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build" / "screenshots"
STOP_S = 60
PAGES = (
    *("overview", "graph", "points", "pipelines", "devices"),
    *("alerts", "findings", "spool", "events"),
    *("config", "about"),
)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}
LOST = r"net::ERR_|Failed to fetch"


@contextmanager
def standing(folder: Path, *arguments: str):
    """A gateway with its devices (tests/support/stand.py); what it says of itself."""
    command = [sys.executable, "-m", "tests.support.stand", str(folder / "site"), *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (folder / "stand.log").open("ab") as log, subprocess.Popen(command, cwd=ROOT, stderr=log, **pipes) as process:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError((folder / "stand.log").read_text()[-3000:])
        yield json.loads(line)
        process.stdin.close()  # it ends everything when its input ends
        process.wait(STOP_S)


class Watched:
    """What a browser has complained about, and what a test expects of that."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.expected: list[str] = []
        self.problems: list[str] = []

    def expect(self, *patterns: str) -> None:
        """Complaints that fit are what the test is about."""
        self.expected += patterns

    def watch(self, page) -> None:
        page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (event) => console.error('CSP', event.violatedDirective, event.blockedURI, event.sample))"
        )
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _request(self, request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.problems.append(f"request elsewhere: {request.url}")

    def check(self) -> None:
        bad = [one for one in self.problems if not any(re.search(pattern, one) for pattern in self.expected)]
        assert not bad, "\n".join(bad)


def until(page, expression: str, timeout_s: float = 15.0):
    """Wait until a JavaScript expression is true, and give what it is.

    Playwright's own way evaluates inside the page, which the content security policy forbids.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if found := page.evaluate(expression):
                return found
            why = "it is false"
        except Error as error:  # what it asks for is not there yet
            why = error.message
        if time.monotonic() > deadline:
            raise AssertionError(f"never true: {expression}: {why}\n{page.locator('body').inner_text()[:800]}")
        time.sleep(0.03)


def sign_in(page, password: str) -> None:
    page.goto("/")
    page.fill("input[type=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_selector("#main h1")


def go(page, place: str) -> None:
    """To a page of the console, by its address."""
    page.evaluate("(place) => { location.hash = `#/${place}`; }", place)
    wanted = re.split(r"[/?]", place, maxsplit=1)[0]
    current = f"document.querySelector('.nav-link[aria-current]')?.hash === '#/{wanted}'"
    until(page, f"{current} && document.querySelector('main').dataset.page === '{wanted}'")


def shoot(page, name: str, **options) -> Path:
    """Keep a screenshot as an artefact."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    path = SHOTS / f"{name}.png"
    page.screenshot(path=path, **options)
    return path
