"""``onpath coap`` against real devices (aiocoap's server over UDP and TCP) and scripted ones."""

from __future__ import annotations

import asyncio
import json

import cbor2
import pytest
import yaml
from aiocoap import NOT_FOUND
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.errors import ConfigError, OnpathError
from tests.adapters.coap import test_tcp
from tests.adapters.coap.peers import Fixed, Value, serving
from tests.adapters.coap.scripted import piggybacked, scripted
from tests.adapters.coap.test_discovery import CORE
from tests.support.context import RecordingContext

PACK = b'[{"bn":"urn:dev:1:","bt":1700000000,"n":"t","u":"Cel","v":21.5},{"n":"mode","vs":"eco"},{"n":"on","vb":true}]'


async def onpath(*words):
    """``onpath coap WORDS`` in a thread: (exit code, what it printed)."""
    done = await asyncio.to_thread(CliRunner().invoke, app, ["coap", *map(str, words)])
    if isinstance(done.exception, ConfigError | OnpathError):
        return done.exception.exit_code, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


async def answered(*words):
    code, said = await onpath(*words, "--json")
    assert code == 0, said
    return json.loads(said)


# --- get


async def test_get_shows_a_value_and_what_came_with_it():
    async with scripted(
        lambda _, request: [piggybacked(request, b"21.5", content_format=0, max_age=5, etag=b"\x0a\x1b")]
    ) as peer:
        url = f"coap://127.0.0.1:{peer.port}/sensors/temp?unit=c"
        found = await answered("get", url)
        code, said = await onpath("get", url.removeprefix("coap://"))
    assert found == {
        "code": "2.05 Content", "format": 0, "max_age": 5, "etag": "0a1b", "observe": None, "size": 4,
        "values": [{"name": "temp", "value": 21.5, "unit": "", "time": None}],
    }  # fmt: skip
    assert code == 0
    head, _, row = said.splitlines()
    assert head == "2.05 Content, text/plain (0), Max-Age 5 s, ETag 0a1b, 4 bytes"
    assert row.split() == ["temp", "21.5"]
    assert peer.requests[0].opt.uri_path == ("sensors", "temp")
    assert peer.requests[0].opt.uri_query == ("unit=c",)


@pytest.mark.parametrize(
    ("payload", "number", "options", "values"),
    [
        (b'{"t": 1.5, "ok": true, "inner": {"x": 1}, "none": null}', 50, (), {"t": 1.5, "ok": True, "none": None}),
        (cbor2.dumps({"rh": 40}), 60, (), {"rh": 40.0}),
        (PACK, 110, (), {"urn:dev:1:t": 21.5, "urn:dev:1:mode": "eco", "urn:dev:1:on": True}),
        (PACK, 0, ("--payload", "senml"), {"urn:dev:1:t": 21.5, "urn:dev:1:mode": "eco", "urn:dev:1:on": True}),
        (b"idle", 0, (), {"x": "idle"}),
        (b"nan", 0, (), {"x": None}),
    ],
)
async def test_get_decodes_as_the_gateway_would(payload, number, options, values):
    async with serving({"/x": Fixed(payload, number)}) as port:
        found = await answered("get", f"coap://127.0.0.1:{port}/x", *options)
        code, said = await onpath("get", f"coap://127.0.0.1:{port}/x", *options)
    assert {reading["name"]: reading["value"] for reading in found["values"]} == values
    assert code == 0
    assert len(said.splitlines()) == 2 + len(values)


async def test_get_shows_what_are_no_values_as_it_is():
    async with serving({"/x": Fixed(b"</a>;rt=b", 40), "/y": Fixed(b"\x00\xff", 42)}) as port:
        links = await answered("get", f"coap://127.0.0.1:{port}/x")
        code, said = await onpath("get", f"coap://127.0.0.1:{port}/y")
    assert (links["values"], links["payload"]) == ([], "</a>;rt=b")
    assert code == 0
    assert said.splitlines()[1] == "00ff"
    assert said.splitlines()[2].startswith("no values: unsupported-format: Content-Format 42 ")


@pytest.mark.parametrize(
    ("word", "number"), [("cbor", 60), ("senml", 110), ("senml+cbor", 112), ("link", 40), ("999", 999)]
)
async def test_get_asks_for_a_format(word, number):
    async with scripted(lambda _, request: [piggybacked(request, b"1")]) as peer:
        await answered("get", f"coap://127.0.0.1:{peer.port}/x", "--accept", word)
    assert peer.requests[0].opt.accept == number


async def test_get_over_tcp_and_of_a_body_in_blocks():
    resources = {"/x": Fixed(b"7".rjust(5000), 0)}
    async with serving(resources) as port, test_tcp.serving(resources) as stream:
        by_udp = await answered("get", f"coap://127.0.0.1:{port}/x")
        by_tcp = await answered("get", f"coap+tcp://127.0.0.1:{stream}/x")
    assert by_udp["values"] == by_tcp["values"] == [{"name": "x", "value": 7.0, "unit": "", "time": None}]


