"""Spool and losses in the browser: what waits while an uplink is down, and how it goes when it is back."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.browser import PHONE, ROOT, go, shoot, sign_in, standing, until

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


def figures(page, name):
    """The figures of an uplink's card, by their names."""
    card = page.locator(".card", has=page.get_by_role("heading", name=name, exact=True))
    return dict(
        zip(
            card.locator(".figure dt").all_inner_texts(), card.locator(".figure dd.live").all_inner_texts(), strict=True
        )
    )


def test_what_is_sent_and_what_waits_is_shown(signed_in):
    page = signed_in("spool")
    page.get_by_role("heading", name="cloud", exact=True).wait_for()
    sent = "[...document.querySelectorAll('.figure')].filter((one) => one.textContent.startsWith('Sent'))[0]"
    until(page, f"/[1-9].*\\/s/.test({sent}.textContent)")
    assert figures(page, "cloud")["Backlog gone"] == "no backlog"
    assert figures(page, "cloud")["Lost"] == "0"
    page.get_by_text("Nothing was lost").wait_for()
    until(page, "document.querySelector('.chart canvas')")
    assert page.evaluate(CONTRAST) == []


def test_the_store_tells_how_it_is(signed_in):
    page = signed_in("spool")
    store = page.locator(".card", has=page.get_by_role("heading", name="Store", exact=True))
    store.get_by_text("healthy").wait_for()
    before = int(re.sub(r"\D", "", figures(page, "Store")["Commits"]))
    status = json.loads(page.evaluate("fetch('/api/status').then((answer) => answer.text())"))
    assert before <= status["store"]["commits"]
    deadline = time.monotonic() + 15
    while int(re.sub(r"\D", "", figures(page, "Store")["Commits"])) <= before:
        assert time.monotonic() < deadline, "the store's figures do not move"
        time.sleep(0.2)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_phone(signed_in, theme):
    page = signed_in("spool", viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=theme)
    page.get_by_role("heading", name="cloud", exact=True).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(CONTRAST) == []
    shoot(page, f"spool-phone-{theme}", full_page=True)


def reload(facts, config):
    """Write another configuration and have the gateway read it."""
    Path(facts["config"]).write_text(config)
    command = [sys.executable, "-m", "gateway.cli.main", "reload", "--state", facts["state"]]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_what_waits_while_an_uplink_is_down_goes_when_it_is_back(browser, tmp_path, watched):
    with standing(tmp_path, "--meters", "2", "--sensors", "1") as facts:
        watched.url = facts["url"]
        before = Path(facts["config"]).read_text()
        away = before.replace(
            "uplinks:\n", "uplinks:\n  away: {type: mqtt, url: mqtt://127.0.0.1:ELSEWHERE, topic: 'a/b'}\n"
        )
        away = away.replace("to: [cloud", "to: [away, cloud")
        reload(facts, away.replace("ELSEWHERE", "1"))
        context = browser.new_context(base_url=facts["url"], locale="en-GB")
        page = context.new_page()
        watched.watch(page)
        sign_in(page, facts["password"])
        go(page, "spool")
        heading = page.get_by_role("heading", name="away", exact=True)
        heading.wait_for()
        until(page, "document.body.textContent.includes('when it is up')", timeout_s=30)
        first = int(re.sub(r"\D", "", figures(page, "away")["Waiting"]))
        page.locator(".by-pipeline tr", has_text="electrical").wait_for()
        deadline = time.monotonic() + 20
        while int(re.sub(r"\D", "", figures(page, "away")["Waiting"])) <= first:
            assert time.monotonic() < deadline, "what waits does not grow"
            time.sleep(0.2)
        shoot(page, "spool-waiting", full_page=True)
        reload(facts, away.replace("ELSEWHERE", facts["variables"]["STAND_MQTT"]))
        until(page, "!document.body.textContent.includes('when it is up')", timeout_s=40)
        deadline = time.monotonic() + 40
        while figures(page, "away")["Backlog gone"] != "no backlog":
            assert time.monotonic() < deadline, figures(page, "away")
            time.sleep(0.2)
        assert figures(page, "away")["Lost"] == "0"
        context.close()
