"""A folder a case: config in, errors out.

``site.yaml`` is loaded alone, several files as a folder. ``env`` holds the environment. ``errors`` holds what
must be said, word by word, in order (``warning:`` before what may stand); its first line says what the JSON
Schema thinks of the files together: ``accepts``, ``refuses``, or ``cannot read it``.
"""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from gateway.config import load_checked
from gateway.config.compose import parse
from gateway.config.convert import plain
from gateway.config.schema import schema
from gateway.errors import ConfigError

ROOT = Path(__file__).parents[2] / "cases" / "config"
CASES = sorted(case.name for case in ROOT.iterdir() if case.is_dir())


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft202012Validator(schema())


def read(case: str) -> tuple[str, list[str]]:
    first, *lines = (ROOT / case / "errors").read_text().splitlines()
    return first.removeprefix("# schema: "), lines


@pytest.mark.parametrize("case", CASES)
def test_exactly_these_errors(case, monkeypatch):
    monkeypatch.chdir(ROOT / case)
    env_file = ROOT / case / "env"
    lines = env_file.read_text().splitlines() if env_file.exists() else []
    env = dict(line.split("=", 1) for line in lines)
    path = Path("site.yaml") if (ROOT / case / "site.yaml").exists() else Path()
    try:
        found = [f"warning: {warning}" for warning in load_checked(path, env).warnings]
    except ConfigError as error:
        found = str(error).splitlines()
        assert error.exit_code == 78
    assert found == read(case)[1]


@pytest.mark.parametrize("case", CASES)
def test_what_the_schema_thinks(case, validator):
    verdict, _ = read(case)
    refused = False
    for file in (ROOT / case).glob("*.y*ml"):
        tree, problems = parse(file.read_text(), file.name)
        if verdict == "cannot read it":
            assert problems
        refused = refused or not validator.is_valid(plain(tree))
    assert refused is (verdict == "refuses")


def test_there_are_cases():
    assert len(CASES) > 30
