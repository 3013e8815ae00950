"""``onpath graph``: which adapters feed which pipelines, as text, for Mermaid, and as a picture."""

import itertools
import json
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli import graph_mermaid, graph_svg, graph_text
from gateway.cli.graph_order import complete, in_order, layers
from gateway.cli.graph_plan import planned
from tests.support.build import config_of
from tests.support.metered import metered
from tests.support.trials import trials

CONFIG = """
adapters:
  meters: {type: modbus, url: "tcp://10.0.0.5:502", devices: {m1: {unit: 1, profile: eastron-sdm630}}}
  bus: {type: mqtt, url: "mqtt://broker:1883", subscribe: [{topic: "site/{device}/t", payload: json}]}
pipelines:
  live:
    from: ["m1/*"]
    steps: [{limits: {}}, {deadband: {percent: 1}}, {deadband: {percent: 2}}]
    to: [cloud, quarter]
  quarter: {steps: [{window: {every: 15m, stats: [mean]}}], to: [cloud]}
  plugs: {from: ["d?/power"], to: [disk]}
uplinks:
  cloud: {type: mqtt, url: "mqtt://cloud.example:1883", username: user, password: secret}
  disk: {type: file, path: /tmp/out.jsonl}
"""

TEXT = """\
ADAPTERS
  meters            modbus    1 device                                  ──┐
  bus               mqtt                                                ──│─┐
PIPELINES                                                                 │ │
  live              limits ▸ deadband x2                                ◀─┘ │
                                                                        ────│─┐
  plugs             (passes everything on)                              ◀───┘ │
                                                                        ────┐ │
  quarter           window                                              ◀───│─┤
                                                                        ──┐ │ │
UPLINKS                                                                   │ │ │
  disk              file      /tmp/out.jsonl                            ◀─│─┘ │
  cloud             mqtt      cloud.example                             ◀─┴───┘
"""


def node(kind, name, **more):
    plain = {"id": f"{kind}:{name}", "kind": kind, "name": name, "type": "t", "state": "up", "detail": ""}
    return plain | {"samples_s": 1.0} | ({"steps": ["limits"]} if kind == "pipeline" else {}) | more


def edge(source, target):
    return {"from": source, "to": target, "samples": 1, "samples_s": 1234.5}


@st.composite
def graphs(draw):
    """Any that a configuration can describe: pipelines feed only those behind them."""
    nodes = [
        node(kind, f"{kind[0]}{number}")
        for kind, most in (("adapter", 6), ("pipeline", 9), ("uplink", 5))
        for number in range(draw(st.integers(0, most)))
    ]
    kinds = {one["id"]: one["kind"] for one in nodes}
    pairs = [
        (a, b)
        for a, b in itertools.combinations(kinds, 2)
        if (kinds[a], kinds[b]) in {("adapter", "pipeline"), ("pipeline", "pipeline"), ("pipeline", "uplink")}
    ]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return {"nodes": nodes, "edges": [edge(a, b) for a, b in chosen]}


def test_a_configuration_is_drawn():
    drawn = graph_text.plain(graph_text.draw(planned(config_of(CONFIG))))
    assert drawn == TEXT


def test_an_adapter_stands_before_what_can_take_its_points():
    edges = {(edge["from"], edge["to"]) for edge in planned(config_of(CONFIG))["edges"]}
    assert ("adapter:meters", "pipeline:live") in edges
    assert ("adapter:bus", "pipeline:live") not in edges  # m1 is another's
    assert ("adapter:meters", "pipeline:plugs") not in edges
    assert ("adapter:bus", "pipeline:plugs") in edges


def test_no_login_is_shown():
    graph = planned(config_of(CONFIG))
    for shown in (json.dumps(graph), graph_svg.draw(graph), graph_mermaid.draw(graph)):
        assert "secret" not in shown
        assert "cloud.example" in shown


def follow(drawn, row):
    """Lines that the tracks lead to from the line that writes at ``row``: a reader's eye."""
    grid = [line.plain for line in drawn]
    column = max(grid[row].rfind(char) for char in "┐┤┬┼╴")
    found, y = set(), row + 1
    while y < len(grid) and column < len(grid[y]) and grid[y][column] in "│┤┘┴┼┐┬":
        char = grid[y][column]
        if char in "┤┘┴┼" and "◀" in grid[y][:column]:
            found.add(y)
        if char in "┘┴":
            break
        y += 1
    return found


