"""One point among a hundred thousand."""

import statistics
from pathlib import Path

import pytest

from tests.support.browser import until

TRIES = 9
BAR_MS = 200

MEASURE = (Path(__file__).parent / "measure.js").read_text()


@pytest.mark.alone
def test_a_point_among_100_000_is_shown_within_200_ms(signed_in):
    page = signed_in("points")
    page.wait_for_selector(".points-table tbody tr")
    said = page.evaluate("document.querySelector('#points-count').textContent")
    assert int(said.replace(",", "").split("of ")[1]) > 100_000
    medians = []
    for attempt in range(3):  # on a machine that does other things meanwhile
        took = [page.evaluate(MEASURE, f"temperature_13 hall{(n * 97 + attempt) % 1000:04}") for n in range(TRIES)]
        medians.append(statistics.median(took))
        print(f"key press to rows: median {medians[-1]:.0f} ms, {min(took):.0f} to {max(took):.0f} ms")
        if medians[-1] <= BAR_MS:
            break
    assert min(medians) <= BAR_MS


def test_patterns_filters_order_and_pages(signed_in):
    page = signed_in("points?q=hall0003/*")
    until(page, "document.querySelector('#points-count').textContent.startsWith('100 ')")
    names = page.locator(".points-table tbody .points-name").all_inner_texts()
    assert len(names) == 100
    assert names == sorted(names)
    page.get_by_role("button", name="Value").click()
    until(page, "document.querySelector('th[aria-sort=ascending]')?.textContent.includes('Value')")
    until(page, f"document.querySelector('.points-name a').textContent !== {names[0]!r}")
    page.fill("#points-search", "hall")
    until(page, "document.querySelector('.pager-text').textContent.includes('100,000')")
    page.get_by_role("button", name="Next page").click()
    until(page, "document.querySelector('.pager-text').textContent.startsWith('101')")
    page.select_option(".toolbar select", "invalid")
    page.fill("#points-search", "hall0003")
    page.wait_for_selector("text=No point fits")
    page.get_by_role("button", name="Show all points").click()
    until(page, "!location.hash.includes('q=')")
    assert page.locator("#points-search").input_value() == ""


def test_leaving_a_device_shows_points_of_bad_quality(signed_in):
    page = signed_in("points?device=m77&quality=invalid")
    page.wait_for_selector(".points-table .chip.is-bad", timeout=30000)
    assert "m77" in page.locator(".points-name a").first.inner_text()
