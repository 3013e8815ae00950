"""Findings of discovery in the browser: what was found is seen, accepted, and joins."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.browser import PHONE, ROOT, go, shoot, sign_in, standing, until

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    """One of our own: what joins would be seen by the other tests."""
    with standing(tmp_path_factory.mktemp("findings"), "--meters", "1", "--sensors", "1") as facts:
        yield facts


@pytest.fixture(scope="module")
def signed_in_state(browser, stand):
    context = browser.new_context(base_url=stand["url"], locale="en-GB")
    page = context.new_page()
    sign_in(page, stand["password"])
    state = context.storage_state()
    context.close()
    return state


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_was_found_fits_a_phone(signed_in, theme):
    page = signed_in("findings", viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=theme)
    page.get_by_role("button", name="x9", exact=True).click()
    page.locator("dialog[open] .yaml-block", has_text="found/").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(CONTRAST) == []
    shoot(page, f"finding-phone-{theme}")


def test_one_is_looked_at_accepted_and_joins(signed_in, stand):
    page = signed_in("findings")
    row = page.locator("tbody tr", has_text="x9")
    row.wait_for()
    assert "MQTT topic" in row.inner_text()
    assert "by plugs" in row.inner_text()
    accept = page.get_by_role("button", name="Accept 0")
    assert accept.is_disabled()
    row.get_by_role("button", name="x9").click()
    drawer = page.locator("dialog[open]")
    drawer.locator(".yaml-block", has_text="subscribe:").wait_for()
    shoot(page, "finding")
    page.keyboard.press("Escape")
    drawer.wait_for(state="detached")
    page.get_by_label("Choose x9").check()
    page.get_by_role("button", name="Accept 1").click()
    page.locator(".toast", has_text="x9 has joined").wait_for()
    page.get_by_text("Nothing new").wait_for()
    page.get_by_role("tab", name="Joined").click()
    page.locator("tbody tr", has_text="joined").wait_for()
    message = [("found/x9", {"ts": time.time_ns() // 1_000_000, "power": 37})]
    tell = (
        "import asyncio, sys; from tests.support.publish import publish; "
        "asyncio.run(publish(int(sys.argv[1]), eval(sys.argv[2])))"
    )  # in a process of its own: the browser's driver holds this one's event loop
    subprocess.run([sys.executable, "-c", tell, stand["variables"]["STAND_MQTT"], repr(message)], check=True, cwd=ROOT)
    go(page, "devices/plugs/x9")
    page.locator("tr", has_text="x9/power").get_by_text("37").wait_for()
    go(page, "config/effective")
    page.get_by_placeholder("Search paths and values").fill("found/")
    until(page, "document.querySelector('.effective tbody')?.textContent.includes('discovery')")
