"""Third parties' plug-ins by entry points."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from gateway.config import load
from gateway.config.compose import parse
from gateway.config.convert import convert
from gateway.config.model import step_struct
from gateway.config.plugins import ADAPTER_GROUP, OPERATOR_GROUP, UPLINK_GROUP, discover
from gateway.errors import ConfigError

SOURCE = """
from adapters.base import AdapterConfig
from gateway.uplinks.config import UplinkConfig
from pipelines.base import OperatorConfig

class Acme(AdapterConfig, frozen=True, kw_only=True, tag="acme"):
    port: int

class Clip(OperatorConfig, frozen=True, kw_only=True):
    at: float = 1.0

class Carrier(UplinkConfig, frozen=True, kw_only=True, tag="pigeon"):
    pass

class SecondModbus(AdapterConfig, frozen=True, kw_only=True, tag="modbus"):
    pass

class Odd(AdapterConfig, frozen=True, kw_only=True, tag="odd"):
    what: "Unheard"
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    (tmp_path / "acme_onpath.py").write_text(SOURCE)
    (tmp_path / "acme_broken.py").write_text("import acme_no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield EntryPoint
    for name in ("acme_onpath", "acme_broken"):
        sys.modules.pop(name, None)


def test_they_join_the_lists(acme):
    found = discover(
        [
            acme("acme", "acme_onpath:Acme", ADAPTER_GROUP),
            acme("clip-it", "acme_onpath:Clip", OPERATOR_GROUP),
            acme("pigeon", "acme_onpath:Carrier", UPLINK_GROUP),
        ]
    )
    assert found.problems == []
    assert list(found.adapters) == ["modbus", "coap", "mqtt", "frame", "acme"]
    assert list(found.operators)[-1] == "clip-it"
    assert list(found.uplinks)[-1] == "pigeon"


def test_a_step_may_have_any_name(acme):
    found = discover(
        [
            acme("clip-it", "acme_onpath:Clip", OPERATOR_GROUP),
            acme("operator", "acme_onpath:Clip", OPERATOR_GROUP),
        ]
    )
    step = step_struct(found.operators)
    for name in ("clip-it", "operator"):
        value, problems = convert(step, parse(f"{name}: {{at: 2}}", "f")[0])
        assert problems == []
        assert value.operator == (name, found.operators[name](at=2.0))
    _, problems = convert(step, parse("clip_it: {}", "f")[0])
    assert str(problems[0]) == 'f:1:1: clip_it: unknown key; did you mean "clip-it"?'


@pytest.mark.parametrize(
    ("value", "group", "message"),
    [
        ("acme_broken:X", ADAPTER_GROUP, "cannot be loaded: ModuleNotFoundError: No module named 'acme_no"),
        ("acme_nowhere:X", UPLINK_GROUP, "cannot be loaded: ModuleNotFoundError"),
        ("acme_onpath:Missing", ADAPTER_GROUP, "cannot be loaded: AttributeError"),
        ("acme_onpath:Acme", OPERATOR_GROUP, "acme_onpath:Acme is not a OperatorConfig"),
        ("acme_onpath:SecondModbus", ADAPTER_GROUP, 'the name "modbus" is taken by adapters.modbus.config'),
        ("acme_onpath:Odd", ADAPTER_GROUP, "its options cannot be used: name 'Unheard' is not defined"),
    ],
)
def test_an_unusable_one_is_named(acme, value, group, message):
    (problem,) = discover([acme("x", value, group)]).problems
    assert problem.file == f"entry point {group}: x = {value}"
    assert problem.message.startswith(message)


def test_a_name_of_an_operator_is_taken_once(acme):
    (problem,) = discover([acme("limits", "acme_onpath:Clip", OPERATOR_GROUP)]).problems
    assert problem.message == 'the name "limits" is taken by pipelines.operators.judge.limits'


def test_loading_refuses_while_one_is_broken(acme, tmp_path, monkeypatch):
    broken = discover([acme("x", "acme_broken:X", ADAPTER_GROUP)])
    monkeypatch.setattr(sys.modules["gateway.config.load"], "installed", lambda: broken)
    (tmp_path / "site.yaml").write_text("gateway: g\n")
    with pytest.raises(ConfigError, match=r"entry point onpath.adapters: x = acme_broken:X"):
        load(tmp_path / "site.yaml", {})
