"""Usable by everybody: on a phone, by keyboard, in both themes and languages, and quickly there."""

import statistics
from pathlib import Path

import pytest

from tests.support.browser import DESK, PAGES, PHONE, go, shoot, until

HERE = Path(__file__).parent
CONTRAST = (HERE / "contrast.js").read_text()
NAMELESS = (HERE / "nameless.js").read_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(signed_in, theme):
    page = signed_in(color_scheme=theme)
    for place in [*PAGES, "points/m01%2Fpower"]:
        go(page, place)
        page.wait_for_timeout(1500)
        assert page.evaluate(CONTRAST) == [], place
        shoot(page, f"{place.replace('/', '-').replace('%2F', '-')}-{theme}")


def test_the_sign_in_can_be_read_too(fresh):
    for theme in ("light", "dark"):
        page = fresh(color_scheme=theme)
        page.goto("/")
        page.wait_for_selector("input[type=password]")
        assert page.evaluate(CONTRAST) == []
        shoot(page, f"sign-in-{theme}")


def test_the_switches_of_theme_and_language_stay(signed_in):
    page = signed_in()
    page.get_by_role("button", name="Dark theme").click()
    page.get_by_role("button", name="中文").click()
    until(page, "document.querySelector('main h1')?.textContent === '概览'")
    page.reload()
    until(page, "document.querySelector('main h1')?.textContent === '概览'")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.get_by_role("button", name="English").click()
    until(page, "document.querySelector('main h1')?.textContent === 'Overview'")


def test_a_browser_that_speaks_chinese_is_spoken_to_in_chinese(fresh, signed_in_state):
    page = fresh(storage_state=_without(signed_in_state, "language"), locale="zh-CN")
    page.goto("/")
    page.wait_for_selector("#main h1")
    for place in PAGES:  # a missing text is an error in the console, which fails the test
        go(page, place)
        page.wait_for_timeout(600)
        title = page.locator("#main h1").inner_text()
        assert any("\u4e00" <= letter <= "\u9fff" for letter in title), place


def _without(state, name):
    return {
        **state,
        "origins": [
            {**origin, "localStorage": [one for one in origin["localStorage"] if not one["name"].endswith(name)]}
            for origin in state["origins"]
        ],
    }


def test_nothing_is_wider_than_a_phone(signed_in):
    page = signed_in(viewport=PHONE, has_touch=True, is_mobile=True)
    for place in [*PAGES, "points/m01%2Fpower", "points?q=m01"]:
        go(page, place)
        page.wait_for_timeout(1200)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], place
        name = place.replace("/", "-").replace("%2F", "-").replace("?", "-").replace("=", "-")
        shoot(page, f"{name}-phone", full_page=page.evaluate("document.body.scrollHeight") < 4000)
    go(page, "overview")
    page.get_by_role("button", name="Menu").click()
    until(page, "document.querySelector('.nav').getBoundingClientRect().left === 0")
    page.get_by_role("link", name="Points").click()
    until(page, "location.hash.startsWith('#/points')")
    assert page.locator(".shell").get_attribute("data-menu") == "closed"


def focused(page):
    """Its tag and its name."""
    name = "at.getAttribute('aria-label') || at.textContent.trim().slice(0, 60)"
    return page.evaluate(f"() => {{ const at = document.activeElement; return [at.tagName, {name}]; }}")


def outlined(page):
    """Whether one can see where the focus is."""
    return page.evaluate(
        "() => { const style = getComputedStyle(document.activeElement);"
        " return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; }"
    )


def test_everything_is_reached_by_keyboard(signed_in):
    page = signed_in()
    page.keyboard.press("Tab")
    assert focused(page)[1] == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.evaluate("document.activeElement.blur()")
    seen = []
    for _ in range(40):  # round once: no trap
        page.keyboard.press("Tab")
        seen.append(focused(page)[1])
        if seen[-1] == "Points":
            break
        assert outlined(page) or focused(page)[0] == "BODY", seen[-1]  # behind the last comes the browser itself
    page.keyboard.press("Enter")
    until(page, "document.querySelector('main h1')?.textContent === 'Points'")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "points-search", focused(page)
    page.keyboard.type("m01 power_l1")
    until(
        page,
        "document.querySelectorAll('.points-table tbody tr').length < 5 && document.querySelector('.points-name a')",
    )
    for _ in range(12):
        page.keyboard.press("Tab")
        if focused(page)[1].startswith("m01/power_l1"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    inside = "document.activeElement.closest('dialog') !== null"
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate(inside), "the focus has left an open drawer"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert focused(page)[1].startswith("m01/power_l1"), "the focus does not return to where it was"


def test_all_that_can_be_pressed_has_a_name(signed_in):
    page = signed_in()
    for place in [*PAGES, "points/m01%2Fpower"]:
        go(page, place)
        page.wait_for_timeout(500)
        assert page.evaluate(NAMELESS) == [], place
        assert page.locator("#main h1").count() == 1, place
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
        assert len(ids) == len(set(ids)), place


@pytest.mark.alone
def test_the_first_paint_comes_within_a_second(fresh, signed_in_state):
    took = []
    for _ in range(5):
        page = fresh(storage_state=signed_in_state, viewport=DESK)  # nothing cached
        page.goto("/")
        page.wait_for_selector("#main h1")
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        until(page, f"{paint} > 0")
        took.append(page.evaluate(paint))
        shown = page.evaluate("performance.now()")
        print(f"first contentful paint {took[-1]:.0f} ms, overview {shown:.0f} ms")
    assert statistics.median(took) < 1000
