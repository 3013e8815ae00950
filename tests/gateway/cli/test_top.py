"""``onpath top``: its screen at any size, its keys, and what it prints where there is no terminal."""

import asyncio
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from gateway.cli import figures
from gateway.cli.top_feed import Feed, snapshot
from gateway.cli.top_header import Seen
from gateway.cli.top_screen import screen
from gateway.cli.top_state import EVERY_S, HELP, State
from gateway.cli.top_table import STYLES, Cell, Chosen, Column, Row, Table, arranged, clipped, fitted, widths
from gateway.cli.top_views import VIEWS
from tests.support.daemon import daemon
from tests.support.metered import metered
from tests.support.trials import trials

KEYS = [
    *("1", "2", "3", "4", "5", "6", "tab", "backtab", "up", "down", "page-up", "page-down", "home", "end"),
    *("enter", "escape", "/", "s", "S", "r", "p", "+", "-", "?", "m", "1", "backspace", " ", "G", "g"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with metered(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def seen(site):
    """What a real gateway tells, with events and alerts as it would tell them."""
    found = asyncio.run(snapshot(site.state))
    row = {"rule": "hot", "point": "m1/power", "severity": "critical", "value": 81.5, "text": "too hot"}
    found["alerts"] = {
        "rules": [{"name": "hot"}],
        "active": [row | {"state": "raised", "since_ms": 1_790_000_000_000, "acknowledged": False}],
        "recent": [row | {"state": "cleared", "time_ms": 1_790_000_100_000}],
    }
    found["events"] = [
        {"number": n, "time_ms": 1_790_000_000_000 + n, "level": "info", "source": "gateway.x", "text": f"line {n}"}
        for n in range(1, 60)
    ]
    return Seen(found)


def text_of(lines):
    return ["".join(text for text, _ in line) for line in lines]


def shown(seen, state, width=80, height=24):
    return text_of(screen(seen, state, width, height))


@settings(max_examples=trials(150), deadline=None)
@given(keys=st.lists(st.sampled_from(KEYS), max_size=25), width=st.integers(1, 200), height=st.integers(1, 60))
def test_any_keys_at_any_size_give_a_screen_that_fits(seen, keys, width, height):
    state = State()
    for key in keys:
        state.press(key)
        lines = screen(seen, state, width, height)
        assert len(lines) == height
        assert all(cell_len(line) <= width for line in text_of(lines))
        assert all(style in STYLES for line in lines for _, style in line)
        assert 0 <= state.now.first <= max(0, state.now.at)


def test_the_head_says_how_the_gateway_is(seen):
    lines = shown(seen, State())
    assert lines[0].startswith("g1  onpath 0.")
    assert lines[1].startswith("cpu  [")
    assert "memory" in lines[1]
    assert lines[2].startswith("own  [")
    assert [line[:4] for line in lines[3:6]] == ["in  ", "out ", "wait"]
    assert any("/s" in line for line in lines[3:5])


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_shows_its_rows(seen, view):
    words = {
        "adapters": "meters",
        "devices": "m1 ",
        "pipelines": "  deadband",
        "uplinks": "cloud",
        "alerts": "too hot",
        "events": "line 59",
    }
    state = State(view=view)
    assert any(words[view] in line for line in shown(seen, state, 100, 40))
    state.press("enter")
    assert any(line.split()[:1] for line in shown(seen, state, 100, 40)[8:])
    state.press("escape")
    assert not state.detail


def test_steps_show_what_flows_and_what_they_cost(seen):
    lines = shown(seen, State(view="pipelines"), 120, 40)
    (live,) = [line for line in lines if line.startswith("live ")]
    limits = next(line for line in lines if line.startswith("  limits "))
    assert float(live.split()[1].replace(",", "")) > 50
    assert float(limits.split()[1].replace(",", "")) > 50
    assert "%" in limits


def test_a_filter_is_typed_kept_and_dropped(seen):
    state = State(view="devices")
    for key in ("/", "m", "2"):
        state.press(key)
    lines = shown(seen, state)
    assert lines[-1].startswith("/m2")
    assert [line.split()[0] for line in lines if line.startswith(("m1", "m2", "s1"))] == ["m2"]
    state.press("enter")
    assert shown(seen, state)[-1].startswith("/m2  ?")
    state.press("escape")
    assert len([line for line in shown(seen, state) if line.startswith(("m1", "m2", "s1"))]) == 3
    for key in ("/", "q"):
        state.press(key)
    assert not state.ended
    assert 'no line has "q"' in "\n".join(shown(seen, state))


def test_columns_are_sorted_both_ways(seen):
    state = State(view="devices")
    shown(seen, state)
    state.press("s")
    names = [line.split()[0] for line in shown(seen, state) if line.startswith(("m1", "m2", "s1"))]
    assert names == ["m1", "m2", "s1"]
    state.press("r")
    lines = shown(seen, state)
    assert [line.split()[0] for line in lines if line.startswith(("m1", "m2", "s1"))] == ["s1", "m2", "m1"]
    assert "device▼" in "\n".join(lines)
    state.press("S")
    assert "▼" not in "\n".join(shown(seen, state))


def test_new_lines_of_the_log_are_followed_until_one_looks_back(seen):
    state = State(view="events")
    assert "line 59" in shown(seen, state)[-2]
    more = Seen({**seen.topics, "events": [*seen.topics["events"], seen.topics["events"][0] | {"text": "the newest"}]})
    assert "the newest" in shown(more, state)[-2]
    state.press("up")
    shown(more, state)
    even_more = Seen(
        {**more.topics, "events": [*more.topics["events"], more.topics["events"][0] | {"text": "yet one"}]}
    )
    assert "yet one" not in "\n".join(shown(even_more, state))
    state.press("end")
    assert "yet one" in "\n".join(shown(even_more, state))


def test_it_says_that_nobody_answers(seen):
    lines = shown(Seen(seen.topics, "nobody is there", 12.0), State())
    assert lines[0] == "no answer from the gateway for 12 s: nobody is there; trying again"
    assert lines[1].startswith("cpu")
    assert shown(Seen(gone="nobody is there"), State())[0].startswith("no answer from the gateway: nobody")


def test_keys_of_the_help_do_something():
    assert HELP[0][0].split() == [str(number) for number, _ in enumerate(VIEWS, 1)]
    state = State()
    state.press("?")
    assert state.help
    state.press("x")
    assert not state.help
    for _ in range(10):
        state.press("-")
    assert state.every_s == EVERY_S[-1]
    state.press("+")
    assert state.every_s == EVERY_S[-2]
    state.press("p")
    assert state.paused
    state.press("tab")
    assert state.view == "devices"
    state.press("h")
    assert state.view == "adapters"
    state.press("q")
    assert state.ended


def test_columns_give_way_by_their_rank():
    columns = (Column("a"), Column("b", rank=2), Column("c", rank=1), Column("d", flexible=True, widest=99))
    table = Table(columns, (Row(tuple(Cell("x" * 20) for _ in columns)),))
    assert list(widths(table, table.rows, 200)) == [0, 1, 2, 3]
    assert list(widths(table, table.rows, 65)) == [0, 2, 3]
    assert list(widths(table, table.rows, 40)) == [0, 3]
    assert sum(widths(table, table.rows, 65).values()) + 4 == 65
    assert list(widths(table, table.rows, None).values()) == [20] * 4


def test_wide_characters_count_twice():
    assert cell_len(fitted("电表一号", 6)) == 6
    assert fitted("电表", 6, right=True) == "  电表"
    assert text_of([clipped([("电表一号", ""), ("x", "bad")], 7)]) == ["电表一…"]


def test_a_part_brings_its_whole():
    table = Table((Column("a"),), (Row((Cell("one"),), parts=(Row((Cell("two"),)), Row((Cell("three"),)))),))
    found = [row.cells[0].text for row in arranged(table, Chosen(filter="TWO"))]
    assert found == ["one", "two"]
    assert len(arranged(table, Chosen(filter="one"))) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (3725, "1 h 02 min"), (90_000, "1 d 01 h")],
)
def test_time_spans(seconds, text):
    assert figures.span(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (25.3e9, "25.3 GB")])
