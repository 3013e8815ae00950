"""``--json`` is everywhere where something is printed for people, and what it prints parses: verb by verb."""

import asyncio
import json
import sys

import pytest
import typer

from gateway.cli.main import app
from tests.support.metered import metered
from tests.support.nats import nats_broker
from tests.support.publish import publish

WITHOUT = {
    "run": "logs; log: {format: json} says how",
    "schema": "is JSON in any case",
    "init": "writes YAML",
    "completion": "prints a script for a shell",
    "hub run": "logs, as run does",
    "modbus simulate": "says where it serves as a line of JSON in any case",
}
"""Verbs without --json, and why."""

TEST = """
config: offline.yaml
tests:
  - name: only news
    given: [samples: "time a\\n+1s 5\\n+2s 5.5"]
    expect: "time a\\n+1s 5"
"""
TELEGRAF = (
    '[[inputs.mqtt_consumer]]\n  servers = ["tcp://127.0.0.1:1883"]\n  topics = ["a/+"]\n  data_format = "json"\n'
)
NEURON = {
    "nodes": [{"name": "line", "plugin": "Modbus TCP", "params": {"host": "10.0.0.1", "port": 502}, "groups": [
        {"group": "g", "interval": 1000, "tags": [{"name": "p", "address": "1!400001", "attribute": 1, "type": 4}]},
    ]}],
}  # fmt: skip
PICKY = """
gateway: g1
state: {folder}/offline
adapters: {{bus: {{type: mqtt, url: "mqtt://127.0.0.1:1", subscribe: [{{topic: "s/{{device}}", payload: json}}]}}}}
pipelines: {{live: {{from: "**", steps: [{{deadband: {{absolute: 1}}}}], to: [out]}}}}
uplinks: {{out: {{type: stdout}}}}
"""

STATE = ("--state", "STATE")
CASES = {
    # of the running gateway
    "status": STATE,
    "top": (*STATE, "--for", "3500ms"),
    "points": ("m1/*", *STATE),
    "graph": ("--live", *STATE),
    "tap": (*STATE, "--for", "2s"),
    "history": ("m1/power", *STATE),
    "events": STATE,
    "reload": STATE,
    "bound": ("live", "deadband", "2", *STATE),
    "discover": ("-c", "CONFIG"),
    "doctor": ("-c", "CONFIG"),
    "show-config": ("-c", "CONFIG"),
    "spool status": STATE,
    "spool verify": STATE,
    "spool export": ("FOLDER/exported", "-c", "CONFIG"),
    "spool drain": ("--uplink", "disk", *STATE),
    "config versions": ("-c", "CONFIG"),
    "config show": ("1", "-c", "CONFIG"),
    "config diff": ("1", "-c", "CONFIG"),
    "config apply": ("CONFIG", "-c", "CONFIG"),
    "config rollback": ("1", "-c", "CONFIG"),
    "console url": STATE,
    "console password": STATE,
    "console token": ("reader", *STATE),
    "console tokens": STATE,
    "console revoke": ("reader", *STATE),
    # of devices
    "modbus read": ("tcp://127.0.0.1:MODBUS", "--at", "input:0", "--as", "float32"),
    "modbus plan": ("CONFIG",),
    "modbus probe": ("tcp://127.0.0.1:MODBUS", "--at", "input:0", "--between", "0"),
    "modbus scan": ("tcp://127.0.0.1:MODBUS", "--units", "1-2"),
    "modbus verify": ("eastron-sdm630", "tcp://127.0.0.1:MODBUS"),
    "coap get": ("coap://127.0.0.1:COAP/s01/co2",),
    "coap observe": ("coap://127.0.0.1:COAP/s01/co2", "--count", "1"),
    "coap discover": ("coap://127.0.0.1:COAP", "--timeout", "20s"),
    # of files
    "check": ("CONFIG",),
    "plugins": (),
    "decode": ("FOLDER/capture",),
    "test": ("FOLDER/a.test.yaml",),
    "simulate": ("FOLDER/offline.yaml", "--input", "FOLDER/samples.csv"),
    "import telegraf": ("FOLDER/telegraf.conf",),
    "import neuron": ("FOLDER/neuron.json",),
}
ELSEWHERE = {"receive": "below", "config confirm": "test_versions.py"}
ELSEWHERE |= dict.fromkeys(("demo site", "demo cluster", "demo grid", "demo park"), "tests/gateway/demo")
ELSEWHERE |= dict.fromkeys(("hub check", "hub status", "controller simulate"), "tests/gateway/network")
ELSEWHERE |= dict.fromkeys(
    ("nodes", *(f"service {verb}" for verb in ("check", "apply", "explain", "status", "remove", "results"))),
    "tests/gateway/network",
)
CODES = {
    "doctor": {0, 1},
    "config diff": {0, 1},
    "config confirm": {0, 1},
    "modbus verify": {0, 1},
    "modbus plan": {0, 1},
}
"""Where something else than 0 may be true of this site."""


def leaves(command, path=()):
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from leaves(one, (*path, name))
        else:
            yield " ".join((*path, name)), one


VERBS = dict(leaves(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "offline.yaml").write_text(PICKY.format(folder=folder))
    (folder / "samples.csv").write_text("time,m1/power\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:01Z,5\n")
    (folder / "a.test.yaml").write_text(TEST)
    (folder / "telegraf.conf").write_text(TELEGRAF)
    (folder / "neuron.json").write_text(json.dumps(NEURON))
    with metered(folder, "console: {listen: '127.0.0.1:0', password: brown-fox-jumps-7}\n") as running:
        saved = running.onpath("tap", "m1/*", "--save", folder / "capture", "--for", "2s", "--state", running.state)
        assert saved.returncode == 0, saved.stderr
        yield running


def test_every_verb_has_it_or_a_reason():
    with_it = {name for name, verb in VERBS.items() if any("--json" in one.opts for one in verb.params)}
    assert with_it | WITHOUT.keys() == VERBS.keys()
    assert not with_it & WITHOUT.keys()
    assert with_it == CASES.keys() | ELSEWHERE.keys(), "a new verb wants a case here"


@pytest.mark.parametrize("verb", CASES)
def test_it_parses(onpath, site, verb):
    places = {"STATE": site.state, "CONFIG": site.config, "FOLDER": site.folder, **site.ports}
    words = list(CASES[verb])
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    code, out, err = onpath(*verb.split(), *words, "--json")
    if verb == "coap discover" and code:  # a question by datagram, to a process that is busy beside other tests
        code, out, err = onpath(*verb.split(), *words, "--json")
    assert code in CODES.get(verb, {0}), err
    assert out.strip(), f"{verb} printed nothing: {err}"
    try:
        json.loads(out)
    except ValueError:
        rows = [json.loads(line) for line in out.splitlines()]
        assert all(isinstance(row, dict) for row in rows)


async def test_of_the_receiver(tmp_path):
    async with nats_broker(tmp_path / "nats") as broker:
        command = [sys.executable, "-m", "gateway.cli.main", "receive", broker.mqtt_url, "--for", "4s", "--json"]
        places = ["--state", str(tmp_path / "state"), "--out", str(tmp_path / "out")]
        receiving = await asyncio.create_subprocess_exec(*command, *places, stdout=asyncio.subprocess.PIPE)
        await publish(broker.mqtt_port, [("onpath/x", b"nonsense")])
        out, _ = await receiving.communicate()
    assert receiving.returncode == 0
    assert isinstance(json.loads(out), dict)
