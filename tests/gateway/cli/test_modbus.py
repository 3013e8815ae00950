"""``onpath modbus`` against real peers: the scripted one, pymodbus's server, and our own simulator."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import struct
import sys
import tty
from contextlib import asynccontextmanager

import pytest
import trustme
from pymodbus.server import ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.errors import ConfigError, OnpathError
from tests.adapters.modbus.faulty import FaultyPeer


async def onpath(*words):
    """``onpath modbus WORDS`` in a thread: (exit code, what it printed)."""
    done = await asyncio.to_thread(CliRunner().invoke, app, ["modbus", *map(str, words)])
    if isinstance(done.exception, ConfigError | OnpathError):
        return done.exception.exit_code, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


async def answered(*words):
    code, said = await onpath(*words, "--json")
    assert code == 0, said
    return json.loads(said)


@asynccontextmanager
async def simulate(*words):
    """``onpath modbus simulate`` in a process: what it says when it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli.main", "modbus", "simulate", *words, stdout=asyncio.subprocess.PIPE
    )
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        yield json.loads(line)
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


# --- read


@pytest.mark.parametrize("framing", ["mbap", "rtu"])
async def test_read_shows_values_and_their_registers(framing):
    async with FaultyPeer(framing) as peer:
        peer.bank(3).float32("holding", 10, 230.1, -12.5)
        said = await answered("read", peer.url, "--unit", 3, "--at", "holding:10", "--as", "float32", "--count", 2)
        assert said["unit"] == 3
        assert said["values"] == [
            {"at": "holding:10", "raw": [0x4366, 0x199A], "value": 230.1, "quality": "good"},
            {"at": "holding:12", "raw": [0xC148, 0x0000], "value": -12.5, "quality": "good"},
        ]
        code, text = await onpath("read", peer.url, "--unit", 3, "--at", "holding:10", "--as", "float32")
        assert code == 0
        assert text.splitlines()[1].split() == ["holding:10", "230.1", "4366", "199a", "good"]


@pytest.mark.parametrize(
    ("options", "raw", "value"),
    [
        (["--at", "input:7"], [7], 7),
        (["--at", "input:7", "--as", "int16", "--scale", "0.1"], [7], 0.7),
        (["--at", "coil:1"], [1], True),
        (["--at", "discrete:8"], [0], False),
        (["--at", "holding:0x10", "--as", "uint32", "--order", "CDAB"], [16, 17], 17 << 16 | 16),
        (["--at", "holding:0x4141", "--as", "string", "--length", "2"], [0x4141, 0x4142], "AAAB"),
    ],
)
async def test_read_knows_types_orders_and_tables(options, raw, value):
    async with FaultyPeer() as peer:
        (row,) = (await answered("read", peer.url, *options))["values"]
    assert (row["raw"], row["value"]) == (raw, value)


async def test_read_many_takes_several_requests_and_not_a_number_says_why():
    async with FaultyPeer() as peer:
        peer.bank().float32("input", 0, *([1.5] * 149), float("nan"))
        rows = (await answered("read", peer.url, "--at", "input:0", "--as", "float32", "--count", 150))["values"]
        assert [row["value"] for row in rows] == [1.5] * 149 + [None]
        assert rows[-1]["quality"] == "invalid (not-a-number)"
        assert len(peer.requests) == 3


