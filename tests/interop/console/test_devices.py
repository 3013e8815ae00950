"""Devices in the browser: their states, the request plan, live values."""

from pathlib import Path

import pytest

from tests.support.browser import PHONE, shoot, until

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
STALE_S = 40
"""A device that never answers is asked every 5 s, and silent after three times that."""


def test_devices_are_listed_and_can_be_narrowed(signed_in):
    page = signed_in("devices?adapter=meters")
    page.locator("tr", has_text="m01").wait_for()
    assert page.locator("tbody tr", has_text="rooms").count() == 0
    until(page, "document.querySelector('.filter-chip.is-stale:not(.hidden)')", timeout_s=STALE_S)
    page.locator(".filter-chip.is-stale").click()
    until(page, "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].textContent).join() === 'm77'")
    assert "state=stale" in page.url
    page.get_by_placeholder("Search devices").fill("no such thing")
    page.get_by_text("No device fits").wait_for()


def test_rates_and_periods_are_live(signed_in):
    page = signed_in("devices?q=m01")
    row = page.locator("tbody tr", has_text="m01").first
    row.wait_for()
    until(page, "/[1-9].*\\/s/.test(document.querySelector('tbody td[data-label=Samples]').textContent)")
    achieved, asked = row.locator(".period").inner_text().split("/")
    assert asked.strip().startswith("1")
    assert achieved.strip()[0].isdigit()


def test_a_device_shows_its_request_plan_and_its_values(signed_in):
    page = signed_in("devices/meters/m01")
    page.locator(".plan-request").first.wait_for()
    assert page.locator(".plan-head").first.inner_text().startswith("input:0")
    pieces = page.locator(".plan-piece")
    assert pieces.first.get_attribute("title") == "0\u20131: m01/voltage_l1"
    assert page.locator(".plan-piece.is-along").count() > 0, "gaps are not shown"
    row = "[...document.querySelectorAll('tr')].find((row) => row.textContent.startsWith('m01/power_l1'))"
    value = f"{row}?.cells[1].textContent"
    until(page, f"/\\d/.test({value})")
    before = page.evaluate(value)
    until(page, f"{value} !== {before!r}")
    assert page.evaluate(CONTRAST) == []
    shoot(page, "device")


def test_one_that_is_silent_says_so_and_why(signed_in):
    page = signed_in("devices/meters/m77")
    page.get_by_text("Nothing valid was heard").wait_for(timeout=STALE_S * 1000)
    heard = "[...document.querySelectorAll('.figure')].find((one) => one.textContent.startsWith('Last heard'))"
    assert page.evaluate(f"{heard}.querySelector('dd').textContent") == "\u2013"
    shoot(page, "device-silent")


def test_one_that_is_not_there_says_so(signed_in):
    page = signed_in("devices/meters/m99")
    page.get_by_text("There is no device m99").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_phone(signed_in, theme):
    page = signed_in("devices/meters/m01", viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=theme)
    page.locator(".plan-request").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(CONTRAST) == []
    shoot(page, f"device-phone-{theme}", full_page=True)
