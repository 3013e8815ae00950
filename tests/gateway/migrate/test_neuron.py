"""An installation of Neuron is carried over: each of its three kinds of file, and each form of an address."""

import json
import subprocess
import sys

import apsw
import pytest
import yaml

from gateway.migrate.neuron import read_neuron
from gateway.migrate.neuron_tags import TagError, read_tag
from tests.support.daemon import daemon, json_lines, samples_of

INT16, UINT16, INT32, UINT32, FLOAT, DOUBLE, BIT, STRING = 3, 4, 5, 6, 9, 10, 11, 13


def tag(name, address, kind, **more):
    return {"name": name, "address": address, "attribute": 1, "type": kind, "precision": 0, "decimal": 0.0} | more


def site(port):
    """What ``GET /api/v2/global/config`` answers, of two units behind one port."""
    return {
        "nodes": [
            {"plugin": "Modbus TCP", "name": "plant"}, {"plugin": "MQTT", "name": "cloud"},
            {"plugin": "Siemens S7 ISOTCP", "name": "plc"}, {"plugin": "Monitor", "name": "monitor"},
        ],
        "groups": [
            {"driver": "plant", "group": "fast", "interval": 200, "tag_count": 4},
            {"driver": "plant", "group": "slow", "interval": 400, "tag_count": 2},
        ],
        "tags": [
            {"driver": "plant", "group": "fast", "tags": [
                tag("level", "1!400004", INT16, decimal=0.1), tag("voltage", "1!400011", FLOAT),
                tag("swapped", "1!400013#BL", FLOAT), tag("serial", "1!400022.8H", STRING),
            ]},
            {"driver": "plant", "group": "slow", "tags": [
                tag("voltage", "1!300011", FLOAT, bias=1.5), tag("alarm", "2!400031.3", BIT),
                tag("setpoint", "2!400002", UINT16, attribute=3), tag("odd", "2!500002", UINT16),
            ]},
        ],
        "subscriptions": [
            {"app": "cloud", "driver": "plant", "group": "fast", "params": {"topic": "plant/up"}},
            {"app": "cloud", "driver": "plant", "group": "slow", "params": {"topic": "plant/up"}},
        ],
        "settings": [
            {"node": "plant", "params": {"connection_mode": 0, "host": "127.0.0.1", "port": port, "timeout": 3000,
                                         "interval": 20, "max_retries": 0}},
            {"node": "cloud", "params": {"host": "broker", "port": 1883, "client-id": "n", "qos": 2, "format": 0,
                                         "username": "u", "password": "hunter2", "ssl": False}},
        ],
    }  # fmt: skip


EXPECTED = {
    "plant-1/level": 10.3, "plant-1/voltage": 231.5, "plant-1/swapped": 231.5, "plant-1/serial": "SN-0042",
    "plant-1/slow-voltage": 233.0, "plant-2/alarm": 1, "plant-2/setpoint": 201,
}  # fmt: skip