async def test_read_again_and_again_from_pymodbus():
    blocks = [SimData(0, values=[1, 2, 3], datatype=DataType.REGISTERS)]
    server = ModbusTcpServer([SimDevice(1, simdata=blocks)], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        url = f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
        words = ("read", url, "--at", "holding:0", "--count", 3, "--every", "20ms", "--times", 3, "--json")
        code, said = await onpath(*words)
    finally:
        await server.shutdown()
    rows = [json.loads(line) for line in said.splitlines()]
    assert code == 0
    assert [[value["value"] for value in row["values"]] for row in rows] == [[1, 2, 3]] * 3
    assert len({row["time"] for row in rows}) == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["--at", "hold:1"],
            2,
            "--at: 'hold' is not a table (coil, discrete, input, holding); did you mean \"holding\"?",
        ),
        (["--at", "holding:1", "--as", "float33"], 2, "--as: 'float33' is none of bool, int8"),
        (["--at", "holding:1", "--order", "ACBD"], 2, "--order: 'ACBD' is none of ABCD, CDAB, BADC, DCBA"),
        (["--at", "holding:1", "--as", "string"], 2, "--length: a string needs its length in registers"),
        (["--at", "holding:65535", "--as", "uint32"], 2, "--at: 2 registers from 65535 reach beyond address 65535"),
        (["--at", "holding:65534", "--count", "3"], 2, "--at: address 65536 is above 65535"),
        (["--at", "holding:1", "--timeout", "5"], 2, "--timeout: '5' is not a duration"),
        (["--at", "holding:1", "--timeout", "0"], 2, "--timeout: must be longer than zero"),
        (["--at", "holding:1", "--times", "2"], 2, "--times: says how often to read with --every"),
        (["--at", "holding:66"], 1, "illegal-data-address: unit 1, holding:66, 1 register"),
        (["--at", "holding:1", "--unit", "9", "--timeout", "50ms"], 1, "timeout: unit 9, holding:1, 1 register"),
    ],
)
async def test_read_says_what_is_wrong_in_one_line(words, code, said):
    async with FaultyPeer(units={1}) as peer:
        peer.bank().holes.add(("holding", 66))
        found, text = await onpath("read", peer.url, *words)
    assert found == code
    assert text.startswith(said)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("tcp://127.0.0.1:1", 1, "tcp://127.0.0.1:1: connection refused"),
        ("rtu:///dev/nowhere", 1, "rtu:///dev/nowhere: no such file or directory"),
        ("tcp:/127.0.0.1", 2, "names no host"),
        ("tcp://nowhere.invalid", 1, "tcp://nowhere.invalid: "),
        ("tls://127.0.0.1:1", 2, "tls:// needs --ca, --cert and --key"),
        ("listen+tcp://127.0.0.1:1", 2, "does not wait for a modem"),
    ],
)
async def test_no_connection_is_named(url, code, said):
    found, text = await onpath("read", url, "--at", "holding:0")
    assert found == code
    assert said in text
    assert "\n" not in text


async def test_an_error_is_one_line_of_the_real_command():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli.main", "modbus", "read", "tcp://127.0.0.1:1", "--at", "holding:0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (1, b"", b"onpath: tcp://127.0.0.1:1: connection refused\n")


async def test_a_connection_that_closes_is_made_anew_once():
    async with FaultyPeer() as peer:
        peer.on("closes", times=1)
        assert (await answered("read", peer.url, "--at", "holding:7"))["values"][0]["value"] == 7
        assert peer.connections == 2
        peer.on("closes")
        code, said = await onpath("read", peer.url, "--at", "holding:7")
    assert code == 1
    assert said == f"{peer.url}: closed by the other side"


# --- probe


async def test_probe_finds_the_place_the_order_and_the_table():
    async with FaultyPeer() as peer:
        bank = peer.bank()
        high, low = zip(*(struct.unpack(">HH", struct.pack(">f", u)) for u in (231.37, 229.61, 230.22)), strict=True)
        for i in range(3):
            bank.input.update({20 + 2 * i: low[i], 21 + 2 * i: high[i]})
        bank.holes |= {("holding", at) for at in range(100)}
        words = ("probe", peer.url, "--at", "holding:20", "--between", "0", "--json")
        said = json.loads((await onpath(*words))[1])
        code, text = await onpath("probe", peer.url, "--at", "holding:20", "--between", "0", "--top", 1)
    best = said["guesses"][0]
    assert (best["at"], best["as"], best["order"], best["meaning"]) == ("input:20", "float32", "CDAB", "voltage")
    assert best["value"] == pytest.approx(231.37)
    assert said["refused"] == {"holding": "illegal-data-address: exception 2"}
    assert code == 0
    assert "{at: input:20, as: float32, order: CDAB}" in text


async def test_probe_sees_a_counter_grow_and_reads_little_where_little_is():
    async with FaultyPeer() as peer:
        bank = peer.bank()
        bank.holes |= {("holding", at) for at in range(200) if at not in {50, 51}}
        bank.holes |= {("input", at) for at in range(200)}
        counts = iter(range(5_000_000, 6_000_000, 7))

        def counting(call):
            value = next(counts)
            bank.holding.update({50: value >> 16, 51: value & 0xFFFF})
            yield call.frame(call.good())

        peer.on(counting, function=3, address=50)
        said = await answered("probe", peer.url, "--at", "holding:50", "--between", "20ms")
    best = said["guesses"][0]
    assert (best["at"], best["as"], best["order"]) == ("holding:50", "uint32", "ABCD")
    assert "as a counter does" in best["why"][0]