@settings(max_examples=trials(60), deadline=None)
@given(graphs())
def test_every_way_can_be_followed_in_the_text(graph):
    drawn = graph_text.draw(graph, live=True)
    rows = {}
    for at, line in enumerate(drawn):
        name = line.plain[2:6].split()
        if line.plain.startswith("  ") and name:
            rows[name[0]] = at
    for one in graph["nodes"]:
        targets = {edge["to"] for edge in graph["edges"] if edge["from"] == one["id"]}
        if targets:
            row = rows[one["name"]] + (one["kind"] == "pipeline")
            assert follow(drawn, row) == {rows[target.partition(":")[2]] for target in targets}


@settings(max_examples=trials(40), deadline=None)
@given(graphs())
def test_layers_go_from_left_to_right(graph):
    columns, ways = layers(graph)
    place = {name: at for at, column in enumerate(columns) for name in column}
    assert sorted(place) == sorted(
        {one["id"] for one in graph["nodes"]} | {s for stops in ways.values() for s in stops}
    )
    for (source, target), between in ways.items():
        way = [place[one] for one in (source, *between, target)]
        assert way == list(range(way[0], way[-1] + 1))
    assert [one["id"] for one in in_order(graph)][: sum(n["kind"] == "adapter" for n in graph["nodes"])] == [
        one["id"] for one in graph["nodes"] if one["kind"] == "adapter"
    ]


@settings(max_examples=trials(40), deadline=None)
@given(graphs())
def test_boxes_of_the_picture_do_not_overlap_and_stand_within_it(graph):
    root = ET.fromstring(graph_svg.draw(graph, live=True))
    width, height = (float(part) for part in root.get("viewBox").split()[2:])
    boxes = [
        tuple(float(box.get(key)) for key in ("x", "y", "width", "height"))
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
        if box.get("rx") == "7"
    ]
    assert len(boxes) == len(graph["nodes"])
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for (x1, y1, w1, h1), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1


def test_a_picture_refers_to_nothing_outside():
    drawn = graph_svg.draw({"nodes": [node("uplink", "<a&b>", detail='"x" & <y>')], "edges": []})
    root = ET.fromstring(drawn)
    assert "<a&b>" in "".join(root.itertext())
    assert re.findall(r"(?:https?:)?//[^\"' ]+", drawn) == ["http://www.w3.org/2000/svg"]


def test_mermaid_quotes_what_means_something_to_it():
    drawn = graph_mermaid.draw({"nodes": [node("pipeline", 'a"]; end <b>')], "edges": []})
    label = re.search(r'n0\["(.*)"\]:::pipeline', drawn)[1]
    assert label == "a#34;#93;#59; end #60;b#62;<br/>limits"


def test_edges_to_what_is_not_shown_are_left_out():
    graph = complete({"nodes": [node("pipeline", "a")], "edges": [edge("pipeline:a", "pipeline:hidden")]})
    assert graph["edges"] == []
    graph_svg.draw(graph)


@pytest.mark.parametrize("format_", ["text", "mermaid", "svg"])
def test_it_is_written_to_a_file(onpath, tmp_path, format_):
    path, out = tmp_path / "site.yaml", tmp_path / "graph"
    path.write_text(CONFIG)
    assert onpath("graph", "-c", path, "--format", format_, "-o", out) == (0, "", "")
    code, shown, _ = onpath("graph", path, "--format", format_)
    assert (code, shown) == (0, out.read_text())
    assert "quarter" in shown


def test_with_the_rates_of_the_running_gateway(onpath, tmp_path):
    with metered(tmp_path) as site:
        graph = json.loads(onpath("graph", "-c", site.config, "--live", "--json")[1])
        rates = {edge["from"]: edge["samples_s"] for edge in graph["edges"] if edge["to"] == "pipeline:live"}
        assert rates["adapter:meters"] > 50
        shown = onpath("graph", "--state", site.state, "--live")[1]
        assert re.search(r"live +[\d,]+/s → [\d,.]+/s", shown)
