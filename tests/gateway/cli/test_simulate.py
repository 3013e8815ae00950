"""``onpath simulate``: what is printed, for people and for machines, and its exit codes."""

import json

import pytest

from tests.support.documents import ROOT

HOUSEHOLDS = ROOT / "gateway" / "demo" / "data" / "households.csv"
CONFIG = """
gateway: g
pipelines:
  live: {from: "**", steps: [{deadband: {percent: 2}}], to: out}
  load: {from: "**", steps: [{window: {every: 1d, stats: [count, sum]}}], to: out}
  tried: {from: "**", steps: [{deadband: {percent: 20, dry_run: true}}], to: out}
uplinks: {out: {type: stdout}}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(CONFIG)
    return path


def test_the_report(onpath, config):
    code, out, err = onpath("simulate", config, "--input", HOUSEHOLDS)
    assert (code, err) == (0, "")
    for words in (
        "(wide csv): 13,440 samples of 5 points, 2021-01-12T00:00:00.000Z to 2021-02-08T23:45:00.000Z",
        "live -> out",
        "0 deadband (dry run: would)",
        "% less)",
        "reconstruction error by point",
        "2% of the value",
        "totals kept for 5 of 5 points",
    ):
        assert words in out
    assert "ABOVE" not in out


def test_as_json_with_points(onpath, config, tmp_path):
    points = tmp_path / "points.yaml"
    points.write_text("points: {'*_W': {unit: W, limits: [0, 10000]}}")
    code, out, _ = onpath("simulate", config, "-i", HOUSEHOLDS, "--points", points, "--json")
    result = json.loads(out)
    assert (code, result["kind"], result["points"], result["above_bound"]) == (0, "wide csv", 5, 0)
    rows = result["pipelines"]["live"]["steps"][0]["points"]
    assert [row["bound"] for row in rows] == [200.0] * 5
    assert all(0 < row["largest_error"] <= 200 for row in rows)
    assert all(row["kept"] for row in result["pipelines"]["load"]["steps"][0]["totals"])
    points.write_text("points: {a: {limit: [0, 1]}}")
    code, _, err = onpath("simulate", config, "-i", HOUSEHOLDS, "--points", points)
    assert code == 78
    assert 'points.yaml:1:14: points.a.limit: unknown key; did you mean "limits"?' in err


def test_plots(onpath, config, tmp_path):
    code, out, err = onpath("simulate", config, "-i", HOUSEHOLDS, "--plot", tmp_path / "p.svg", "--point", "family_W")
    assert (code, err) == (0, "")
    assert (tmp_path / "p.svg").read_text().count("<polyline") == 4
    assert "reconstructed" not in out
    code, out, _ = onpath("simulate", config, "-i", HOUSEHOLDS, "--plot", "-", "--point", "single_W")
    assert out.count("  reconstructed\n") == 2
    code, _, err = onpath("simulate", config, "-i", HOUSEHOLDS, "--plot", tmp_path / "no" / "p.svg")
    assert (code, err.count("No such file")) == (1, 1)
    code, _, err = onpath("simulate", config, "-i", HOUSEHOLDS, "--plot", "-", "--point", "nothing")
    assert "nothing to plot" in err


def test_suggestions(onpath, config):
    code, out, err = onpath("simulate", config, "-i", HOUSEHOLDS, "--suggest", "--error", "2%")
    assert (code, err) == (0, "")
    assert "ev_home_W: wanted 220" in out
    assert out.count(" *  ") == 5
    assert "steps:\n  - " in out
    code, out, _ = onpath("simulate", config, "-i", HOUSEHOLDS, "--suggest", "--error", "50", "--json")
    assert [row["error"] for row in json.loads(out)["points"]] == [50.0] * 5
    code, _, err = onpath("simulate", config, "-i", HOUSEHOLDS, "--suggest", "--error", "much")
    assert (code, err.startswith("onpath: --error: 'much' is not a bound")) == (1, True)


def test_what_cannot_be_read(onpath, config, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("time,a\n5,1\n6,one\n")
    assert onpath("simulate", config, "-i", bad)[::2] == (
        1,
        f"onpath: {bad}:3:3: a: 'one' is not a number (a point with texts needs kind: state, see --points)\n",
    )
    assert onpath("simulate", config, "-i", tmp_path / "missing")[0] == 1
    assert onpath("simulate", tmp_path / "missing.yaml", "-i", bad)[0] == 78
    assert onpath("simulate", config)[0] == 2


def test_sorted_and_exact(onpath, config, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("time,point,value\n" + "".join(f"{at},{point},{at % 7}\n" for point in "ab" for at in range(5, 90)))
    code, out, _ = onpath("simulate", config, "-i", path, "--json")
    assert "use --sort" in json.loads(out)["notes"][0]
    results = []
    for options in (["--sort"], ["--sort", "--exact"]):
        code, out, _ = onpath("simulate", config, "-i", path, "--json", *options)
        result = json.loads(out)
        assert (code, result["notes"]) == (0, [])
        results.append({name: pipeline["steps"] for name, pipeline in result["pipelines"].items()})
    assert results[0] == results[1]
