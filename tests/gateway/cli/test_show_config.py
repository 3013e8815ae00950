"""``onpath show-config``: what holds, where it comes from, and never a secret."""

import json
from pathlib import Path

import msgspec
import pytest

from adapters.modbus.config import ModbusConfig, ModbusPoint
from adapters.modbus.profile import resolve
from gateway.config import GatewayConfig, load_checked
from gateway.config.describe import field_docs
from gateway.config.secret import secret_options
from tests.support.daemon import daemon

ROOT = Path(__file__).parents[3]
SITE = """\
gateway: g1
max_points: ${POINTS:-5000}
adapters:
  meters:
    type: modbus
    url: tcp://10.0.0.5:502
    devices:
      m1: {profile: eastron-sdm630, only: [voltage_l1], every: 500ms}
uplinks:
  cloud:
    type: http
    url: https://ingest.example/x
    headers: {X-Site: north, X-Api-Key: sesame}
    auth: {basic: "anna:${credential:pw}"}
pipelines: {p: {from: [m1/*, "**"], to: cloud}}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.delenv("POINTS", raising=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "pw").write_text("tOpsEcret")
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path


def test_each_value_with_its_origin(onpath, site):
    code, out, _ = onpath("show-config", "-c", site, "--no-defaults")
    assert code == 0
    lines = [line.replace(str(site), "site.yaml").strip() for line in out.splitlines()]
    for line in (
        "gateway: g1  # site.yaml:1:10",
        "max_points: 5000  # variable POINTS (site.yaml:2:13)",
        "every: 500ms  # site.yaml:8:64",
        'at: "input:0x0000"  # profile eastron-sdm630',
        "X-Site: north  # site.yaml:13:23",
        'X-Api-Key: "***"  # site.yaml:13:41',
        'basic: "***"  # credential pw (site.yaml:14:19)',
        'from: ["m1/*", "**"]  # site.yaml:15:24',
    ):
        assert line in lines
    assert "tOpsEcret" not in out
    assert "sesame" not in out
    assert "default" not in out


def test_defaults_and_globs(onpath, site):
    _, everything, _ = onpath("show-config", "-c", site)
    assert "  commit: 50ms  # default" in everything
    _, store, _ = onpath("show-config", "store.spool", "-c", site, "--no-origin")
    assert store.splitlines()[:3] == ["store:", "  spool:", "    max_size: 1GiB"]
    assert "#" not in store
    _, urls, _ = onpath("show-config", "*.*.url", "-c", site, "--json")
    assert [(row["path"], row["value"], row["kind"]) for row in json.loads(urls)] == [
        ("adapters.meters.url", "tcp://10.0.0.5:502", "file"),
        ("uplinks.cloud.url", "https://ingest.example/x", "file"),
    ]
    code, _, err = onpath("show-config", "nothing.like.it", "-c", site)
    assert code == 1
    assert "nothing in the configuration fits 'nothing.like.it'" in err


def test_what_is_printed_means_the_same(onpath, tmp_path, monkeypatch):
    """Of the configuration that shows everything, without its secrets, which cannot come back."""
    monkeypatch.chdir(ROOT)
    reference = Path("configs/reference.yaml")
    _, out, _ = onpath("show-config", "-c", reference, "--no-defaults", "--no-origin")
    _, rows, _ = onpath("show-config", "-c", reference, "--no-defaults", "--json")
    hidden = [row["path"] for row in json.loads(rows) if row["value"] == "***"]
    assert len(hidden) > 5
    real = load_checked(reference, {}).config
    for path in hidden:  # what was hidden is said again, so that all else can be compared
        out = out.replace('"***"', json.dumps(str(value_at(real, path))), 1)
    (tmp_path / "again.yaml").write_text(out)
    again = load_checked(tmp_path / "again.yaml", {}).config
    for section in GatewayConfig.__struct_fields__:
        old, new = getattr(real, section), getattr(again, section)
        if section != "adapters":
            assert old == new, section
    assert real.adapters.keys() == again.adapters.keys()
    for name, old in real.adapters.items():
        new = again.adapters[name]
        if isinstance(old, ModbusConfig):  # points of profiles are printed in full
            resolved = [{device: points_of(resolve(one, device)) for device in one.devices} for one in (old, new)]
            assert resolved[0] == resolved[1]
        assert without_devices(old) == without_devices(new), name


def without_devices(options):
    if not isinstance(options, ModbusConfig):
        return options
    return msgspec.structs.replace(options, devices={}, discover="1")


def points_of(resolved):
    """Each point by its options, whichever struct they are in."""
    return {
        name: {field: getattr(point, field) for field in ModbusPoint.__struct_fields__}
        for name, point in resolved.points.items()
    }


def value_at(value, path):
    import re

    for part in re.findall(r'"[^"]*"|[^.\[\]"]+', path):
        if isinstance(value, msgspec.Struct):
            names = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
            value = getattr(value, names[part.strip('"')])
        else:
            value = value[int(part)] if isinstance(value, list | tuple) else value[part.strip('"')]
    return value


def structs(info, seen):
    """Every struct of the configuration."""
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.StructType):
        if info.cls in seen:
            return
        seen.add(info.cls)
        for field in info.fields:
            structs(field.type, seen)
    for name in ("types", "item_types"):
        for inner in getattr(info, name, ()) or ():
            structs(inner, seen)
    for name in ("item_type", "key_type", "value_type"):
        if isinstance(getattr(info, name, None), msgspec.inspect.Type):
            structs(getattr(info, name), seen)


def test_every_option_that_wants_a_credential_is_hidden():
    found: set[type] = set()
    structs(msgspec.inspect.type_info(GatewayConfig), found)
    wanted = {
        (cls.__name__, field)
        for cls in found
        for field, text in field_docs(cls).items()
        if "${credential:" in text and field not in {"headers", "properties", "options"}
    }
    assert len(wanted) > 10
    assert wanted <= {(cls.__name__, field) for cls in found for field in secret_options(cls)}


def test_without_the_credentials_it_shows_the_rest(onpath, site, tmp_path):
    (tmp_path / "pw").unlink()
    code, out, err = onpath("show-config", "-c", site, "uplinks", "--no-defaults")
    assert code == 0
    assert "credential pw is not to be had here" in err
    assert 'basic: "***"' in out


def test_a_broken_configuration_is_said(onpath, tmp_path):
    (tmp_path / "x.yaml").write_text("adaptors: {}\n")
    code, _, err = onpath("show-config", "-c", tmp_path / "x.yaml")
    assert code == 78
    assert 'did you mean "adapters"' in err


async def test_of_the_running_gateway(tmp_path, capfd):
    import asyncio
    import subprocess
    import sys

    async with daemon(tmp_path, "max_points: 4000\nuplinks: {out: {type: stdout}}\n") as running:
        running.config.write_text(running.config.read_text().replace("4000", "9000"))
        command = [sys.executable, "-m", "gateway.cli.main", "show-config", "max_points", "-c", str(running.config)]
        for more, value in (([], 9000), (["--running"], 4000)):
            done = await asyncio.to_thread(
                subprocess.run, [*command, *more], capture_output=True, text=True, check=True
            )
            assert done.stdout.startswith(f"max_points: {value}  # ")
        done = await asyncio.to_thread(
            subprocess.run, [*command, "--running", "--json"], capture_output=True, text=True, check=True
        )
        (row,) = json.loads(done.stdout)
        assert (row["value"], row["origin"]) == (4000, "onpath.yaml:3:13")
