"""Files and folders, merging, and what a whole configuration becomes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from adapters.coap.config import CoapConfig
from adapters.modbus.config import ModbusConfig
from adapters.mqtt.config import MqttConfig
from gateway.config import GatewayConfig, load, load_checked
from gateway.config.load import MAX_FILE
from gateway.config.model import host_name
from gateway.errors import ConfigError
from gateway.uplinks.config import MqttUplinkConfig
from pipelines.operators.aggregate.window import WindowConfig
from pipelines.operators.reduce.deadband import DeadbandConfig

CASES = Path(__file__).parents[2] / "cases" / "config"
METER = "{type: modbus, url: 'tcp://h', devices: {%s: {points: {v: {at: coil:0}}}}}"


def errors(path: Path, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, env or {})
    return str(caught.value).splitlines()


def test_the_example_of_the_design_loads_without_a_word():
    loaded = load_checked(CASES / "design" / "site.yaml", {})
    assert loaded.warnings == []
    assert loaded.files == [CASES / "design" / "site.yaml"]
    config = loaded.config
    assert config.gateway == "feeder-7"
    assert [type(adapter) for adapter in config.adapters.values()] == [ModbusConfig, MqttConfig, CoapConfig]
    meters = config.adapters["meters"]
    assert meters.devices["m2"].every == 0.5
    assert meters.devices["m2"].points["energy"].scale == 0.01
    assert config.pipelines["meters"].globs == ("m1/**", "m2/**")
    assert config.pipelines["meters"].targets == ("cloud",)
    names = [step.operator[0] for step in config.pipelines["meters"].steps]
    assert names == ["limits", "deadband"]
    deadband = config.pipelines["meters"].steps[1].operator[1]
    assert deadband == DeadbandConfig(percent=0.5, max_silence=deadband.max_silence)
    window = config.pipelines["quarter-hour"].steps[0].operator[1]
    assert isinstance(window, WindowConfig)
    assert window.stats == ("count", "mean", "min", "max", "p95")
    assert isinstance(config.uplinks["cloud"], MqttUplinkConfig)


def test_an_empty_file_gives_the_defaults(tmp_path):
    (tmp_path / "site.yaml").write_text("")
    config = load(tmp_path / "site.yaml", {})
    assert config == GatewayConfig(gateway=host_name())
    assert (config.state, config.max_points) == ("/var/lib/onpath", 100_000)
    assert (config.store.commit.ns, config.store.receipt_commit.ns) == (50_000_000, 5_000_000)


def test_one_name_may_stand_for_a_list(tmp_path):
    (tmp_path / "site.yaml").write_text(
        "pipelines:\n  p: {from: '**', to: [q, out]}\n  q: {to: out, steps: }\nuplinks: {out: {type: stdout}}\n"
    )
    config = load(tmp_path / "site.yaml", {})
    assert config.pipelines["p"].globs == ("**",)
    assert config.pipelines["q"].targets == ("out",)
    assert config.pipelines["q"].steps == []


def test_an_operator_with_nothing_behind_it_takes_its_defaults(tmp_path):
    (tmp_path / "site.yaml").write_text(
        "pipelines:\n  p:\n    from: '**'\n    steps:\n      - limits:\n      - window: {}\n    to: out\n"
        "uplinks: {out: {type: stdout}}\n"
    )
    steps = load(tmp_path / "site.yaml", {}).pipelines["p"].steps
    assert [step.operator[0] for step in steps] == ["limits", "window"]
    assert steps[1].operator[1] == WindowConfig()


def test_a_folder_is_merged_in_the_order_of_names(tmp_path):
    (tmp_path / "20-more.yml").write_text(f"adapters:\n  two: {METER % 'm2'}\nuplinks:\n  out: {{type: stdout}}\n")
    (tmp_path / "10-first.yaml").write_text(f"gateway: g\nadapters:\n  one: {METER % 'm1'}\npipelines:\n")
    (tmp_path / "30-flow.yaml").write_text("pipelines:\n  p: {from: ['m1/*', 'm2/*'], to: [out]}\n")
    (tmp_path / "notes.txt").write_text("not: [yaml")
    (tmp_path / ".#30-flow.yaml").write_text("also: [not")
    (tmp_path / "old.yaml").mkdir()
    loaded = load_checked(tmp_path, {})
    assert loaded.warnings == []
    assert [file.name for file in loaded.files] == ["10-first.yaml", "20-more.yml", "30-flow.yaml"]
    assert list(loaded.config.adapters) == ["one", "two"]
    assert list(loaded.config.pipelines) == ["p"]


def test_places_are_spelt_as_the_path_was_given(tmp_path, monkeypatch):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "site.yaml").write_text("gatway: g\n")
    wrong = '1:1: gatway: unknown key; did you mean "gateway"?'
    monkeypatch.chdir(tmp_path)
    assert errors(Path("conf.d")) == [f"conf.d/site.yaml:{wrong}"]
    assert errors(Path("conf.d/site.yaml")) == [f"conf.d/site.yaml:{wrong}"]
    monkeypatch.chdir(tmp_path / "conf.d")
    assert errors(Path("site.yaml")) == [f"site.yaml:{wrong}"]


def test_the_same_device_in_two_files_shows_both_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(f"adapters:\n  one: {METER % 'm1'}\n")
    Path("b.yaml").write_text(f"adapters:\n  two: {METER % 'm1'}\n")
    assert errors(Path()) == [
        "b.yaml:2:49: adapters.two.devices.m1: two adapters have a device of this name; also defined at a.yaml:2:49"
    ]


def test_what_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert errors(Path("none.yaml")) == ["none.yaml:1:1: cannot be read: No such file or directory"]
    Path("empty").mkdir()
    assert errors(Path("empty")) == ["empty:1:1: no *.yaml or *.yml file in this folder"]
    Path("latin.yaml").write_bytes("gateway: g\n# Zähler\n".encode("latin-1"))
    assert errors(Path("latin.yaml")) == ["latin.yaml:2:4: byte 0xE4 is not UTF-8; save it as UTF-8"]
    Path("large.yaml").write_bytes(b"#" * (MAX_FILE + 1))
    assert errors(Path("large.yaml")) == ["large.yaml:1:1: larger than 16 MiB"]
    Path("dangling").mkdir()
    Path("dangling/site.yaml").symlink_to("nowhere")
    assert errors(Path("dangling")) == ["dangling/site.yaml:1:1: cannot be read: No such file or directory"]


def test_a_file_without_permission(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("")
    file.chmod(0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)  # root may read everything, so be nobody for a moment
    try:
        assert errors(file) == [f"{file}:1:1: cannot be read: Permission denied"]
    finally:
        os.seteuid(me)


def test_a_byte_order_mark_moves_nothing(tmp_path):
    (tmp_path / "site.yaml").write_bytes(b"\xef\xbb\xbfgatway: g\n")
    (message,) = errors(tmp_path / "site.yaml")
    assert ":1:1: gatway: unknown key" in message


def test_credentials_and_variables_reach_the_config(tmp_path):
    (tmp_path / "mqtt").write_text("hunter2\n")
    (tmp_path / "site.yaml").write_text(
        "gateway: ${NAME:-g}\nmax_points: ${POINTS}\n"
        "uplinks:\n  out: {type: mqtt, url: 'mqtt://${HOST}', username: u, password: '${credential:mqtt}'}\n"
    )
    env = {"POINTS": "5", "HOST": "broker:1884", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = load_checked(tmp_path / "site.yaml", env)
    out = loaded.config.uplinks["out"]
    assert isinstance(out, MqttUplinkConfig)
    assert (loaded.config.gateway, loaded.config.max_points) == ("g", 5)
    assert (out.url, out.password) == ("mqtt://broker:1884", "hunter2")
    assert loaded.secrets == {"hunter2"}


def test_a_long_chain_of_pipelines_is_checked_in_time(tmp_path):
    n = 5000
    chain = "".join(f"  p{i}: {{from: a, to: p{i + 1}}}\n" for i in range(n))
    (tmp_path / "site.yaml").write_text(f"pipelines:\n{chain}  p{n}: {{to: p0}}\n")
    begin = time.perf_counter()
    (message,) = errors(tmp_path / "site.yaml")
    assert message.endswith("p4999 -> p5000 -> p0")
    assert time.perf_counter() - begin < 10
