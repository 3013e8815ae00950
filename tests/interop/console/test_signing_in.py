"""Who may come in, and by which door."""

import os
import subprocess
import sys

import pytest

from tests.support.browser import sign_in, until

REFUSED = r"status of 401"


def onpath(stand, *arguments):
    """A command beside the running gateway."""
    command = [sys.executable, "-m", "gateway.cli.main", *arguments, "-c", stand["config"]]
    done = subprocess.run(command, env={**os.environ, **stand["variables"]}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_wrong_password_is_said_and_the_right_one_lets_in(fresh, stand, watched):
    watched.expect(REFUSED)
    page = fresh()
    page.goto("/")
    page.fill("input[type=password]", "not the password")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('[role=alert]')?.textContent.includes('not the password')")
    assert page.locator("input[type=password]").get_attribute("aria-invalid") == "true"
    sign_in(page, stand["password"])
    assert page.locator("#main h1").inner_text() == "Overview"
    page.reload()
    page.wait_for_selector("#main h1")


def test_a_link_from_the_command_line_lets_in_once(fresh, stand, watched):
    watched.expect(REFUSED)
    url = onpath(stand, "console", "url").split()[-1]
    assert url.startswith(stand["url"])
    page = fresh()
    page.goto(url)
    page.wait_for_selector("#main h1")
    assert "code" not in page.url
    again = fresh()
    again.goto(url)
    until(again, "document.querySelector('[role=alert]')?.textContent.includes('has been used')")


def test_signing_out_ends_the_session(fresh, stand, watched):
    watched.expect(REFUSED)
    page = fresh()
    sign_in(page, stand["password"])
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("input[type=password]")
    assert page.request.get("/api/overview").status == 401


@pytest.mark.parametrize("place", ["points?q=voltage", "events"])
def test_a_deep_link_survives_signing_in(fresh, stand, place):
    page = fresh()
    page.goto(f"/#/{place}")
    page.fill("input[type=password]", stand["password"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#main h1")
    assert page.url.endswith(f"/#/{place}")
