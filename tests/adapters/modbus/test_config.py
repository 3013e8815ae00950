"""Options and profiles."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.modbus.config import Bits
from adapters.modbus.place import Byte, parse_at
from adapters.modbus.profile import SHIPPED, load, resolve
from adapters.modbus.url import parse_url
from adapters.modbus.write_options import Write
from gateway.errors import FieldError
from gateway.point import Kind
from tests.adapters.modbus.peers import device, modbus, point

URL = "tcp://10.0.0.5"


def bad(make, *field):
    with pytest.raises(FieldError) as caught:
        make()
    assert caught.value.field == field
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"at": "holdin:1"}, "at"),
        ({"at": "holding"}, "at"),
        ({"at": "holding:-1"}, "at"),
        ({"at": "holding:65536"}, "at"),
        ({"at": "input:65535", "as_": "float32"}, "at"),
        ({"at": "coil:1", "as_": "uint16"}, "as"),
        ({"at": "input:1", "as_": "string"}, "length"),
        ({"at": "input:1", "length": 2}, "length"),
        ({"at": "input:1", "as_": "string", "length": 2, "scale": 2.0}, "scale"),
        ({"at": "input:1", "as_": "string", "length": 2, "order": "CDAB"}, "order"),
        ({"at": "input:1", "as_": "string", "length": 2, "kind": Kind.COUNTER}, "kind"),
        ({"at": "coil:1", "order": "DCBA"}, "order"),
        ({"at": "input:1", "as_": "uint8", "order": "BADC"}, "order"),
        ({"at": "input:1", "as_": "uint16", "byte": Byte.HIGH}, "byte"),
        ({"at": "input:1", "as_": "float32", "bit": 3}, "bit"),
        ({"at": "input:1", "bit": 16}, "bit"),
        ({"at": "input:1", "bits": Bits(from_=12, count=5)}, "bits"),
        ({"at": "input:1", "bit": 1, "bits": Bits(from_=1)}, "bits"),
        ({"at": "input:1", "writable": True}, "writable"),
        ({"at": "discrete:1", "writable": True}, "writable"),
        ({"at": "holding:1", "scale": 0.0, "writable": True}, "writable"),
        ({"at": "holding:1", "as_": "string", "length": 124, "writable": True}, "writable"),
        ({"at": "input:1", "limits": (5.0, 1.0)}, "limits"),
    ],
)
def test_points_that_make_no_sense(options, field):
    bad(lambda: point(**options), field)


@pytest.mark.parametrize(
    ("options", "write", "key"),
    [
        ({"at": "input:1"}, {}, ()),
        ({"at": "holding:1"}, {"function": 5}, ("function",)),
        ({"at": "coil:1"}, {"function": 6}, ("function",)),
        ({"at": "holding:1", "as_": "float32"}, {"function": 6}, ("function",)),
        ({"at": "holding:1", "as_": "float32"}, {"function": 22}, ("function",)),
        ({"at": "holding:1", "bit": 2}, {"function": 16}, ("function",)),
        ({"at": "holding:1", "as_": "uint32", "bits": Bits(from_=14, count=4)}, {}, ("function",)),
        ({"at": "holding:1"}, {"read_modify_write": True}, ("read_modify_write",)),
    ],
)
def test_writes_that_make_no_sense(options, write, key):
    bad(lambda: point(**options, write=Write(**write)), "write", *key)


def test_writable_is_short_for_write():
    assert point("coil:1").writing is None
    assert point("coil:1", writable=True).writing == Write()
    assert point("holding:1", bit=2, writable=True).writing == Write(), "a mask write leaves the rest alone"
    assert point("coil:1", write=Write(function=15)).writing == Write(function=15)


def test_errors_suggest():
    assert 'did you mean "holding"' in bad(lambda: point("holdin:1"), "at")
    message = bad(lambda: modbus(URL, {"m": device(profile="eastron-sdm63")}), "devices", "m", "profile")
    assert 'did you mean "eastron-sdm630"' in message
    message = bad(
        lambda: modbus(URL, {"m": device(profile="eastron-sdm630", only=["voltag"])}),
        "devices", "m", "only", 0,
    )  # fmt: skip
    assert 'did you mean "voltage"' in message
    assert 'did you mean "parity"' in bad(lambda: modbus("rtu:///dev/x?paritee=N", {"m": DEVICE}), "url")


DEVICE = device(points={"a": point("input:0")})


@pytest.mark.parametrize(
    "url",
    ["listen+tcp://:1", "http://h", "10.0.0.5", "tcp://", "tcp://h:0", "tcp://h:99999",
     "tcp://h/x", "rtu://ttyUSB0", "rtu:///dev/x?baudrate=9601", "rtu:///dev/x?bits=8"],
)  # fmt: skip
def test_urls_that_cannot_be_used(url):
    bad(lambda: modbus(url, {"m": DEVICE}), "url")


def test_urls():
    assert (parse_url(URL).host, parse_url(URL).port, parse_url(URL).rtu) == ("10.0.0.5", 502, False)
    assert parse_url("tcp://[::1]:1502").host == "::1"
    assert parse_url("rtu+tcp://h:4001").rtu
    line = parse_url("rtu:///dev/ttyUSB0?baudrate=9600&parity=E&stopbits=1&bytesize=8")
    assert (line.device, line.baudrate, line.parity) == ("/dev/ttyUSB0", 9600, "E")
    assert line.silence_s == pytest.approx(3.5 * 11 / 9600)


def test_other_errors_name_their_place():
    bad(lambda: device(every=0), "every")
    bad(device, "points")
    bad(lambda: device(points={"a": point("input:0")}, only=["x"]), "only")
    bad(lambda: modbus(URL, {"m": DEVICE}, timeout=0), "timeout")
    wide = device(points={"a": point("input:0", "string", length=20)})
    bad(lambda: modbus(URL, {"m": wide}, max_registers=10), "devices", "m", "points", "a", "at")
    bad(lambda: modbus(URL, {"m": device(profile="x")}, profiles="/no/such/folder"), "profiles")
    narrow = device(profile="eastron-sdm630", max_registers=1)
    bad(lambda: modbus(URL, {"m": narrow}), "devices", "m", "profile")


def test_places():
    assert parse_at("input:0x48") == parse_at("input:72") == parse_at(" input : 072 ") == ("input", 72)


def test_points_join_and_replace_those_of_a_profile(tmp_path):
    text = "title: T\nsource: S\nmax_registers: 40\npoints:\n  a: {at: 'input:1'}\n  b: {at: 'input:2'}\n"
    (tmp_path / "mine.yaml").write_text(text)
    extra = {"b": point("holding:9"), "c": point("coil:1")}
    config = modbus(URL, {"m": device(profile="mine", points=extra)}, profiles=str(tmp_path))
    resolved = resolve(config, "m")
    assert {key: p.at for key, p in resolved.points.items()} == {"a": "input:1", "b": "holding:9", "c": "coil:1"}
    assert (resolved.max_registers, resolved.max_gap) == (40, 10)
    own = {"m": device(profile="mine", max_registers=80, max_gap=0)}
    resolved = resolve(modbus(URL, own, profiles=str(tmp_path)), "m")
    assert (resolved.max_registers, resolved.max_gap) == (80, 0)
    assert config.devices_named() == ("m",)


@pytest.mark.parametrize(
    "text",
    ["title: T\nsource: S\npoints: {a: {at: 'inptu:1'}}", "points: [", "title: T\nsource: S\npoints: {}",
     "title: T\nsource: S\npoints: {a: {at: 'input:1', unti: V}}", "- 1", ""],
)  # fmt: skip
def test_a_broken_profile_is_an_error_that_names_its_file(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    config = {"m": device(profile="mine")}
    message = bad(lambda: modbus(URL, config, profiles=str(tmp_path)), "devices", "m", "profile")
    assert "mine.yaml" in message


def test_sdm630_is_what_the_manual_says():
    points = load(SHIPPED / "eastron-sdm630.yaml").points
    addresses = {name: parse_at(one.at)[1] for name, one in points.items()}
    wanted = {
        "voltage_l1": 0x00, "voltage_l3": 0x04, "current_l1": 0x06, "power_l1": 0x0C, "power_factor_l1": 0x1E,
        "power": 0x34, "apparent_power": 0x38, "reactive_power": 0x3C, "power_factor": 0x3E, "frequency": 0x46,
        "energy_import": 0x48, "energy_export": 0x4A, "power_demand": 0x54, "voltage_thd_l1": 0xEA,
        "current_thd_l1": 0xF0, "energy_total": 0x156,
    }  # fmt: skip
    assert wanted.items() <= addresses.items()


def test_the_config_is_light_to_import():
    import subprocess
    import sys

    code = "import sys, adapters.modbus.config; assert not {'pymodbus', 'numpy', 'serial', 'yaml'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_yaml_names_reach_the_fields():
    raw = {"at": "holding:10", "as": "uint32", "bits": {"from": 4, "count": 3}, "offset": 1}
    from adapters.modbus.config import ModbusPoint

    one = msgspec.convert(raw, ModbusPoint)
    assert (one.type, one.field.from_, one.width) == ("uint32", 4, 2)