async def test_probe_of_nothing_and_of_bits():
    async with FaultyPeer() as peer:
        peer.on("exception-02")
        code, said = await onpath("probe", peer.url, "--at", "holding:20")
        assert code == 1
        assert "nothing there looks like" in said
        code, said = await onpath("probe", peer.url, "--at", "coil:20")
        assert (code, said) == (2, "--at: a coil is a bit, there is nothing to guess; probe holding or input")


# --- scan


@pytest.mark.parametrize("framing", ["mbap", "rtu"])
async def test_scan_finds_units_and_what_they_say_of_themselves(framing):
    async with FaultyPeer(framing, units={3, 7, 9}) as peer:
        peer.bank(3).objects = {0: "Acme", 1: "M-1", 2: "1.0", 5: "model " + "x" * 200, 0x80: "own " + "y" * 200}
        peer.bank(7).holes |= {("holding", 0)}
        peer.bank(9).holding.update({40000: 0x5375, 40001: 0x6E53, 40002: 1, 40003: 66, 40070: 103, 40071: 50})
        peer.bank(9).holding.update({40122: 0xFFFF, 40123: 0})
        peer.on("exception-0b", unit=9, nth=1)  # it was busy: a gateway says that it did not answer
        said = await answered("scan", peer.url, "--units", "1-9", "--timeout", "150ms", "--pause", "1ms")
        assert [row["unit"] for row in said["units"]] == [3, 7]
        said = await answered("scan", peer.url, "--units", "3,7,9", "--timeout", "300ms", "--pause", "1ms")
    three, seven, nine = said["units"]
    assert three["identity"] == {
        "vendor": "Acme", "product": "M-1", "revision": "1.0", "model": "model " + "x" * 200,
        "object 128": "own " + "y" * 200,
    }  # fmt: skip
    assert (three["said"], seven["said"]) == ("data", "illegal-data-address")
    assert seven["notes"] == ["no identification (illegal-function)"]
    assert nine["sunspec"] == {"base": 40000, "models": [[1, 66], [103, 50]]}


async def test_scan_finds_the_addresses_that_can_be_read():
    async with FaultyPeer(units={1}) as peer:
        bank = peer.bank()
        bank.functions = {3, 4, 43}
        bank.holes |= {("holding", at) for at in range(200) if not 10 <= at <= 20 and at not in {30, 31}}
        bank.holes |= {("input", at) for at in range(200)}
        bank.values.append(("holding", 30, 2))
        words = ("scan", peer.url, "--units", 1, "--ranges", "--within", "0-99", "--pause", "0", "--timeout", "1s")
        (row,) = (await answered(*words))["units"]
        code, text = await onpath(*words)
    assert row["ranges"] == {"holding": {"readable": [[10, 20], [30, 31]], "longest": 4, "whole": [[30, 31]]}}
    assert row["notes"][1:] == [
        "coil: the search ended (illegal-function)", "discrete: the search ended (illegal-function)"
    ]  # fmt: skip
    assert code == 0
    assert "holding: 10-20, 30-31 (longest read 4)" in text
    assert "only whole: 30-31" in text


async def test_scan_gives_up_on_a_unit_that_falls_silent_and_keeps_its_pace():
    async with FaultyPeer() as peer:
        peer.on("silent", function=4)
        words = ("scan", peer.url, "--units", 1, "--ranges", "--within", "0-9", "--timeout", "30ms", "--pause", "5ms")
        (row,) = (await answered(*words))["units"]
        gaps = [b - a for a, b in zip(peer.times, peer.times[1:], strict=False)]
    assert "input: the search ended (timeout)" in row["notes"]
    assert set(row["ranges"]) == {"holding", "coil", "discrete"}
    assert min(gaps) >= 0.005


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--units", "9-3"], "--units: '9-3' is not within 0 to 255, the lower first"),
        (["--units", "x"], "--units: 'x' is not a unit or a range such as 1-247"),
        (["--units", "256"], "--units: '256' is not within 0 to 255"),
        (["--ranges", "--within", "7"], "--within: '7' is not a range of addresses"),
    ],
)
async def test_scan_refuses_nonsense(words, said):
    code, text = await onpath("scan", "tcp://127.0.0.1:1", *words)
    assert code == 2
    assert text.startswith(said)


async def test_scan_of_an_empty_bus_fails():
    async with FaultyPeer(units=set()) as peer:
        code, said = await onpath("scan", peer.url, "--units", "1-3", "--timeout", "20ms", "--pause", "0")
    assert code == 1
    assert said == "0 of 3 units answered, 3 requests\n"


# --- verify


