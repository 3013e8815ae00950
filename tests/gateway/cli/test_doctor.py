"""``onpath doctor`` as it prints: what, why, and a command."""

import json


def test_for_people(onpath, tmp_path):
    (tmp_path / "onpath.yaml").write_text("gateway: g\nadaptors: {}\n")
    code, out, _ = onpath("doctor", "-c", tmp_path / "onpath.yaml", "--state", tmp_path / "state")
    assert code == 1
    lines = out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("problem  config "))
    assert "unknown key" in lines[at]
    assert lines[at + 1].strip().startswith("The gateway cannot start with it")
    assert lines[at + 2].strip() == f"$ onpath check -c {tmp_path}/onpath.yaml"
    assert "problem" in lines[-1]


def test_for_machines(onpath, tmp_path):
    (tmp_path / "onpath.yaml").write_text(f"gateway: g\nstate: {tmp_path}/state\n")
    _, out, _ = onpath("doctor", "-c", tmp_path / "onpath.yaml", "--json")
    said = json.loads(out)
    assert set(said) == {"findings", "counts"}
    assert sum(said["counts"].values()) == len(said["findings"])
    assert all(row["remedy"] and row["why"] for row in said["findings"] if row["severity"] != "ok")
