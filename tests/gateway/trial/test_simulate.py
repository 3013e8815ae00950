"""A whole simulation: counters, sizes, totals, dry runs, facts, pictures and suggestions."""

import io
import itertools
import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch import Batch
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Kind, Point, PointOptions
from gateway.trial.facts import Facts, declared
from gateway.trial.files import FileSource, opened
from gateway.trial.picture import COLUMNS, ROWS, Panel, braille, outline, svg
from gateway.trial.simulate import Simulation, saved
from gateway.trial.sizes import ALL, MARKS, Sizes
from gateway.trial.source import Names
from gateway.trial.suggest import Suggestions, _down
from gateway.trial.totals import Totals
from gateway.uplinks.config import TimeFormat
from gateway.wire.message import FrameEncoder
from gateway.wire.record import encode_json
from pipelines.bounds import Bound
from tests.support.build import config_of, directory_of
from tests.support.documents import ROOT

S = 1_000_000_000
NOW = 1_790_000_000
HOUSEHOLDS = ROOT / "gateway" / "demo" / "data" / "households.csv"
CONFIG = """
gateway: g
pipelines:
  live: {{from: "**", steps: [{{limits: {{min: -5, max: 300}}}}, {{deadband: {{absolute: 1{dry}}}}}], to: [out]}}
  load: {{from: "*/power", steps: [{{window: {{every: 1m, stats: [count, sum, mean]}}}}], to: [out, day]}}
  day: {{steps: [], to: [out]}}
uplinks: {{out: {{type: stdout}}}}
"""


def simulated(text, config=None, *, pictured=(), facts=None, **options):
    config = config_of(CONFIG.format(dry="") if config is None else config)
    simulation = Simulation(config, Facts(config, facts), pictured=list(pictured), **options)
    source = FileSource(io.BufferedReader(io.BytesIO(text.encode())), "f", simulation.names, len(text))
    return simulation, simulation.run(source)


def wave(rows=600, columns=("m1/power", "m1/voltage")):
    lines = [",".join(["time", *columns])]
    for at in range(rows):
        values = [f"{230 + 10 * np.sin(at / 40 + column):.2f}" for column in range(len(columns))]
        lines.append(",".join([str(NOW + at), *values]))
    return "\n".join(lines) + "\n"


def test_all_is_counted_and_told():
    _, result = simulated(wave())
    live, load, day = (result["pipelines"][name] for name in ("live", "load", "day"))
    assert (result["points"], result["raw"]["samples"], result["notes"]) == (2, 1200, [])
    assert (result["from"], result["to"]) == ("2026-09-21T14:13:20.000Z", "2026-09-21T14:23:19.000Z")
    for pipeline in (live, load, day):
        assert pipeline["in"] + pipeline["derived"] == pipeline["out"] + pipeline["filtered"] + pipeline["aggregated"]
    assert [step["step"] for step in live["steps"]] == ["limits", "deadband"]
    assert live["upstream"]["samples"] == live["out"] < 200
    rows = live["steps"][1]["points"]
    assert [row["point"] for row in rows] == ["m1/power", "m1/voltage"]
    assert sum(row["kept"] for row in rows) == live["out"]
    assert all(0.5 < row["largest_error"] <= 1 and row["above_bound"] == 0 and row["bound"] == 1 for row in rows)
    (total,) = load["steps"][0]["totals"]
    assert (total["point"], total["count_in"], total["count_out"], total["kept"]) == ("m1/power", 600, 600, True)
    assert day["in"] == load["out"] == 3 * 11
    assert load["uplinks"] == ["out"]
    assert 0.8 < live["saved_json"] < 1
    json.dumps(result)


def test_a_dry_run_says_what_it_would_do():
    simulation, result = simulated(wave(), CONFIG.format(dry=", dry_run: true"), pictured=["m1/power"])
    step = result["pipelines"]["live"]["steps"][1]
    assert step["out"] == 1200
    assert step["dry_run"]["out"] == sum(row["kept"] for row in step["points"]) < 200
    ((_, (times, original, found)),) = simulation.pictures["live: deadband"].series().items()
    assert len(times) == len(original) == 600
    assert 0.5 < np.abs(original - found).max() <= 1


def test_exact_and_swift_agree():
    exact, swift = simulated(wave(), exact=True)[1], simulated(wave())[1]
    assert exact["ticks"] > 10 * swift["ticks"]
    for name, pipeline in exact["pipelines"].items():
        other = swift["pipelines"][name]
        for key in pipeline.keys() - {"upstream", "saved_json", "saved_frame"}:
            assert pipeline[key] == other[key], key
        assert pipeline["upstream"]["batches"] == other["upstream"]["batches"]