def onpath(*arguments):
    command = [sys.executable, "-m", "gateway.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def test_tags_are_read_as_neuron_read_them(tmp_path, meters):
    (tmp_path / "neuron.json").write_text(json.dumps(site(meters)))
    done = onpath("import", "neuron", tmp_path / "neuron.json")
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    made["uplinks"] = {name: {"type": "file", "path": str(tmp_path / "out.jsonl")} for name in made["uplinks"]}
    async with daemon(tmp_path, yaml.safe_dump(made)) as running:
        await running.until(lambda status: status["pipelines"]["to-cloud"]["out"] > 30)
        running.stop()
    batches = json_lines(tmp_path / "out.jsonl")
    for name, value in EXPECTED.items():
        assert {one["value"] for one in samples_of(batches, name)} == {value}, name


def test_the_export_says_what_differs(tmp_path):
    (tmp_path / "neuron.json").write_text(json.dumps(site(502)))
    draft = read_neuron(tmp_path / "neuron.json")
    notes = {(note.fate.value, note.where) for note in draft.notes}
    assert notes == {
        ("left out", "nodes.plc"), ("left out", "nodes.plant.slow.odd"), ("changed", "nodes.plant.slow.voltage"),
        ("changed", "nodes.cloud"), ("changed", "nodes.cloud.qos"), ("changed", "nodes.cloud.password"),
    }  # fmt: skip
    assert draft.adapters["plant"] | {"devices": None} == {
        "type": "modbus", "url": "tcp://127.0.0.1:502", "timeout": "3s", "request_delay": "20ms", "devices": None,
    }  # fmt: skip
    devices = draft.adapters["plant"]["devices"]
    assert devices["plant-1"]["every"] == "200ms"
    assert devices["plant-1"]["points"]["slow-voltage"]["every"] == "400ms"
    assert devices["plant-2"]["points"]["setpoint"]["writable"] is True
    assert draft.uplinks["cloud"]["topic"] == "plant/up"
    assert draft.pipelines["to-cloud"]["from"] == ["plant-1/**", "plant-2/**"]
    assert "hunter2" not in json.dumps(draft.document())


def test_an_export_of_drivers(tmp_path):
    node = {"name": "line", "plugin": "Modbus RTU", "params": {
        "link": 0, "device": "/dev/ttyS1", "baud": 3, "parity": 2, "stop": 0, "data": 3, "timeout": 1000,
    }, "groups": [{"group": "g", "interval": 1000, "tags": [tag("p", "7!400001", UINT32)]}]}  # fmt: skip
    (tmp_path / "drivers.json").write_text(json.dumps({"nodes": [node]}))
    draft = read_neuron(tmp_path / "drivers.json")
    assert draft.adapters["line"]["url"] == "rtu:///dev/ttyS1?baudrate=19200&parity=E&stopbits=1&bytesize=8"
    assert draft.adapters["line"]["devices"]["line"]["points"]["p"] == {"at": "holding:0", "as": "uint32"}


def test_a_database(tmp_path):
    """The tables of an installation (persistence/*.sql of Neuron 2.6)."""
    with apsw.Connection(str(tmp_path / "sqlite.db")) as database:
        database.execute(
            """
            CREATE TABLE nodes (name TEXT PRIMARY KEY, type INTEGER, state INTEGER, plugin_name TEXT);
            CREATE TABLE settings (node_name TEXT, setting TEXT);
            CREATE TABLE groups (driver_name TEXT, name TEXT, interval INTEGER);
            CREATE TABLE tags (driver_name TEXT, group_name TEXT, name TEXT, address TEXT, attribute INTEGER,
                precision INTEGER, decimal REAL, type INTEGER, description TEXT, value TEXT);
            CREATE TABLE subscriptions (app_name TEXT, driver_name TEXT, group_name TEXT, params TEXT);
            INSERT INTO nodes VALUES ('m', 1, 3, 'Modbus TCP'), ('up', 2, 3, 'MQTT'), ('sp', 2, 3, 'SparkPlugB');
            INSERT INTO settings VALUES ('m', '{"node": "m", "params": {"host": "h", "port": 1502, "timeout": 500}}'),
                ('up', '{"params": {"host": "b", "port": 8883, "ssl": true, "ca": "LS0t"}}'),
                ('sp', '{"params": {"host": "b", "port": 1883, "group_id": "G", "node_id": "N"}}');
            INSERT INTO groups VALUES ('m', 'g1', 500), ('m', 'g2', 500);
            INSERT INTO tags VALUES ('m', 'g1', 'a', '1!40001', 1, 0, 0, 4, '', ''),
                ('m', 'g2', 'b', '1!10001', 1, 0, 0, 11, '', '');
            INSERT INTO subscriptions VALUES ('up', 'm', 'g1', '{"topic": "t"}'), ('sp', 'm', 'g2', NULL);
            """
        )
    draft = read_neuron(tmp_path / "sqlite.db")
    assert draft.pipelines == {
        "to-up": {"from": ["m/a"], "steps": [], "to": ["up"]}, "to-sp": {"from": ["m/b"], "steps": [], "to": ["sp"]},
    }  # fmt: skip
    assert draft.uplinks["up"]["url"] == "mqtts://b:8883"
    assert draft.uplinks["sp"] | {"url": ""} == {"type": "sparkplug", "url": "", "group": "G", "node": "N"}
    assert [note.where for note in draft.notes if note.fate == "left out"] == ["nodes.up.ca"]


@pytest.mark.parametrize(
    ("address", "kind", "point"),
    [
        ("1!400001", INT16, {"at": "holding:0", "as": "int16"}),
        ("1!40001#B", UINT16, {"at": "holding:0", "as": "uint16", "order": "BADC"}),
        ("1!365536", UINT16, {"at": "input:65535", "as": "uint16"}),
        ("1!400001#LL", INT32, {"at": "holding:0", "as": "int32"}),
        ("1!400001#LB", INT32, {"at": "holding:0", "as": "int32", "order": "BADC"}),
        ("1!400001#BB", UINT32, {"at": "holding:0", "as": "uint32", "order": "DCBA"}),
        ("1!400001#BL", FLOAT, {"at": "holding:0", "as": "float32", "order": "CDAB"}),
        ("1!400001#B", DOUBLE, {"at": "holding:0", "as": "float64", "order": "DCBA"}),
        ("1!000010", BIT, {"at": "coil:9"}),
        ("1!100010", BIT, {"at": "discrete:9"}),
        ("1!400010.15", BIT, {"at": "holding:9", "as": "uint16", "bit": 15, "kind": "state"}),
        ("1!400010.9L", STRING, {"at": "holding:9", "as": "string", "length": 5, "kind": "state", "order": "BADC"}),
        ("1!400010", "FLOAT", {"at": "holding:9", "as": "float32"}),
    ],
)
def test_addresses(address, kind, point):
    assert read_tag(tag("t", address, kind)) == (1, point)


@pytest.mark.parametrize(
    ("address", "kind"),
    [("400001", INT16), ("1!200001", INT16), ("1!400000", INT16), ("1!400001", 14), ("1!400001", STRING),
     ("1!400001.4D", STRING), ("", INT16), ("1!466000", INT16)],
)  # fmt: skip
def test_addresses_without_counterpart(address, kind):
    with pytest.raises(TagError):
        read_tag(tag("t", address, kind))


@pytest.mark.parametrize("text", ["", "[]", '{"nodes": [1]}', '{"nodes": [{"name": "x"}]}', "SQLite format 3\0broken"])
def test_other_files_are_refused_in_a_line(tmp_path, text):
    (tmp_path / "f").write_bytes(text.encode())
    done = onpath("import", "neuron", tmp_path / "f")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("onpath: ") or str(tmp_path / "f") in done.stderr
