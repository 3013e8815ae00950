"""``onpath --version``, ``check``, ``schema`` and ``plugins``."""

import json
import subprocess
import sys

import jsonschema
import pytest
import yaml

from gateway import __version__
from gateway.config.plugins import installed

GOOD = """
gateway: g
state: /tmp/s
adapters:
  bus: {type: mqtt, url: "mqtt://127.0.0.1:1883", subscribe: [{topic: "site/{device}/t", payload: json}]}
pipelines:
  all: {from: "**", steps: [], to: [out]}
uplinks:
  out: {type: stdout}
"""
BAD = GOOD.replace("from:", "form:").replace("stdout", "stdot")


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


def test_the_installed_command():
    run = [sys.executable, "-m", "gateway.cli.main", "--version"]
    ran = subprocess.run(run, capture_output=True, text=True, check=True)
    assert ran.stdout == f"onpath {__version__}\n"


def test_wrong_usage_and_no_arguments(onpath):
    assert onpath("--version")[:2] == (0, f"onpath {__version__}\n")
    assert onpath("dance")[0] == 2
    assert onpath("check", "--nope")[0] == 2
    _, out, err = onpath()
    assert all(verb in out + err for verb in ("run", "check", "init", "decode", "status"))


@pytest.mark.parametrize("option", [(), ("-c",), ("--config",)])
def test_check_of_a_good_file(onpath, good, option):
    code, out, _ = onpath("check", *option, good)
    assert code == 0
    assert out == f"{good}: ok (1 adapters, 1 pipelines, 1 uplinks)\n"


def test_check_of_a_good_file_for_machines(onpath, good):
    code, out, _ = onpath("check", good, "--json")
    assert code == 0
    assert json.loads(out)["ok"] is True
    assert json.loads(out)["problems"] == []


def test_check_tells_all_problems_at_once_and_where(onpath, bad):
    code, out, err = onpath("check", bad)
    assert (code, out) == (78, "")
    *problems, count = err.splitlines()
    assert count == f"{len(problems)} problem(s)"
    assert len(problems) >= 2
    assert all(problem.startswith(f"{bad}:") for problem in problems)
    assert any('did you mean "from"' in problem for problem in problems)


def test_check_of_a_bad_file_for_machines(onpath, bad):
    code, out, err = onpath("check", bad, "--json")
    told = json.loads(out)
    assert (code, told["ok"], err) == (78, False, "")
    line = BAD.splitlines().index('  all: {form: "**", steps: [], to: [out]}') + 1
    assert {"file": str(bad), "line": line} in [
        {key: problem[key] for key in ("file", "line")} for problem in told["problems"]
    ]
    assert all(problem["message"] and problem["column"] for problem in told["problems"])


def test_check_of_nothing(onpath, tmp_path):
    code, _, err = onpath("check", tmp_path / "missing.yaml")
    assert code == 78
    assert "missing.yaml" in err


def test_every_verb_that_reads_a_configuration_refuses_a_bad_one(onpath, bad):
    for verb in ("show-config", "graph"):
        code, out, err = onpath(verb, "-c", bad)
        assert (code, out) == (78, "")
        assert f"{bad}:" in err


def test_schema_is_json_schema_and_tells_good_from_bad(onpath):
    code, out, _ = onpath("schema")
    schema = json.loads(out)
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(GOOD), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(BAD), schema)


def test_plugins_are_listed_with_what_they_are_for(onpath):
    code, out, _ = onpath("plugins", "--json")
    told = json.loads(out)
    assert code == 0
    assert {section: set(rows) for section, rows in told.items()} == {
        section: set(getattr(installed(), section)) for section in ("adapters", "operators", "uplinks")
    }
    assert {"modbus", "coap", "mqtt"} <= set(told["adapters"])
    assert all(text for rows in told.values() for text in rows.values())
    code, text, _ = onpath("plugins")
    assert code == 0
    assert all(name in text for rows in told.values() for name in rows)
