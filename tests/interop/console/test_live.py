"""What changes, changes on the screen; and when nothing comes any more, that is said."""

import os
import signal
import time

from tests.support.browser import LOST, go, until

VALUE = "document.querySelector('.points-table tbody .points-value .live span')?.textContent"


def test_values_of_points_change_by_themselves(signed_in):
    page = signed_in("points?q=m01/power_l1")
    until(page, f"{VALUE} > ''")
    before = page.evaluate(VALUE)
    until(page, f"{VALUE} !== {before!r}", timeout_s=15)


def test_the_overview_moves(signed_in):
    page = signed_in()
    rate = "document.querySelector('.figure dd').textContent"
    until(page, f"/[1-9]/.test({rate})")
    clock = page.locator(".top-clock").inner_text()
    until(page, f"document.querySelector('.top-clock').textContent !== {clock!r}")
    page.wait_for_selector(".trends canvas")
    assert page.locator(".link-row").count() == 5


def test_a_trend_grows_and_a_file_can_be_had(signed_in):
    page = signed_in("points/m01%2Fpower")
    page.wait_for_selector(".drawer canvas")
    until(page, "/\\d/.test(document.querySelector('.point-trend p').textContent)")
    with page.expect_download() as download:
        page.locator(".drawer").get_by_text("CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) > 2
    assert any("m01/power" in line for line in lines)
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('dialog[open]') && !location.hash.includes('m01')")


def test_a_gateway_that_hangs_is_noticed_and_so_is_its_return(signed_in, stand, watched):
    watched.expect(LOST)
    page = signed_in()
    until(page, "document.documentElement.dataset.connection === 'live'")
    os.kill(stand["pid"], signal.SIGSTOP)
    try:
        page.wait_for_selector(".lost", timeout=20000)
        assert page.evaluate("Number(getComputedStyle(document.querySelector('.figure .live')).opacity)") < 1
        shown = page.locator(".lost span").first.inner_text()
        time.sleep(2.2)
        assert page.locator(".lost span").first.inner_text() != shown, "the age of what is shown does not count on"
    finally:
        os.kill(stand["pid"], signal.SIGCONT)
    page.wait_for_selector(".lost", state="detached", timeout=30000)
    until(page, "document.documentElement.dataset.connection === 'live'")


def test_the_graph_shows_what_flows_and_leads_on(signed_in):
    page = signed_in("graph")
    page.wait_for_selector(".node")
    assert page.locator(".node").count() == 8
    until(page, "[...document.querySelectorAll('.edge-label')].some((label) => /[1-9]/.test(label.textContent))")
    boxes = [box.bounding_box() for box in page.locator(".node-box").all()]
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            apart = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            assert apart or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
    page.locator(".node.is-pipeline").first.click()
    until(page, "location.hash.startsWith('#/pipelines/')")


def test_events_are_filtered_and_rejected_messages_can_be_read(signed_in):
    page = signed_in("events")
    page.wait_for_selector(".log tbody tr")
    every = page.locator(".log tbody tr").count()
    page.select_option(".toolbar select", "warning")
    until(page, f"document.querySelectorAll('.log tbody tr').length < {every}")
    page.get_by_role("tab", name="Rejected").click()
    page.locator(".payload").first.click()
    assert "oops" in page.locator(".payload-full").inner_text()


def test_an_alert_is_shown_and_acknowledged(signed_in):
    page = signed_in("alerts/rules")
    page.wait_for_selector("tbody tr")
    assert {"undervoltage", "stuffy"} == set(page.locator("tbody tr td:first-child").all_inner_texts())
    page.get_by_role("tab", name="Active").click()
    button = page.get_by_role("button", name="Acknowledge").first
    button.wait_for(timeout=60000)
    button.click()
    page.wait_for_selector("text=The alert is acknowledged.")
    page.wait_for_selector("tbody >> text=acknowledged")
    go(page, "overview")
