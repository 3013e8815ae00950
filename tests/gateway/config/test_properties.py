"""Whatever is in the files: a configuration or a ConfigError, in bounded time."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import GatewayConfig, compose, load
from gateway.config.convert import plain
from gateway.errors import ConfigError
from tests.support.trials import trials

CONFIGS = Path(__file__).parents[3] / "configs"
REFERENCE = (CONFIGS / "reference.yaml").read_text()
WORDS = REFERENCE.split()
SETTINGS = settings(
    max_examples=trials(150),
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

yaml_text = st.lists(
    st.sampled_from([*"abc019:-,?!&*|>%@`'\"#[]{}\n\t <=~.", "  ", "- ", ": ", "\n  ", "&a ", "*a", "<<: ", "!!str "])
    | st.sampled_from(["${", "}", "${A}", "$${", "on", "0x", "null", ".nan", "1e9", "\x00", "\x85", "\ud800", "é"]),
    max_size=60,
).map("".join)


def load_bytes(folder: Path, data: bytes) -> None:
    file = folder / "site.yaml"
    file.write_bytes(data)
    try:
        config = load(file, {"A": "1", "CREDENTIALS_DIRECTORY": str(folder)})
    except ConfigError as error:
        lines = data.count(b"\n") + data.count(b"\r") + data.count(b"\xc2\x85") + data.count(b"\xe2\x80") + 2
        assert error.problems
        for problem in error.problems:
            assert problem.file == str(file)
            assert 1 <= problem.line <= lines
            assert problem.column >= 1
            assert problem.message
    else:
        assert isinstance(config, GatewayConfig)


@SETTINGS
@given(text=yaml_text)
def test_any_text(tmp_path, text):
    load_bytes(tmp_path, text.encode("utf-8", "surrogatepass"))


@SETTINGS
@given(data=st.binary(max_size=200))
def test_any_bytes(tmp_path, data):
    load_bytes(tmp_path, data)


@SETTINGS
@given(seed=st.integers(0, 2**32), n=st.integers(1, 8))
def test_damaged_configurations(tmp_path, seed, n):
    """Lines and words of the reference, exchanged, doubled and lost: deep into the converter."""
    rng = random.Random(seed)
    text = REFERENCE
    for _ in range(n):
        at = rng.randrange(len(text))
        old = rng.choice(WORDS)
        text = rng.choice([
            lambda t, i, w: t[:i] + t[i + rng.randrange(1, 30) :],
            lambda t, i, w: t[:i] + rng.choice(WORDS) + t[i:],
            lambda t, i, w: t.replace(w, rng.choice(WORDS), 1),
            lambda t, i, w: t.replace(w, rng.choice(["null", "[]", "{}", "-1", "1e40", "''", "${A}", "*a"])),
            lambda t, i, w: "\n".join(rng.sample(lines := t.split("\n"), len(lines)))[: len(t)]
            if rng.random() < 0.1
            else t,
        ])(text, at, old)  # fmt: skip
    load_bytes(tmp_path, text.encode("utf-8", "surrogatepass"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS).map(lambda word: word.strip(":,{}[]-")), inner, max_size=5)
    ),
    max_leaves=30,
)


@SETTINGS
@given(value=values)
def test_any_value_under_any_key(tmp_path, value):
    for key in ("adapters", "pipelines", "uplinks", "store"):
        load_bytes(tmp_path, yaml.safe_dump({key: value}, allow_unicode=True).encode("utf-8", "replace"))


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@settings(max_examples=trials(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=yaml_text)
def test_both_parsers_are_contained(loader, text):
    previous, compose._LOADER = compose._LOADER, getattr(yaml, loader)
    try:
        compose.parse(text, "f")
    finally:
        compose._LOADER = previous


printable = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | printable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(printable, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=trials(200), deadline=None)
@given(value=st.dictionaries(printable, json_values, max_size=4))
def test_json_is_read_back_as_it_was(value):
    tree, problems = compose.parse(json.dumps(value, ensure_ascii=False), "f")
    assert problems == []
    assert plain(tree) == value
