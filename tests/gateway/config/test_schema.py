"""The JSON Schema: as lenient as the loader, and as strict where structure is concerned."""

from __future__ import annotations

import jsonschema
import pytest

from gateway.config.compose import parse
from gateway.config.convert import plain
from gateway.config.describe import one_line, written
from gateway.config.plugins import installed
from gateway.config.schema import schema
from gateway.units import Duration, Size


@pytest.fixture(scope="module")
def made():
    return schema()


def accepts(made, text: str) -> bool:
    tree, problems = parse(text, "f")
    assert problems == []
    return jsonschema.Draft202012Validator(made).is_valid(plain(tree))


def test_it_is_a_valid_schema_with_descriptions_and_defaults(made):
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["$schema"].endswith("2020-12/schema")
    commit = made["$defs"]["StoreConfig"]["properties"]["commit"]
    assert commit["default"] == "50ms"
    assert commit["description"].startswith("The longest that input waits")
    assert made["$defs"]["SpoolConfig"]["properties"]["when_full"]["default"] == "drop_oldest"
    assert made["$defs"]["PipelineConfig"]["properties"]["from"]["description"].startswith("Globs of the points")


def test_all_plug_ins_are_in_it(made):
    plugins = installed()
    tags = {
        definition["properties"]["type"]["const"]
        for definition in made["$defs"].values()
        if "const" in definition.get("properties", {}).get("type", {})
    }
    assert tags == {*plugins.adapters, *plugins.uplinks}
    assert list(made["$defs"]["Step"]["properties"]) == list(plugins.operators)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gateway: 7\nmax_points: ${N}\nstate: ${DIR:-/tmp}",
        "adapters:\npipelines:\nuplinks:\nstore:\nlog:",
        "store: {commit: '${COMMIT}', checkpoint: 1m 30s, journal: {max_size: 1.5GiB, when_full: '${RULE}'}}",
        "pipelines: {p: {from: '**', steps: [{limits: }, {scale: {factor: '${F}'}}], to: out}, q: }",
        "uplinks: {out: {type: mqtt, url: mqtt://h, version: 5}, two: {type: mqtt, url: x, version: 3.1.1}}",
        "adapters: {a: {type: modbus, url: tcp://h, devices: {on: {points: {yes: {at: 'coil:1', limits: [0, 1]}}}}}}",
    ],
)
def test_it_accepts(made, text):
    assert accepts(made, text)


@pytest.mark.parametrize(
    "text",
    [
        "gateway: feeder 7",
        "gatway: g",
        "max_points: 0",
        "max_points: many",
        "max_points: true",
        "store: {commit: 5}",
        "store: {commit: 5 parsecs}",
        "store: {journal: {max_size: 5s}}",
        "store: {spool: {when_full: explode}}",
        "adapters: {a: }",
        "adapters: {a: {type: x}}",
        "adapters: {a: {type: modbus, url: tcp://h, devices: {m: {unit: 256}}}}",
        "adapters: {a: {type: modbus, url: tcp://h, devices: {m: {points: {v: {at: x, limits: [1]}}}}}}",
        "adapters: {'a b': {type: modbus, url: tcp://h, devices: {m: {}}}}",
        "uplinks: {out: {type: mqtt}}",
        "pipelines: {p: {steps: [{}]}}",
        "pipelines: {p: {steps: [{limits: {}, scale: {}}]}}",
        "pipelines: {p: {steps: [{limit: {}}]}}",
        "pipelines: {p: {steps: {limits: {}}}}",
        "pipelines: {p: {from: {}}}",
    ],
)
def test_it_refuses(made, text):
    assert not accepts(made, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Duration(0.05), "50ms"), (Duration(0), "0s"), (Duration(90), "90s"), (Duration(60), "1m"),
        (Duration(5400), "90m"), (Duration(86400), "1d"), (Duration(1.5e-6), "1500ns"), (Duration(15), "15s"),
        (Size(0), "0B"), (Size(2**30), "1GiB"), (Size(1500), "1500B"), (Size(65536), "64KiB"),
    ],
)  # fmt: skip
def test_quantities_are_written_as_users_write_them(value, text):
    assert written(value) == text
    assert type(value).parse(text) == value


def test_docstrings_become_running_text():
    assert one_line("See ``a``\n    and :class:`Frame`, :meth:`~x.Y.z`.") == "See `a` and `Frame`, `x.Y.z`."
