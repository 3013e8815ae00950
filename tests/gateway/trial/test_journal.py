"""The local history through another configuration: the same samples as came, in the order of time."""

import json

import numpy as np
import pytest

from gateway.config import GatewayConfig
from gateway.directory import Directory
from gateway.engine import Group
from gateway.frame import Frame, concat
from gateway.point import Kind, Point
from gateway.store.compact import Compaction
from gateway.store.reading import Reader
from gateway.trial.facts import Facts
from gateway.trial.journal import JournalSource
from gateway.trial.source import Names
from tests.gateway.cli.conftest import onpath, own_logging  # noqa: F401  fixtures
from tests.support.build import config_of, engine_over

S = 1_000_000_000
HOUR = 3600 * S
START = 1_790_000_000 * S
CONFIG = """
gateway: g
state: {state}
pipelines: {{all: {{from: ["**"], steps: [{{deadband: {{absolute: 5}}}}], to: [out]}}}}
uplinks: {{out: {{type: stdout}}}}
"""


@pytest.fixture
def state(tmp_path):
    """Two points for ten minutes, the first half compacted; the newer of two samples comes first."""
    engine = engine_over(tmp_path / "state", config_of(CONFIG.format(state=tmp_path / "state")), START)
    directory = engine.directory
    power = directory.add(Point(name="m1/power", unit="W"))
    mode = directory.add(Point(name="m1/mode", kind=Kind.STATE))
    codes = [directory.state(mode, text) for text in ("off", "on")]
    for first in range(0, 600, 10):
        frames = []
        for second in range(first, first + 10):
            now = START + second * S
            times, values = [now, now - S // 2, now], [second % 60, second % 60, codes[second % 2]]
            frames.append(Frame.of([power, power, mode], times, values))
        engine.commit(Group(segments=frames, checkpoint=first == 300), START + (first + 10) * S)
    compaction = Compaction(engine.store)
    while compaction.step(START + 2 * HOUR):
        pass
    assert 0 < engine.store.journal.rows < 40
    engine.store.close()
    return tmp_path / "state"


def test_samples_in_the_order_of_time_under_own_ids(state):
    directory = Directory()
    directory.add(Point(name="other"))
    with Reader(state) as reader:
        source = JournalSource(reader, Names(directory, Facts(GatewayConfig())))
        whole = concat(chunk.part(row, row + 1) for chunk in source.chunks() for row in range(len(chunk.times)))
    assert len(whole) == 1800
    assert (np.diff(whole.time) >= 0).all()
    assert source.notes == []
    power, mode = directory.find("m1/power"), directory.find("m1/mode")
    assert directory.point(power).unit == "W"
    assert directory.states(mode) == ["off", "on"]
    texts = [directory.states(mode)[int(value)] for value in whole.value[whole.point == mode]]
    assert texts == ["off", "on"] * 300


@pytest.mark.parametrize("where", ["state", "site.yaml"])
def test_simulate_from_the_history(onpath, state, tmp_path, where):  # noqa: F811
    (tmp_path / "site.yaml").write_text(CONFIG.format(state=state))
    arguments = ("simulate", tmp_path / "site.yaml", "--journal", tmp_path / where, "--json")
    code, out, err = onpath(*arguments)
    result = json.loads(out)
    assert (code, err, result["kind"], result["raw"]["samples"], result["points"]) == (0, "", "history", 1800, 2)
    assert result["above_bound"] == 0
    middle = ("--since", "2026-09-21T14:16:40Z", "--until", "2026-09-21T14:17:40Z")
    part = json.loads(onpath(*arguments, *middle)[1])
    assert 0 < part["raw"]["samples"] < 1800


def test_there_is_nothing_to_simulate(onpath, state, tmp_path):  # noqa: F811
    (tmp_path / "site.yaml").write_text(CONFIG.format(state=tmp_path / "empty"))
    code, _, err = onpath("simulate", tmp_path / "site.yaml")
    assert code == 2
    assert "--input or --journal" in err
    code, _, err = onpath("simulate", tmp_path / "site.yaml", "--journal", tmp_path / "site.yaml")
    assert code == 1
    assert "no state folder of onpath" in err
