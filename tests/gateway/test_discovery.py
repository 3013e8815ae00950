"""The table of findings, and what joins a configuration."""

import logging

import pytest

from gateway.config import extended, load_checked
from gateway.discovery import KEPT, Findings
from gateway.errors import ConfigError
from gateway.finding import Finding

CONFIG = """
gateway: g
state: {folder}
adapters:
  bus:
    type: modbus
    url: tcp://127.0.0.1:502
    devices:
      m1: {{unit: 1, points: {{u: {{at: "holding:0", as: uint16}}}}}}
pipelines: {{all: {{from: ["**"], to: [out]}}}}
uplinks: {{out: {{type: stdout}}}}
"""


def finding(number=1, *, kind="sunspec", config=None, **facts):
    device = f"s{number}"
    block = {"adapters": {"bus": {"type": "modbus", "devices": {device: {"unit": number + 1, "profile": "sunspec"}}}}}
    facts = {"address": f"tcp://h?unit={number}", "identity": f"id {number}", "device": device} | facts
    return Finding(kind=kind, config=block if config is None else config, **facts)


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "onpath.yaml").write_text(CONFIG.format(folder=tmp_path))
    return load_checked(tmp_path / "onpath.yaml", {})


def test_one_thing_found_again_is_one_row():
    table = Findings()
    table.add("bus", finding(), 1)
    table.add("bus", finding(), 5)
    table.add("bus", finding(address="tcp://elsewhere?unit=1"), 9)
    (row,) = table.rows()
    assert (row["seen"], row["first_ns"], row["last_ns"], row["address"]) == (3, 1, 9, "tcp://elsewhere?unit=1")


def test_the_table_is_bounded_and_the_longest_unseen_gives_way():
    table = Findings()
    for number in range(KEPT + 10):
        table.add("bus", finding(number), number)
    rows = table.rows()
    assert len(rows) == KEPT
    assert rows[0]["device"] == "s10"


def test_a_finding_that_would_fill_the_memory_is_not_kept():
    table = Findings()
    assert table.add("bus", finding(config={"adapters": {"x": "y" * 100_000}}), 1) is None
    assert table.rows() == []


def test_only_trusted_kinds_with_a_block_join_and_only_up_to_the_bound(caplog):
    table = Findings()
    known = [table.add("bus", finding(n), 1) for n in range(3)]
    assert not table.may_join(known[0], ["coap-core"], 2)
    assert not table.may_join(table.add("bus", finding(9, config={}), 1), ["sunspec"], 2)
    with caplog.at_level(logging.WARNING):
        for one in (*known, known[2]):
            if table.may_join(one, ["sunspec"], 2):
                table.join(one)
    assert set(table.joined) == {known[0].finding.key, known[1].finding.key}
    assert caplog.text.count("which is the bound") == 1


def test_what_joined_comes_back_after_a_restart_and_damage_is_forgotten(caplog):
    table = Findings()
    table.join(table.add("bus", finding(), 1))
    again = Findings(table.encoded())
    assert again.joined == table.joined
    assert again.add("bus", finding(), 2).joined
    assert Findings(b"\xff{").joined == {}
    assert "is forgotten" in caplog.text


def test_additions_grow_an_adapter_and_the_file_wins(loaded):
    mine = {"adapters": {"bus": {"type": "modbus", "url": "tcp://evil:1", "devices": {"m1": {"unit": 9}}}}}
    config, refused = extended(loaded, {"a": finding().config, "b": mine})
    assert refused == []
    assert set(config.adapters["bus"].devices) == {"m1", "s1"}
    assert config.adapters["bus"].url == "tcp://127.0.0.1:502"
    assert config.adapters["bus"].devices["m1"].unit == 1


def test_an_addition_that_does_not_fit_costs_only_itself(loaded):
    bad = {"adapters": {"bus": {"type": "modbus", "devices": {"x": {"unit": 9999}}}}}
    config, refused = extended(loaded, {"bad": bad, "good": finding().config})
    assert refused == ["bad"]
    assert "s1" in config.adapters["bus"].devices


def test_additions_change_nothing_but_adapters(loaded):
    config, _ = extended(loaded, {"a": {"uplinks": {"spy": {"type": "stdout"}}, "state": "/tmp"}})
    assert config == loaded.config


def test_nothing_in_an_addition_is_expanded(loaded, tmp_path):
    (tmp_path / "secret").write_text("s3cr3t")
    block = {"adapters": {"bus": {"type": "modbus", "devices": {"s1": {"unit": 5, "profile": "${credential:secret}"}}}}}
    config, refused = extended(loaded, {"a": block})
    assert refused == ["a"] or config.adapters["bus"].devices["s1"].profile == "${credential:secret}"


def test_a_list_grows_by_what_it_does_not_hold(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "gateway: g\nadapters: {bus: {type: mqtt, url: 'mqtt://h', subscribe: [{topic: a, device: a}]}}\n"
    )
    loaded = load_checked(tmp_path / "c.yaml", {})
    block = {"adapters": {"bus": {"subscribe": [{"topic": "a", "device": "a"}, {"topic": "b", "device": "b"}]}}}
    config, _ = extended(loaded, {"x": block, "y": block})
    assert [entry.topic for entry in config.adapters["bus"].subscribe] == ["a", "b"]


def test_a_new_adapter_may_come_too(loaded):
    block = {"adapters": {"sensors": {"type": "coap", "devices": {"t1": {"url": "coap://[::1]", "poll": {"t": "/t"}}}}}}
    config, refused = extended(loaded, {"x": block})
    assert refused == []
    assert set(config.adapters) == {"bus", "sensors"}


def test_accept_names_known_kinds_only(tmp_path):
    (tmp_path / "c.yaml").write_text("gateway: g\ndiscovery: {accept: [sunspeck]}\n")
    with pytest.raises(ConfigError, match="did you mean"):
        load_checked(tmp_path / "c.yaml", {})