async def test_verify_passes_a_true_device():
    async with simulate("eastron-sdm630", "--unit", "5") as ready:
        said = await answered("verify", "eastron-sdm630", ready["url"], "--unit", 5)
    assert said["counts"]["failed"] == said["counts"]["suspicious"] == 0
    assert said["counts"]["ok"] > ready["points"]
    names = [check["name"] for check in said["checks"]]
    assert {"U x I x PF = P: power_l1", "sum of power: power", "frequency"} <= set(names)


async def test_a_sunspec_device_says_itself_what_is_to_be_verified():
    async with simulate("sunspec", "--unit", "126") as ready:
        (row,) = (await answered("scan", ready["url"], "--units", 126, "--pause", "0"))["units"]
        said = await answered("verify", "sunspec", ready["url"], "--unit", 126)
        code, text = await onpath("verify", "sunspec", ready["url"], "--unit", 5)
    assert row["sunspec"] == {"base": 40000, "models": [[1, 66], [103, 50]]}
    assert said["counts"]["failed"] == 0
    assert said["counts"]["ok"] > 30
    assert "U x I x PF = P" in json.dumps(said) or "sum of" in json.dumps(said) or "P^2" in json.dumps(said)
    assert (code, text.partition(":")[0]) == (1, "no-sunspec-map")


async def test_verify_fails_what_cannot_be_true():
    async with FaultyPeer() as peer:
        bank = peer.bank()
        shown = {0x00: 230.0, 0x06: 10.0, 0x0C: 2185.0, 0x12: 2300.0, 0x18: 718.0, 0x1E: 0.95, 0x46: 5001.0}
        for address, number in shown.items():
            bank.float32("input", address, number)
        shown_at = {at for address in shown for at in (address, address + 1)}
        bank.input.update({at: 0 for at in range(400) if at not in shown_at})
        bank.holes |= {("input", 0x156), ("input", 0x157)}
        code, said = await onpath("verify", "eastron-sdm120", peer.url, "--patience", "5s", "--json")
        _, text = await onpath("verify", "eastron-sdm120", peer.url, "--patience", "5s")
    checks = {check["name"]: check for check in json.loads(said)["checks"]}
    assert code == 1
    assert checks["frequency"]["verdict"] == "failed"
    assert checks["frequency"]["why"] == "5001 is not within 40 to 70 Hz"
    assert checks["energy_total"]["why"] == "the device refuses the address (exception 2)"
    assert checks["voltage"] == {"name": "voltage", "verdict": "ok", "why": "", "value": "230 V"}
    assert checks["U x I x PF = P: power"]["verdict"] == "ok"
    assert text.splitlines()[-1].endswith("2 failed")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["eastron-sdm63", "tcp://127.0.0.1:1"], 2, "no profile 'eastron-sdm63'; did you mean \"eastron-sdm630\"?"),
        (["eastron-sdm630", "tcp://127.0.0.1:1"], 1, "tcp://127.0.0.1:1: connection refused"),
        (["eastron-sdm630", "tcp:127.0.0.1"], 2, "names no host"),
        (["eastron-sdm630", "tcp://127.0.0.1:1", "--param", "ct"], 2, "--param: 'ct' is not NAME=NUMBER"),
        (["eastron-sdm630", "tcp://127.0.0.1:1", "--param", "ct=0"], 2, "--param: ct must be more than zero"),
    ],
)
async def test_verify_says_what_is_wrong_in_one_line(words, code, said):
    found, text = await onpath("verify", *words)
    assert found == code
    assert said in text
    assert "\n" not in text


# --- simulate


async def test_simulate_plays_several_units():
    async with simulate("eastron-sdm120", "--listen", "tcp://127.0.0.1:0", "--unit", "1-2", "--seed", "4") as up:
        assert up["url"] == f"tcp://127.0.0.1:{up['port']}"
        words = ("--at", "input:0", "--as", "float32")
        one = (await answered("read", up["url"], "--unit", 1, *words))["values"][0]["value"]
        two = (await answered("read", up["url"], "--unit", 2, *words))["values"][0]["value"]
        code, said = await onpath("read", up["url"], "--unit", 3, *words)
    assert up["units"] == [1, 2]
    assert one != two
    assert 220 < one < 240
    assert (code, said) == (1, "gateway-target-failed: unit 3, input:0, 2 registers")


async def test_simulate_on_a_terminal():
    async with simulate("eastron-sdm120", "--listen", "rtu://pty", "--fault", "exception:6:0.01") as up:
        assert up["url"].startswith("rtu:///dev/")
        assert "port" not in up
        said = await answered("scan", up["url"], "--units", "1-2", "--timeout", "100ms", "--pause", "1ms")
        (row,) = said["units"]
        assert row["identity"]["product"] == "eastron-sdm120"
        again = await answered("read", up["url"], "--at", "input:0x46", "--as", "float32")
    assert again["values"][0]["value"] == pytest.approx(50, abs=0.5)


