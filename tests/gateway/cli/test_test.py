"""``onpath test``: exit codes, the diff, folders, JSON and JUnit."""

import json

import pytest

from tests.support.documents import ROOT, blocks

CONFIG = """
pipelines: {live: {from: "**", steps: [{deadband: {absolute: 1}}], to: out}}
uplinks: {out: {type: stdout}}
"""
TESTS = """
tests:
  - name: only news
    given: [samples: "time a\\n+1s 5\\n+2s 5.5\\n+3s 7"]
    expect: "time a\\n+1s 5\\n+3s VALUE"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site.yaml").write_text(CONFIG)
    (tmp_path / "good.test.yaml").write_text(TESTS.replace("VALUE", "7"))
    return tmp_path


def test_all_is_well(onpath, folder):
    code, out, err = onpath("test", folder)
    assert (code, err) == (0, "")
    assert out == f"ok   {folder}/good.test.yaml: only news\n1 tests, 0 failed\n"


def test_a_failure_is_a_diff(onpath, folder):
    bad = folder / "site.test.yaml"
    bad.write_text(TESTS.replace("VALUE", "8"))
    code, out, err = onpath("test", bad, "--junit", folder / "out.xml")
    assert (code, err) == (1, "")
    assert f"FAIL {bad}: only news" in out
    row = next(line.split() for line in out.splitlines() if line.lstrip().startswith("~"))
    assert row == ["~", "a", "2026-01-01T00:00:03Z", "8", "7"]
    assert 'failures="1"' in (folder / "out.xml").read_text()
    code, out, _ = onpath("test", folder, "--json")
    result = json.loads(out)
    assert (code, result["failed"], [one["passed"] for one in result["tests"]]) == (1, 1, [True, False])
    assert result["tests"][1]["differences"][0]["what"] == "different"


def test_files_that_are_not_usable(onpath, folder, tmp_path):
    (folder / "a.test.yaml").write_text("tests: [{name: x}]")
    (folder / "b.test.yaml").write_text("test: []")
    code, out, err = onpath("test", folder)
    assert (code, out) == (78, "")
    assert len(err.splitlines()) == 3
    assert "a.test.yaml:1:9: tests[0].given: required key is missing" in err
    assert onpath("test", folder / "nowhere.test.yaml")[0] == 1
    (tmp_path / "empty").mkdir()
    assert onpath("test", tmp_path / "empty")[2].endswith("no *.test.yaml in this folder\n")
    code, _, err = onpath("test", folder / "good.test.yaml", "--junit", folder / "no" / "x")
    assert (code, "No such file" in err) == (1, True)


def test_tests_are_no_part_of_the_configuration_beside_them(onpath, folder):
    code, out, _ = onpath("check", folder)
    assert (code, "ok (0 adapters, 1 pipelines, 1 uplinks)" in out) == (0, True)


def test_the_example_of_the_documentation(onpath, tmp_path, monkeypatch):
    found = blocks(ROOT / "docs" / "trying.md")
    (config,) = [block.text for block in found if block.marker == "trying: site.yaml"]
    (tests,) = [block.text for block in found if block.language == "yaml" and block.text.startswith("tests:")]
    (shown,) = [block.text for block in found if block.marker == "trying: output"]
    (failing,) = [block.text for block in found if block.text.startswith("FAIL")]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text(config)
    (tmp_path / "site.test.yaml").write_text(tests)
    command, _, output = shown.partition("\n")
    assert onpath(*command.split()[2:]) == (0, output, "")
    (tmp_path / "site.test.yaml").write_text(tests.replace("+15m  2 ", "+15m  3 "))
    code, out, _ = onpath("test", "site.test.yaml")
    said = [line.rstrip() for line in out.splitlines()]
    assert code == 1
    assert said[:3] == failing.splitlines()