DOOR = "pipelines: {p: {from: '**', steps: [{swinging_door: {absolute: 1, max_silence: 64s}}], to: []}}"
GAP = "pipelines: {p: {from: '**', steps: [{gap: {}}], to: []}}"


def test_steps_that_hear_ticks():
    exact, swift = simulated(wave(), DOOR, exact=True)[1], simulated(wave(), DOOR)[1]
    assert exact["notes"] == []
    assert swift["notes"] == ["a tick every 4 s was replayed because of swinging_door; --exact replays all"]
    assert exact["pipelines"]["p"]["steps"] == swift["pipelines"]["p"]["steps"]
    assert exact["above_bound"] == 0
    assert exact["ticks"] > 3 * swift["ticks"]
    assert simulated(wave(9), GAP)[1]["notes"][0].startswith("every tick was replayed, which takes its time, because")


def test_disorder_and_nothing_are_noted():
    assert "--sort" in simulated(f"time,point,value\n{NOW},a,1\n{NOW - 9},b,1\n")[1]["notes"][0]
    empty = simulated("time,a\n")[1]
    assert empty["notes"] == ["no samples"]
    assert empty["pipelines"]["live"]["saved_json"] is None
    assert saved(25, 100) == 0.75


def test_totals_that_are_not_kept_are_told():
    text = f"time,m1/power\n{NOW},1\n{NOW + 300},1\n{NOW + 1},8\n"
    row = simulated(text)[1]["pipelines"]["load"]["steps"][0]["totals"][0]
    assert (row["count_in"], row["count_out"], row["sum_in"], row["sum_out"], row["kept"]) == (3, 2, 10, 2, False)
    sliding = "pipelines: {p: {from: '**', steps: [{window: {every: 10s, slide: 5s, stats: [count]}}], to: []}}"
    assert "totals" not in simulated(wave(), sliding)[1]["pipelines"]["p"]["steps"][0]
    watch = Totals(directory_of("a"))
    watch.saw(Frame.of([0], 1, [1.0]), Frame.of([], [], []), 0)
    assert watch.result() == [], "no totals came out, so there is nothing to compare"


def sizes_of(frame, commit_ns=S):
    sizes = Sizes("g", "p", directory_of("m1/power", "m1/voltage"), commit_ns, frames=True)
    sizes.add(frame)
    return sizes.result()


def test_few_samples_are_measured_to_the_byte():
    directory = directory_of("m1/power", "m1/voltage")
    frame = Frame.of([0, 1, 0], [NOW * S, NOW * S, (NOW + 1) * S], [230.25, 1, 7], [0, 3, 0])
    batches = [Batch(at, "p", 0, frame.take(part), epoch=NOW) for at, part in ((0, slice(2)), (2, slice(2, 3)))]
    found = sizes_of(frame)
    assert (found["samples"], found["batches"], found["estimated"]) == (3, 2, False)
    exact = sum(len(encode_json(batch, "g", directory, TimeFormat.RFC3339)) for batch in batches)
    assert abs(found["json_bytes"] - exact) <= 2
    encoder = FrameEncoder("g", directory)
    assert found["frame_bytes"] == sum(len(encoder.encode(batch)[0]) for batch in batches)


