"""Pipelines in the browser: counters that move, the balance, bounds, the original beside what leaves."""

import json
from pathlib import Path

import pytest

from tests.support.browser import PHONE, go, shoot, until

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
COUNTER = "Number(document.querySelector('[data-counter=in]').textContent.replaceAll(',', ''))"


def pipelines(page):
    found = json.loads(page.evaluate("fetch('/api/pipelines').then((answer) => answer.text())"))
    return {row["name"]: row for row in found["pipelines"]}


def test_all_are_listed_and_lead_on(signed_in):
    page = signed_in("pipelines")
    for name in ("electrical", "climate", "quarter-hour"):
        page.locator("tr", has_text=name).first.wait_for()
    row = page.locator("tr", has_text="electrical")
    until(page, "/[1-9]/.test([...document.querySelectorAll('td[data-label=In]')][0].textContent)")
    assert row.locator(".chain .tag").all_inner_texts()[:3] == ["limits", "deadband", "swinging_door"]
    row.get_by_role("link", name="electrical").click()
    until(page, "document.querySelector('main h1').textContent === 'electrical'")
    page.go_back()
    until(page, "document.querySelector('main h1').textContent === 'Pipelines'")


def test_counters_of_a_step_move_and_the_balance_holds(signed_in):
    page = signed_in("pipelines/electrical")
    page.locator("[data-counter=in]").first.wait_for()
    before = page.evaluate(COUNTER)
    until(page, f"{COUNTER} > {before}")
    until(page, "/[1-9].*\\/s/.test(document.querySelector('[data-counter=in]').nextElementSibling.textContent)")
    page.get_by_text("Balances", exact=True).wait_for()
    left, right = page.locator(".balance-sum").inner_text().split(" = ")
    total = sum(int("".join(filter(str.isdigit, part))) for part in right.split(" + "))
    assert total == int("".join(filter(str.isdigit, left)))
    assert page.evaluate("document.querySelector('.balance-part.is-out').getBoundingClientRect().width") > 10
    assert page.evaluate(CONTRAST) == []


def test_a_bound_is_changed_and_holds(signed_in):
    page = signed_in("pipelines/climate")
    step = page.locator(".steps tr", has_text="*/light")
    step.get_by_role("button", name="Change").click()
    dialog = page.locator("dialog[open]")
    assert dialog.get_by_label("Error bound").input_value() == "10"
    dialog.get_by_label("Error bound").fill("about 5")
    page.keyboard.press("Enter")
    dialog.get_by_text("Write a number such as").wait_for()
    dialog.get_by_label("Error bound").fill("12.5")
    page.keyboard.press("Enter")
    dialog.wait_for(state="detached")
    until(page, "[...document.querySelectorAll('.bound')].some((one) => one.textContent.includes('±12.5'))")
    assert pipelines(page)["climate"]["steps"][1]["bound"] == {"absolute": 12.5}
    step.get_by_role("button", name="Change").click()
    dialog.get_by_label("Error bound").fill("10")
    dialog.get_by_role("button", name="Set").click()
    dialog.wait_for(state="detached")
    until(page, "[...document.querySelectorAll('.bound')].some((one) => one.textContent.includes('±10'))")


def test_the_original_and_what_leaves_are_drawn_together(signed_in):
    page = signed_in("pipelines/electrical?point=m01/current_sum")
    page.locator(".chart canvas").wait_for()
    figures = page.locator(".card", has_text="Original and reduced").locator(".figure")
    read = "(label) => [...document.querySelectorAll('.figure')].find((one) => one.textContent.startsWith(label))"
    number = f"(label) => parseFloat(({read})(label).querySelector('dd').textContent.replaceAll(',', ''))"
    until(page, f"({number})('Came in') > 20", timeout_s=40)
    until(page, f"({number})('Left') > 0", timeout_s=60)
    came, left = (page.evaluate(f"({number})({label!r})") for label in ("Came in", "Left"))
    assert left < came, "a deadband passes all"
    text = figures.last.inner_text()
    assert "of 0.2 A allowed" in text
    assert 0 <= page.evaluate(f"({number})('Largest deviation')") <= 0.2
    assert "warn" not in figures.last.get_attribute("class")
    page.get_by_text("The band is the bound in force (deadband: ±0.2 A)").wait_for()
    shoot(page, "pipeline-compare", full_page=True)
    page.get_by_label("Point", exact=True).fill("m02/current_sum")
    until(page, "location.hash.includes('m02')")
    until(page, f"({number})('Came in') < 20")


def test_of_a_window_the_statistics_are_drawn(signed_in):
    page = signed_in("pipelines/quarter-hour?point=d02/power")
    left = "[...document.querySelectorAll('.figure')].find((one) => one.textContent.startsWith('Left'))?.textContent"
    until(page, f"/Left[1-9]/.test({left})", timeout_s=60)
    page.get_by_text("No step with an error bound works on this point.").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_phone(signed_in, theme):
    page = signed_in("pipelines/electrical", viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=theme)
    page.locator(".chart canvas").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(CONTRAST) == []
    shoot(page, f"pipeline-phone-{theme}", full_page=True)


def test_one_that_is_gone_says_so(signed_in):
    page = signed_in("pipelines/nothing")
    page.get_by_text("There is no pipeline nothing").wait_for()
    go(page, "pipelines")
    page.locator("tr", has_text="electrical").wait_for()
