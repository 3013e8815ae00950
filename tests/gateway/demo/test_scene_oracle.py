"""The judge of scenes: what gateways accepted against what the network told."""

import json

import pytest

from gateway.demo.scenes.oracle import Accepted, Check, Range, judge
from gateway.demo.scenes.results import Told

S = 10**9
SPAN = Range(100 * S, 110 * S, 5 * S)
CHECK = Check(service="demand", points="*/power", result="{site}/power", resolution=0.1, only={"role": "homes"},
              stats=("count", "sum", "max"))  # fmt: skip
LABELS = {"site": "north", "role": "homes", "node": "f1"}


def line(*samples):
    rows = [
        {"point": point, "time": int(time * S), "value": value, "quality": quality}
        for point, time, value, quality in samples
    ]
    return json.dumps({"gateway": "f1", "epoch": 1, "seq": 1, "samples": rows}).encode() + b"\n"


def accepted(*lines, labels=LABELS):
    found = Accepted([CHECK], SPAN)
    found.read(labels, lines)
    return found


def told(**figures):
    return {
        ("demand", f"north/power#{name.rpartition('_')[0]}", int(name.rpartition("_")[2]) * S): Told(
            value, "good", "", 0
        )
        for name, value in figures.items()
    }


LINES = [
    line(("m1/power", 99.9, 7.0, "good"), ("m1/power", 100, 1.5, "good"), ("m1/voltage", 101, 230.0, "good")),
    line(("m1/power", 104.999, 2.5, "questionable,inaccurate"), ("m1/power", 102, None, "invalid,failure")),
    line(("m2/power", 105, 4.0, "good"), ("m2/power", 110, 9.0, "good")),
]
RIGHT = {
    "count_105": 2.0, "sum_105": 4.000000000000001, "max_105": 2.5, "count_110": 1.0, "sum_110": 4.0, "max_110": 4.0,
}  # fmt: skip


def test_the_same_figures_are_exact():
    verdict = judge(accepted(*LINES), [CHECK], told(**RIGHT))
    assert (verdict.exact, verdict.compared, verdict.windows, verdict.differing) == (True, 6, 2, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"count_105": 3.0}, {"sum_105": 4.1}, {"sum_110": 4.0001}, {"max_110": 3.9}, {"count_110": None},
        {"count_110": "1"},
    ],
)  # fmt: skip
def test_any_figure_that_differs_is_told(wrong):
    verdict = judge(accepted(*LINES), [CHECK], told(**RIGHT | wrong))
    assert not verdict.exact
    assert len(verdict.differing) == 1


def test_a_window_that_is_missing_differs():
    verdict = judge(accepted(*LINES), [CHECK], told(**{k: v for k, v in RIGHT.items() if not k.endswith("_110")}))
    assert len(verdict.differing) == 3
    assert all("nothing in place of" in one for one in verdict.differing)


def test_a_window_that_nobody_measured_differs():
    verdict = judge(accepted(LINES[2]), [CHECK], told(**RIGHT))
    assert verdict.differing == ["demand north/power#count at 105: 2.0 in place of nothing"]


def test_nothing_compared_is_not_exact():
    assert not judge(accepted(), [CHECK], {}).exact


def test_gateways_with_other_labels_do_not_count():
    found = accepted(*LINES, labels=LABELS | {"role": "station"})
    assert found.cells == {}
    assert found.samples == 5, "what they accepted is raw data all the same"


def test_raw_bytes_are_those_of_the_lines_within_the_time():
    found = accepted(*LINES)
    whole = len(LINES[1].rstrip())
    assert found.bytes_raw == pytest.approx(whole + len(LINES[0].rstrip()) * 2 / 3 + len(LINES[2].rstrip()) / 2, abs=1)
    assert found.by_node == {"f1": found.bytes_raw}
