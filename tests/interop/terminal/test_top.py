"""``onpath top`` in a real terminal: what it shows, its keys, other sizes, a gateway that goes, and how it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

TITLES = {
    "1": "adapter ", "2": "device ", "3": "pipeline ", "4": "uplink ", "5": "no alert rules", "6": "time ",
}  # fmt: skip


@pytest.fixture
def top(terminal, site):
    terminal.type("clear; echo before")
    terminal.until("before")
    terminal.type(f"onpath top -c {site.config}; echo left with $?")
    terminal.until(lambda lines: any(line.startswith("meters") for line in lines), "the adapters")
    yield terminal
    terminal.keys("C-c")


def process(site):
    """Its process id."""
    found = subprocess.run(
        ["pgrep", "-f", f"bin/onpath top -c {site.config}"], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[0])


def test_every_view_fits_into_eighty_by_twenty_four(top):
    for key, title in TITLES.items():
        top.keys(key)
        lines = top.until(lambda lines, title=title: any(line.startswith(title) for line in lines), title)
        assert len(lines) <= 24
        assert all(len(line) <= 80 for line in lines)
        assert lines[0].startswith("g1  onpath ")
        assert lines[0].endswith(" UTC")
        assert re.match(r"cpu  \[[| ]{10}\] +\d+ %  memory \[", lines[1])
        assert re.match(r"in +[\d,.]+/s +[\d.]+ k?B/s  as JSON", lines[3])
        assert lines[-1].startswith("? help  / filter")


def test_figures_change_by_themselves(top):
    before = top.lines()[0]
    top.until(lambda lines: lines[0] != before and lines[0].startswith("g1"), "another time of the day")


def test_keys_choose_filter_sort_and_show_all_of_a_line(top):
    top.keys("3")
    top.until("  deadband")
    top.keys("Down", "Down")
    top.until(lambda lines: "3 of " in lines[-1], "the third line")
    top.keys("Enter")
    lines = top.until("cpu_s")
    assert any(line.startswith("step ") and line.endswith("deadband") for line in lines)
    assert any(line.startswith("bound.absolute") for line in lines)
    top.keys("Escape")
    top.until("  deadband")
    top.keys("/", "w", "i", "n")
    lines = top.until(lambda lines: lines[-1].startswith("/win"), "the filter")
    shown = [line for line in lines if line.startswith(("live", "load", "idle", "  "))]
    assert [line.split()[0] for line in shown if not line.startswith("     ")] == ["load", "window"]
    top.keys("Escape")
    top.until("live ")
    top.keys("2")
    top.until("m2 ")
    top.keys("s", "r")
    lines = top.until("device▼")
    assert [line.split()[0] for line in lines if re.match(r"(m\d|s\d) ", line)] == ["s1", "m2", "m1"]


def test_help_and_hold(top):
    top.keys("?")
    top.until("Tab  Shift-Tab")
    top.keys("x", "p")
    top.until(" held")
    time.sleep(0.5)
    held = top.lines()[0]
    time.sleep(2.5)
    assert top.lines()[0] == held
    top.keys("p")
    top.until(lambda lines: lines[0] != held, "it goes on")


def test_other_sizes(top):
    top.keys("2")
    top.until("m1 ")
    narrow = top.lines()
    top.resize(150, 40)
    lines = top.until(lambda lines: len(lines) == 40 and "? help" in lines[-1], "40 lines")
    assert any("last error" in line for line in lines)
    assert max(map(len, lines)) > max(map(len, narrow))
    top.resize(50, 12)
    lines = top.until(lambda lines: len(lines) == 12 and any(line.startswith("m1") for line in lines), "12 lines")
    assert all(len(line) <= 50 for line in lines)
    top.resize(30, 8)
    top.until("40 x 10 are needed")
    top.resize(80, 24)
    top.until(lambda lines: any(line.startswith("m1") for line in lines), "all again")


def test_colours_say_what_is_up_and_down(top):
    top.keys("4")
    top.until(lambda lines: any(line.startswith("cloud ") for line in lines), "the uplink")
    assert re.search(r"\x1b\[31m(?:\x1b\[[\d;]*m)*down", top.screen(colours=True))  # the first line is reversed
    top.keys("2")
    top.until(lambda lines: any(line.startswith("m2 ") for line in lines), "the device")
    assert re.search(r"\x1b\[32m(?:\x1b\[[\d;]*m)*up", top.screen(colours=True))


@pytest.mark.parametrize("end", ["q", "C-c", signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_it_was(top, site, end):
    assert top.modes() == ("1", "0")
    if isinstance(end, str):
        top.keys(end)
    else:
        os.kill(process(site), end)
    lines = top.until("left with 0")
    assert any(line == "before" for line in lines)
    assert not any("as JSON" in line for line in lines)
    assert top.modes() == ("0", "1")
    top.type("stty -a | grep -o ' echo ' && echo typed")
    top.until("typed")


def test_the_gateway_dies_and_comes_back(top, site):
    top.keys("3")
    top.until("live ")
    try:
        site.kill()
        lines = top.until(lambda lines: lines[0].startswith("no answer from the gateway"), "that it is gone")
        assert any(line.startswith("live ") for line in lines)  # the last figures stay
        top.until(lambda lines: re.search(r"for [2-9]\.\d s", lines[0]), "for how long")
    finally:
        site.start()
    top.until(lambda lines: lines[0].startswith("g1  onpath") and any("  deadband" in line for line in lines))


def test_it_costs_next_to_nothing(top, site):
    """Of one core, over ten seconds; a generous bound for a machine that others use, too."""
    stat = Path(f"/proc/{process(site)}/stat")
    ticks = os.sysconf("SC_CLK_TCK")

    def spent():
        return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])) / ticks

    before = spent()
    time.sleep(10)
    share = (spent() - before) / 10
    print(f"onpath top: {100 * share:.2f} % of a core")
    assert share < 0.03


def test_nobody_is_there(terminal, tmp_path):
    terminal.type(f"onpath top --state {tmp_path}; echo left with $?")
    lines = terminal.until("left with 69")
    assert any(line.startswith("onpath: no onpath daemon answers for") for line in lines)


def test_a_terminal_that_cannot(terminal, site):
    terminal.type(f"TERM=dumb onpath top -c {site.config} | head -n 3; echo left with $?")
    lines = terminal.until("left with 0")
    assert any(line.startswith("g1  onpath") for line in lines)
    terminal.type(f"clear; TERM=no-such-terminal onpath top -c {site.config}; echo left with $?")
    lines = terminal.until("left with 1")
    assert any("onpath: this terminal cannot show it" in line for line in lines)


def test_points_are_watched_in_place(terminal, site):
    terminal.type(f"onpath points m1/voltage_l1 m1 --watch -c {site.config}; echo left with $?")
    lines = terminal.until(lambda lines: any(line.startswith("m1/voltage_l1 ") for line in lines), "the point")
    assert lines[0].startswith("point ")
    terminal.keys("C-c")
    terminal.until("left with 0")
    assert terminal.modes() == ("0", "1")
