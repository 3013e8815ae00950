"""Log lines: for people, for journald, and as JSON."""

import json
import logging
import re
import sys

import pytest

from gateway import logs
from gateway.config.model import LogConfig, LogFormat, LogLevel


@pytest.fixture
def restored():
    """Logging as it was before, also for the libraries that set_up makes quiet."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    noisy = {
        name: logging.getLogger(name).level for name in ("gmqtt", "pymodbus", "coap", "coap-server", "mqtt", "asyncio")
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in noisy.items():
        logging.getLogger(name).setLevel(before)


def record(level=logging.WARNING, message="link down: %s", args=("timed out",), error=None, **facts):
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("gateway.supervisor", level, "f.py", 1, message, args, info)
    made.created, made.msecs = 1769860800.25, 250.0
    vars(made).update(facts)
    return made


def raised() -> ValueError:
    with pytest.raises(ValueError, match="broken") as caught:
        raise ValueError("broken")
    return caught.value


def test_text_for_people():
    line = logs.TextFormatter(journald=False).format(record(adapter="meters", count=3))
    assert line == "2026-01-31T12:00:00.250Z warning link down: timed out adapter=meters count=3"


@pytest.mark.parametrize(
    ("level", "priority"), [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2)]
)
def test_text_for_journald_begins_with_the_priority(level, priority):
    line = logs.TextFormatter(journald=True).format(record(logging.getLevelName(level), "x", ()))
    assert line == f"<{priority}>{level.lower()} x"


def test_json_is_one_object_a_line_with_all_facts():
    line = logs.JsonFormatter().format(record(adapter="meters", where=object, error=raised()))
    assert "\n" not in line
    told = json.loads(line)
    assert told.pop("exception").endswith("ValueError: broken")
    assert told == {
        "time": "2026-01-31T12:00:00.250Z",
        "level": "warning",
        "logger": "gateway.supervisor",
        "message": "link down: timed out",
        "adapter": "meters",
        "where": "<class 'object'>",
    }


def test_a_traceback_follows_on_its_own_lines():
    first, *rest = logs.TextFormatter(journald=False).format(record(error=raised())).splitlines()
    assert first.endswith("link down: timed out")
    assert rest[-1] == "ValueError: broken"


@pytest.mark.parametrize("level", list(LogLevel))
def test_set_up_sends_what_is_important_enough_to_standard_error(restored, capsys, level, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logs.set_up(LogConfig(level=level))
    logs.set_up(LogConfig(level=level))  # a reload
    log = logging.getLogger("onpath.test")
    for name in LogLevel:
        log.log(logging.getLevelName(name.upper()), "a line")
    captured = capsys.readouterr()
    assert captured.out == ""
    shown = re.findall(r"Z (\w+) a line", captured.err)
    assert shown == list(LogLevel)[list(LogLevel).index(level) :]


def test_set_up_as_json_and_libraries_quiet(restored, capsys):
    logs.set_up(LogConfig(format=LogFormat.JSON))
    logging.getLogger("gmqtt.client").warning("each failed attempt")
    logging.LoggerAdapter(logging.getLogger("onpath.adapter"), {"adapter": "bus"}).info("ready")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["adapter"] == "bus"


def test_set_up_under_journald(restored, capsys, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    logs.set_up(LogConfig())
    logging.getLogger("onpath").error("x")
    assert capsys.readouterr().err == "<3>error x\n"
    assert sys.stderr