async def test_what_a_device_refuses_is_one_line_and_exit_1():
    async with (
        scripted(lambda _, request: [piggybacked(request, b"gone", code=NOT_FOUND)]) as peer,
        scripted(lambda *_: None) as silent,
    ):
        url = f"coap://127.0.0.1:{peer.port}/x"
        assert await onpath("get", url) == (1, f"{url}: 4.04 Not Found gone")
        url = f"coap://127.0.0.1:{silent.port}/x"
        assert await onpath("get", url, "--timeout", "100ms") == (1, f"{url}: no answer")
        assert await onpath("observe", url, "--timeout", "100ms") == (1, f"{url}: no answer")


@pytest.mark.parametrize(
    "words",
    [
        ("get", "http://h/x"), ("get", "coaps://h/x"), ("get", "coap://[::1/x"), ("get",),
        ("get", "coap://h/x", "--timeout", "5"),
        ("get", "coap://h/x", "--timeout", "0"), ("get", "coap://h/x", "--accept", "nonsense"),
        ("get", "coap://h/x", "--accept", "65536"), ("get", "coap://h/x", "--payload", "xml"),
        ("observe", "coap://h/x", "--for", "0"), ("observe", "coap://h/x", "--count", "0"), ("discover", "coap://h/x"),
    ],
)  # fmt: skip
async def test_wrong_usage_is_exit_2(words):
    code, said = await onpath(*words)
    assert code == 2, said


# --- observe


async def test_observe_prints_each_change_and_ends_by_count():
    value = Value(b"1")
    async with serving({"/v": value}) as port:
        watching = asyncio.create_task(onpath("observe", f"coap://127.0.0.1:{port}/v", "--count", 3, "--json"))
        until = RecordingContext().until
        await until(lambda: value.observers)
        value.set(b"2")
        await until(lambda: value.gets > 1)
        value.set(b"3")
        code, said = await watching
        await until(lambda: not value.observers)  # it has said goodbye
    assert code == 0
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["values"][0]["value"] for line in lines] == [1, 2, 3]
    assert all(line["observe"] is not None for line in lines)


async def test_observe_ends_by_time():
    async with serving({"/v": Value(b"1")}) as port:
        code, said = await onpath("observe", f"coap://127.0.0.1:{port}/v", "--for", "300ms")
    assert code == 0
    (line,) = said.splitlines()
    assert line.split()[1:] == ["v", "1"]


async def test_a_resource_that_cannot_be_observed_is_read_once_and_exit_1():
    async with serving({"/v": Fixed(b"1")}) as port:
        url = f"coap://127.0.0.1:{port}/v"
        assert await onpath("observe", url) == (1, f"{url}: the device does not let it be observed")
        code, said = await onpath("observe", url, "--count", 1)
    assert (code, len(said.splitlines())) == (0, 1)


# --- discover


async def test_discover_lists_hosts_and_their_resources():
    async with serving({"/.well-known/core": Fixed(CORE, 40)}) as port, scripted(lambda *_: None) as silent:
        hosts = [f"127.0.0.1:{port}", f"coap://127.0.0.1:{silent.port}"]
        code, said = await onpath("discover", *hosts, "--timeout", "300ms")
        (found, failed) = await answered("discover", *hosts, "--timeout", "300ms")
        by_type = await answered("discover", hosts[0], "--rt", "temp*")
    assert code == 0
    rows = [line.split() for line in said.splitlines()]
    assert rows[0] == ["host", "resource", "rt", "if", "ct", "obs", "sz", "title"]
    assert rows[1] == [f"coap://127.0.0.1:{port}", "/temp", "temperature-c", "sensor", "yes", "Outside"]
    assert rows[2] == ["/hum", "50", "20"]
    assert said.splitlines()[-2:] == [f"{hosts[1]}: no answer", "1 host answered, 7 resources"]
    assert found["resources"][0] == {
        "target": "/temp", "rt": "temperature-c", "if": "sensor", "obs": None, "title": "Outside"
    }  # fmt: skip
    assert found["finding"]["kind"] == "coap-core"
    assert (failed["failed"], failed["finding"]) == ("no answer", None)
    assert [resource["target"] for resource in by_type[0]["resources"]] == ["/temp"]


async def test_discover_proposes_a_configuration(tmp_path, onpath):
    async with serving({"/.well-known/core": Fixed(CORE, 40)}) as port:
        words = ["coap", "discover", f"127.0.0.1:{port}", "--yaml"]
        done = await asyncio.to_thread(CliRunner().invoke, app, words)
    (device,) = yaml.safe_load(done.output)["adapters"]["coap"]["devices"].values()
    assert device["url"] == f"coap://127.0.0.1:{port}"
    assert set(device["observe"]) == {"temp", "sensors.a"}
    rest = "uplinks: {out: {type: stdout}}\npipelines: {all: {from: ['**'], steps: [], to: [out]}}\n"
    (tmp_path / "site.yaml").write_text(f"gateway: g\nstate: {tmp_path}\n{done.output}{rest}")
    code, _, said = onpath("check", tmp_path / "site.yaml")
    assert code == 0, said


async def test_finding_nobody_is_exit_1():
    async with scripted(lambda *_: None) as silent:
        code, said = await onpath("discover", f"127.0.0.1:{silent.port}", "--timeout", "100ms")
    assert code == 1
    assert said.splitlines()[-1] == "0 hosts answered, 0 resources"
