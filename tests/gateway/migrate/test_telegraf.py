"""A configuration of Telegraf is carried over: what was read before is read now, and what is left out is said."""

import json
import subprocess
import sys
import textwrap

import pytest
import yaml

from gateway.errors import OnpathError
from gateway.migrate.telegraf import read_telegraf
from tests.gateway.migrate.conftest import words
from tests.support.daemon import daemon, json_lines, samples_of
from tests.support.nats import nats_broker
from tests.support.publish import publish


def onpath(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def written(folder, text):
    file = folder / "telegraf.conf"
    file.write_text(textwrap.dedent(text))
    return file


def left(draft):
    return {note.where for note in draft.notes if note.fate == "left out"}


MODBUS = """
    [agent]
      interval = "200ms"
    [[inputs.modbus]]
      name = "Device"
      controller = "tcp://127.0.0.1:{port}"
      slave_id = 1
      holding_registers = [
        {{ name = "level", byte_order = "AB", data_type = "FIXED", scale = 0.1, address = [3] }},
        {{ name = "voltage", byte_order = "ABCD", data_type = "FLOAT32-IEEE", scale = 1.0, address = [10, 11] }},
        {{ name = "swapped", byte_order = "CDAB", data_type = "FLOAT32-IEEE", scale = 1.0, address = [12, 13] }},
        {{ name = "wide", byte_order = "ABCD", data_type = "FLOAT64-IEEE", scale = 1.0, address = [14, 15, 16, 17] }},
        {{ name = "little", byte_order = "BA", data_type = "UINT16", scale = 1.0, address = [20] }},
      ]
      [inputs.modbus.workarounds]
        pause_between_requests = "2ms"
    [[inputs.modbus]]
      name = "line"
      controller = "tcp://127.0.0.1:{port}"
      configuration_type = "metric"
      [[inputs.modbus.metric]]
        slave_id = 2
        byte_order = "CDAB"
        fields = [
          {{ address = 12, name = "voltage", type = "FLOAT32" }},
          {{ address = 21, name = "serial", type = "STRING", length = 4 }},
          {{ address = 30, name = "alarm", type = "BIT", bit = 3 }},
          {{ register = "input", address = 5, name = "count", type = "UINT16", scale = 10.0 }},
        ]
        [inputs.modbus.metric.tags]
          hall = "north"
    [[processors.scale]]
      [[processors.scale.scaling]]
        input_minimum = 0.0
        input_maximum = 100.0
        output_minimum = 0.0
        output_maximum = 1.0
        fields = ["count"]
    [[outputs.file]]
      files = ["{out}"]
"""


async def test_registers_are_read_as_telegraf_read_them(tmp_path, meters):
    """The device says which address, type and order of bytes was really asked for."""
    source = written(tmp_path, MODBUS.format(port=meters, out=tmp_path / "out.jsonl"))
    done = onpath("import", "telegraf", source, "-o", tmp_path / "site.yaml", "--strict")
    assert done.returncode == 0, done.stderr
    body = (tmp_path / "site.yaml").read_text()
    async with daemon(tmp_path, body) as running:
        await running.until(lambda status: status["pipelines"]["all"]["out"] > 30)
        running.stop()
    found = {name: [one["value"] for one in samples_of(json_lines(tmp_path / "out.jsonl"), name)] for name in EXPECTED}
    for name, value in EXPECTED.items():
        assert set(found[name]) == {value}, name


EXPECTED = {
    "Device/level": 10.3, "Device/voltage": 231.5, "Device/swapped": 231.5, "Device/wide": -1234.5678,
    "Device/little": 4711, "line/voltage": 232.5, "line/alarm": 1, "line/count": 20.5, "line/serial": "SN-0042",
}  # fmt: skip


def test_the_device_is_what_the_test_believes():
    assert words("f", 1.0) == [0x3F80, 0]


async def test_topics_are_taken_as_telegraf_took_them(tmp_path):
    async with nats_broker(tmp_path / "nats") as broker:
        port = broker.mqtt_port
        source = written(
            tmp_path,
            f"""
            [[inputs.mqtt_consumer]]
              servers = ["tcp://127.0.0.1:{port}"]
              topics = ["site/+/telemetry", "boiler/temp"]
              qos = 1
              client_id = "tg"
              persistent_session = true
              data_format = "json"
              json_time_key = "ts"
              json_time_format = "unix_ms"
            [[outputs.file]]
              files = ["{tmp_path / "out.jsonl"}"]
            """,
        )
        done = onpath("import", "telegraf", source, "-o", tmp_path / "site.yaml")
        assert done.returncode == 0, done.stderr
        async with daemon(tmp_path, (tmp_path / "site.yaml").read_text()) as running:
            await running.until(lambda status: status["adapters"]["mqtt"]["link"] == "up")
            assert await publish(port, [
                ("site/m7/telemetry", {"ts": 1_700_000_000_000, "power": 512.5}), ("boiler/temp", {"celsius": 71}),
            ]) == 2  # fmt: skip
            await running.until(lambda status: status["pipelines"]["all"]["out"] >= 2)
            running.stop()
    batches = json_lines(tmp_path / "out.jsonl")
    (power,) = samples_of(batches, "m7/power")
    assert (power["value"], power["time"]) == (512.5, "2023-11-14T22:13:20.000Z")
    assert samples_of(batches, "temp/celsius")[0]["value"] == 71


def test_what_has_no_counterpart_is_listed(tmp_path):
    draft = read_telegraf([
        written(
            tmp_path,
            """
            [global_tags]
              dc = "east"
            [[inputs.cpu]]
              percpu = true
            [[inputs.modbus]]
              controller = "file:///dev/ttyUSB0"
              baud_rate = 19200
              parity = "E"
              transmission_mode = "ASCII"
              slave_id = 9
              busy_retries = 5
              future_option = 1
              holding_registers = [
                { name = "a b", byte_order = "AB", data_type = "UINT16", scale = 1.0, address = [1] },
                { name = "odd", byte_order = "ABCD", data_type = "UINT32", scale = 1.0, address = [4, 3] },
                { name = "half", byte_order = "AB", data_type = "FLOAT16-IEEE", scale = 1.0, address = [7] },
              ]
              [inputs.modbus.workarounds]
                one_request_per_field = true
            [[processors.starlark]]
              source = "def apply(metric): return metric"
            [[aggregators.basicstats]]
              period = "30s"
              stats = ["mean", "stdev", "diff"]
              fieldpass = ["a*"]
            [[outputs.wavefront]]
              url = "http://x"
            """,
        )
    ])  # fmt: skip
    assert left(draft) == {
        "global_tags", "inputs.cpu[0]",
        "inputs.modbus[0].holding_registers[1]", "inputs.modbus[0].holding_registers[2]",
        "inputs.modbus[0].workarounds[0].one_request_per_field", "inputs.modbus[0].future_option",
        "processors.starlark[0]", "aggregators.basicstats[0].stats", "outputs.wavefront[0]",
    }  # fmt: skip
    adapter = draft.adapters["modbus"]
    assert adapter["url"] == "ascii:///dev/ttyUSB0?baudrate=19200&parity=E"
    assert adapter["devices"]["modbus"]["retries"] == 3
    assert list(adapter["devices"]["modbus"]["points"]) == ["a-b"]
    assert draft.pipelines["all"]["steps"] == [
        {"window": {"every": "30s", "stats": ["mean", "stddev"], "points": ["*/a*"]}}
    ]


def test_secrets_are_not_copied(tmp_path):
    source = written(
        tmp_path,
        """
        [[inputs.mqtt_consumer]]
          servers = ["ssl://broker:8883"]
          topics = ["a/+"]
          data_format = "value"
          data_type = "float"
          username = "u"
          password = "hunter2"
        [[outputs.influxdb_v2]]
          urls = ["http://i:8086/"]
          token = "t0ken"
          organization = "o"
          bucket = "b"
        """,
    )
    done = onpath("import", "telegraf", source)
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "t0ken" not in done.stdout + done.stderr
    made = yaml.safe_load(done.stdout)
    assert made["adapters"]["mqtt"]["password"].startswith("${MQTT_PASSWORD:?")
    assert made["uplinks"]["influxdb_v2"]["url"] == "http://i:8086/api/v2/write?org=o&bucket=b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[inputs.cpu]]\n", "nothing that could be carried over"),
        ("slave_id = ${ID}\n", "put quotes around ${VARIABLES}"),
        ("[[inputs.modbus", "is not TOML"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(tmp_path, text, said):
    done = onpath("import", "telegraf", written(tmp_path, text))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_existing_file_stays(tmp_path):
    source = written(tmp_path, MODBUS.format(port=502, out="x.jsonl"))
    target = tmp_path / "site.yaml"
    target.write_text("mine")
    done = onpath("import", "telegraf", source, "-o", target)
    assert (done.returncode, target.read_text()) == (1, "mine")
    assert "--force" in done.stderr
    assert onpath("import", "telegraf", source, "-o", target, "--force").returncode == 0
    assert target.read_text() != "mine"


def test_json_holds_configuration_and_remarks(tmp_path):
    done = onpath("import", "telegraf", written(tmp_path, MODBUS.format(port=502, out="x.jsonl")), "--json")
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert found["configuration"]["adapters"]["Device"]["devices"]["Device"]["unit"] == 1


def test_a_folder_is_one_configuration(tmp_path):
    folder = tmp_path / "telegraf.d"
    folder.mkdir()
    (folder / "in.conf").write_text(
        '[[inputs.modbus]]\ncontroller="udp://h:502"\nslave_id=4\ncoils=[{name="c", address=[7]}]\n'
    )
    (folder / "out.conf").write_text('[[outputs.kafka]]\nbrokers=["k:9092"]\ntopic="t"\n')
    draft = read_telegraf([folder])
    assert draft.adapters["modbus"]["url"] == "udp://h:502"
    assert draft.uplinks["kafka"] == {"type": "kafka", "servers": ["k:9092"], "topic": "t"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(OnpathError, match="in this folder"):
        read_telegraf([tmp_path / "empty"])