async def test_simulate_ends_by_itself_and_refuses_nonsense():
    async with simulate("eastron-sdm120", "--for", "50ms") as up:
        assert up["points"] > 10
    for words, code, said in (
        (["nothing"], 2, "no profile 'nothing'"),
        (["eastron-sdm120", "--listen", "http://x"], 2, "--listen: 'http://x': write one of tcp://"),
        (["eastron-sdm120", "--listen", "tcp://127.0.0.1:0/x"], 2, "--listen:"),
        (["eastron-sdm120", "--fault", "lat"], 2, "--fault: no fault 'lat'; did you mean 'late'?"),
        (["eastron-sdm120", "--listen", "rtu:///dev/nowhere"], 1, "rtu:///dev/nowhere: no such file"),
    ):
        found, text = await onpath("simulate", *words)
        assert (found, said in text) == (code, True), text


# --- plan


CONFIG = """
gateway: test
adapters:
  bus:
    type: modbus
    url: rtu:///dev/ttyUSB0?baudrate=9600&parity=E
    devices:
      m1: {unit: 1, profile: eastron-sdm630, every: %s, only: ["voltage_l[123]", "current_l[123]"]}
      m2: {unit: 2, every: 10s, points: {relay: {at: "coil:3"}}}
pipelines:
  all: {from: "**", steps: [], to: out}
uplinks:
  out: {type: stdout}
"""


async def test_plan_says_what_the_bus_is_asked(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(CONFIG % "1s")
    said = (await answered("plan", file, "--turnaround", "5ms"))["bus"]
    first, second = said["devices"]
    assert [(read["table"], read["start"], read["count"], read["needed"]) for read in first["reads"]] == [
        ("input", 0, 12, 12)
    ]
    assert second["bits"] == 1
    assert said["holds"] is True
    assert 0.05 < said["shortest_period_s"] < 0.12
    code, text = await onpath("plan", file)
    assert code == 0
    assert "input:0 x 12" in text
    assert "2 requests for 12 registers and 1 bits, 12 registers needed" in text


async def test_plan_fails_if_the_bus_cannot_hold_it(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(CONFIG % "20ms")
    code, text = await onpath("plan", file)
    assert code == 1
    assert "the bus cannot hold these periods" in text
    file.write_text("gateway: test\n")
    assert await onpath("plan", file) == (2, f"{file}: there is no Modbus adapter in it")
    file.write_text("gatway: test\n")
    assert (await onpath("plan", file))[0] == 78


# --- what all of them share


async def test_a_person_sees_how_far_a_scan_is():
    near, far = os.openpty()
    tty.setraw(far)
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(near, lambda: b"units" in os.read(near, 4096) and seen.set())
    try:
        async with FaultyPeer() as peer:
            words = ("modbus", "scan", peer.url, "--units", "1-20", "--pause", "10ms")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.cli.main", *words, stdout=asyncio.subprocess.PIPE, stderr=far,
                env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
            )  # fmt: skip
            out, _ = await process.communicate()
            await asyncio.wait_for(seen.wait(), 5)
    finally:
        loop.remove_reader(near)
        os.close(near)
        os.close(far)
    assert out.decode().splitlines()[-1].startswith("20 of 20 units answered")


async def test_tls_with_certificates_on_both_sides(tmp_path):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, issued in (("device", ca.issue_cert("127.0.0.1")), ("gateway", ca.issue_cert("gateway"))):
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    secure.verify_mode = ssl.CERT_REQUIRED
    secure.load_cert_chain(tmp_path / "device.pem", tmp_path / "device.key")
    device = SimDevice(1, simdata=[SimData(0, values=[4711], datatype=DataType.REGISTERS)])
    server = ModbusTlsServer([device], address=("127.0.0.1", 0), sslctx=secure)
    await server.serve_forever(background=True)
    try:
        url = f"tls://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
        files = ("--ca", tmp_path / "ca.pem", "--cert", tmp_path / "gateway.pem", "--key", tmp_path / "gateway.key")
        said = await answered("read", url, "--at", "holding:0", *files)
        code, text = await onpath("read", url, "--at", "holding:0", *files, "--server-name", "other")
    finally:
        await server.shutdown()
    assert said["values"][0]["value"] == 4711
    assert code == 1
    assert text.startswith(f"{url}: ")
    assert "certificate" in text