def test_sizes(value, text):
    assert figures.size(value) == text


def test_curves_reach_from_nothing_to_the_largest():
    assert figures.spark([0, 4, 8], 10) == "▁▅█"
    assert figures.spark([1, 2, 3], 2) == "▆█"
    assert figures.spark([], 5) == ""


def test_without_a_terminal_it_prints_one_picture(onpath, site):
    code, out, err = onpath("top", "-c", site.config)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    lines = out.splitlines()
    assert [line.lower() for line in lines if line and line.isupper()] == list(VIEWS)
    assert any(line.startswith("m2 ") for line in lines)


def test_json_is_an_object_an_interval(onpath, site):
    code, out, _ = onpath("top", "--json", "--for", "4500ms", "--state", site.state)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(rows) >= 2
    assert {"time_ms", "overview", "graph", "devices", "pipelines", "spool", "alerts"} <= rows[-1].keys()
    assert rows[-1]["overview"]["rates"]["in_samples"] > 50


def test_a_view_that_is_not_there(onpath, site):
    code, _, err = onpath("top", "--view", "nothing", "--state", site.state)
    assert (code, "adapters, devices" in err) == (2, True)


QUIET = "adapters: {}\npipelines: {}\nuplinks: {out: {type: stdout}}\n"


async def test_the_feed_tells_of_a_gateway_that_goes_and_comes_back(tmp_path):
    async with daemon(tmp_path, QUIET) as running:
        news = asyncio.Event()
        feed = Feed(running.state, "events", lambda **_: news.set())
        task = asyncio.create_task(feed.run())

        async def until(condition):
            async with asyncio.timeout(30):
                while not condition(feed.seen):
                    news.clear()
                    await news.wait()

        await until(lambda seen: "overview" in seen.topics and "events" in seen.topics)
        first = feed.seen.topics["overview"]["pid"]
        feed.show("uplinks")
        await until(lambda seen: "spool" in seen.topics)
        running.kill()
        await until(lambda seen: seen.gone)
        assert feed.seen.topics["overview"]["pid"] == first
        await running.start()
        await until(lambda seen: not seen.gone and seen.topics["overview"]["pid"] != first)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_it_imports_nothing_that_costs_time():
    """Nor curses: it is loaded on a terminal only."""
    code = (
        "import sys, gateway.cli.top; print([m for m in ('numpy', 'apsw', 'curses', 'starlette') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