@pytest.mark.parametrize("commit_ns", [1000, S // 20, 60 * S])
def test_many_samples_are_estimated_closely(commit_ns):
    chance = np.random.default_rng(1)
    n = 4 * ALL
    frame = Frame.of(chance.integers(0, 2, n), NOW * S + np.arange(n) * S // 7, np.round(chance.normal(0, 100, n), 2))
    found = sizes_of(frame, commit_ns)
    assert found["estimated"]
    assert found["batches"] == len(np.unique(frame.time // commit_ns))
    slots = frame.time // commit_ns
    cuts = [0, *(np.flatnonzero(np.diff(slots)) + 1).tolist(), n]
    batches = [
        Batch(at, "p", 0, frame.take(slice(a, b)), epoch=NOW) for at, (a, b) in enumerate(itertools.pairwise(cuts))
    ]
    directory = directory_of("m1/power", "m1/voltage")
    exact = sum(len(encode_json(batch, "g", directory, TimeFormat.RFC3339)) for batch in batches)
    assert found["json_bytes"] == pytest.approx(exact, rel=0.03)
    if len(batches) < 1000:
        encoder = FrameEncoder("g", directory)
        assert found["frame_bytes"] == pytest.approx(sum(len(encoder.encode(b)[0]) for b in batches), rel=0.1)
    assert (int(slots[-1] - slots[0]) > MARKS) == (commit_ns == 1000)


def test_facts_come_from_the_configuration():
    config = config_of("""
adapters:
  meters:
    type: modbus
    url: tcp://h:502
    devices:
      m1: {unit: 1, points: {power: {at: input:0, as: float32, unit: W, limits: [0, 5000]}}}
      m2: {unit: 2, profile: eastron-sdm630}
  bus: {type: mqtt, url: "mqtt://h", subscribe: [{topic: "site/{device}/t", points: {voltage: {unit: V}}}]}
""")
    facts = Facts(config, {"m1/power": PointOptions(unit="kW"), "*/mode": PointOptions(kind=Kind.STATE)})
    assert facts.point("m1/power").unit == "kW", "what the user says goes before"
    assert facts.point("m2/mode").kind is Kind.STATE
    assert facts.point("any/voltage").unit == "V"
    assert facts.point("nobody/knows") == Point(name="nobody/knows")
    assert Facts(config).point("m1/power").limits == (0, 5000)
    assert len(declared(config.adapters["meters"])) > 20


def found(text, wanted, **facts):
    directory = Directory()
    names = Names(directory, Facts(config_of(""), facts))
    file = FileSource(io.BufferedReader(io.BytesIO(text.encode())), "f", names)
    return Suggestions(directory, Bound.parse(wanted)).find(file)


def test_suggestions_meet_the_error_and_load():
    limited = PointOptions(limits=(0.0, 1000.0))
    result = found(wave(), "0.5%", **{"m1/power": limited})
    power, voltage = result["points"]
    assert power["error"] == 5.0
    assert voltage["error"] == pytest.approx(0.1, rel=0.01)
    for row in (power, voltage):
        assert row["best"]["largest_error"] <= row["error"] * (1 + 1e-9)
        assert row["best"]["kept"] == min(
            one["kept"] for one in row["curve"] if one["largest_error"] <= row["error"] * (1 + 1e-9)
        )
    steps = json.dumps(result["steps"])
    assert '%", "max_silence": "600s", "points": "m1/power"' in steps
    config = config_of(f"pipelines: {{p: {{from: '**', to: [], steps: {steps}}}}}")
    again = simulated(wave(), f"pipelines: {{p: {{from: '**', to: [], steps: {steps}}}}}", facts={"m1/power": limited})
    assert config.pipelines["p"].steps
    rows = [row for step in again[1]["pipelines"]["p"]["steps"] for row in step["points"]]
    assert {row["point"]: row["largest_error"] <= e for row, e in zip(rows, (5.0, 0.1002), strict=True)}


def test_suggestions_for_real_profiles():
    directory = Directory()
    with opened(HOUSEHOLDS, Names(directory, Facts(config_of("")))) as file:
        result = Suggestions(directory, Bound.parse("2%")).find(file)
    assert len(result["points"]) == 5
    assert all(row["best"]["share"] < 1 for row in result["points"])
    assert {next(iter(step.values()))["max_silence"] for step in result["steps"]} == {"18000s"}


def test_nothing_to_suggest():
    assert found("time,a\n", "1%")["notes"] == ["no numbers"]
    constant = found(f"time,a\n{NOW},5\n{NOW + 1},5\n", "1%")
    assert constant["points"][0]["best"]["bound"] == 0
    assert constant["steps"][0]


@given(st.floats(1e-12, 1e12))
def test_a_bound_is_rounded_down(bound):
    rounded = _down(bound)
    assert bound * 0.9 <= rounded <= bound * (1 + 1e-9)


def panel(n=5000):
    times = NOW * S + np.arange(n) * S
    values = np.sin(np.arange(n) / 300)
    return Panel("live: deadband <m1>", "V", times, values, np.round(values, 1))


def test_a_picture_is_svg():
    root = ET.fromstring(svg([panel(), panel(0), panel(1)]))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 6
    assert 900 < len(lines[0].attrib["points"].split()) < 2000
    assert "live: deadband <m1>" in "".join(root.itertext())


def test_a_picture_is_characters():
    lines = braille(panel()).splitlines()
    assert len(lines) == 1 + 2 * (ROWS + 1) + 1
    assert all(len(line.partition("│")[2]) == COLUMNS for line in lines if "│" in line)
    assert "reconstructed" in braille(panel(0))


def test_the_outline_keeps_the_extremes():
    times = np.arange(10_000)
    values = np.zeros(10_000)
    values[1234], values[8888] = 50, -50
    place, found_values = outline(times, values, 100)
    assert (found_values.max(), found_values.min(), len(place)) == (50, -50, 200)
