"""The simulated device: its values, its answers to any bytes, its faults."""

from __future__ import annotations

import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.place import Table
from adapters.modbus.profile import available
from adapters.modbus.tools.device import PlayedDevice
from adapters.modbus.tools.far import FRAMINGS, Asked
from adapters.modbus.tools.faults import KINDS, Fault, Faults, parse_fault
from adapters.modbus.tools.image import Image
from adapters.modbus.tools.plausible import Verdict
from adapters.modbus.tools.session import UsageError
from adapters.modbus.tools.simulator import Simulator, played
from adapters.modbus.url import Frames
from tests.adapters.modbus.bank import crc
from tests.adapters.modbus.peers import point

SDM630 = played("eastron-sdm630", "", {})
POINTS = {
    "voltage": point("holding:0", "float32", unit="V"),
    "set": point("holding:2", "uint16", writable=True),
    "relay": point("coil:5", writable=True),
    "alarm": point("discrete:9"),
    "flag": point("holding:3", "uint16", bit=3),
    "serial": point("input:10", "string", length=4),
}


def float_at(image, address):
    held = image.tables[Table.INPUT]
    return struct.unpack(">f", struct.pack(">HH", held[address], held[address + 1]))[0]


def test_values_belong_together_and_move():
    image = Image(SDM630.points, 1)
    before = float_at(image, 0x48)
    image.step(3600.0)
    voltage, current, power, factor = (float_at(image, at) for at in (0x00, 0x06, 0x0C, 0x1E))
    assert 215 < voltage < 245
    assert power == pytest.approx(voltage * current * factor, rel=1e-5)
    total = float_at(image, 0x34)
    assert total == pytest.approx(sum(float_at(image, at) for at in (0x0C, 0x0E, 0x10)), rel=1e-5)
    assert float_at(image, 0x48) - before == pytest.approx(total / 1000, rel=0.01), "an hour at this power, in kW.h"


def test_the_same_seed_plays_the_same():
    images = [Image(SDM630.points, seed) for seed in (7, 7, 8)]
    for image in images:
        image.step(1.0)
    assert images[0].tables == images[1].tables != images[2].tables


@pytest.mark.parametrize("name", [*sorted(available("")), "sunspec"])
def test_every_shipped_profile_can_be_played_within_its_limits(name):
    from gateway.cli.modbus_verify import judged

    profile = played(name, "", dict.fromkeys(_needs(name), 1.0))
    image = Image(profile.points, 1, profile.max_gap, profile.fixed)
    image.step(1.0)
    shown = _shown(profile.points, image)
    failed = [check for check in judged(profile.points, shown) if check.verdict is Verdict.FAILED]
    assert failed == []


def _needs(name):
    from adapters.modbus.profile import load

    if name == "sunspec":
        return []
    return [key for key, default in load(available("")[name]).params.items() if default is None]


def _shown(points, image):
    """Decode the image with the gateway's own decoder."""
    import numpy as np

    from adapters.modbus.layout import Decoder, Layout
    from adapters.modbus.planner import Read
    from adapters.modbus.tools.plausible import Shown
    from gateway.quality import Reason, reason_codes

    shown = {}
    for name, options in points.items():
        layout = Layout.of(options)
        span = layout.span
        held = image.tables[span.table]
        words = [held[at] for at in range(span.address, span.end)]
        data = bytes([words[0]]) if span.table.is_bits else struct.pack(f">{len(words)}H", *words)
        decoder = Decoder([layout], Read(span.table, span.address, span.width, (0,)))
        value, quality = np.zeros(1), np.zeros(1, np.uint16)
        texts = []
        decoder.decode(data, value, quality, lambda _position, text, texts=texts: texts.append(text) or 0.0)
        code = Reason(int(reason_codes(value)[0]))
        shown[name] = [Shown(float(value[0]), int(quality[0]), code, texts[0] if texts else "")]
    return shown


def device():
    image = Image(POINTS, 1)
    writable = {table: set() for table in Table} | {Table.HOLDING: {2}, Table.COIL: {5}}
    return PlayedDevice(image, {0: "onpath", 1: "x" * 200, 2: "1", 4: "y" * 100}, writable), image


def ask(pdu):
    return device()[0].answer(bytes.fromhex(pdu)).hex()


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("01 0005 0001", "010101"),
        ("02 0009 0001", "020101"),
        ("03 0002 0001", "03020001"),
        ("03 0002 0003", "8302"),
        ("03 0002 0000", "8303"),
        ("03 0002 007e", "8303"),
        ("04 000a 0004", "0408" + b"SERIAL\0\0".hex()),
        ("05 0005 ff00", "050005ff00"),
        ("05 0005 1234", "8503"),
        ("06 0002 002a", "060002002a"),
        ("06 0003 002a", "8602"),
        ("06 0063 002a", "8602"),
        ("0f 0005 0001 01 01", "0f00050001"),
        ("10 0002 0001 02 002a", "1000020001"),
        ("10 0002 0001 04 002a", "9003"),
        ("16 0002 0000 0007", "16000200000007"),
        ("11", "9101"),
        ("2b 0d 01 00", "ab01"),
        ("2b 0e 05 00", "ab03"),
        ("2b 0e 04 09", "ab02"),
        ("2b 0e 04 02", "2b0e0483000001" + "020131"),
        ("", "8001"),
        ("03", "8303"),
    ],
)
def test_answers(asked, answer):
    assert ask(asked) == answer


def test_what_was_written_stays():
    played, image = device()
    played.answer(bytes.fromhex("06 0002 002a"))
    played.answer(bytes.fromhex("05 0005 ff00"))
    image.step(10.0)
    assert (image.tables[Table.HOLDING][2], image.tables[Table.COIL][5]) == (42, 1)


def test_a_long_identity_comes_in_parts():
    first = bytes.fromhex(ask("2b 0e 02 00"))
    assert first[4:7] == bytes([0xFF, 4, 3])
    assert bytes.fromhex(ask("2b 0e 02 04"))[4:7] == bytes([0, 0, 1])


@given(st.binary(max_size=260))
def test_any_request_gets_an_answer_of_its_function(pdu):
    answer = device()[0].answer(pdu)
    assert answer[0] & 0x7F == (pdu[0] & 0x7F if pdu else 0)
    assert len(answer) <= 253


REQUESTS = [bytes.fromhex(pdu) for pdu in ("03 0000 0002", "10 0002 0001 02 002a", "2b 0e 01 00", "16 0002 0000 0007")]


@pytest.mark.parametrize("frames", Frames)
@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4), st.integers(1, 40))
def test_requests_are_found_however_the_bytes_are_cut(frames, pdus, size):
    framing = FRAMINGS[frames]()
    wire = b"".join(framing.frame(Asked(17, b"", i), pdu) for i, pdu in enumerate(pdus))
    found = [asked for at in range(0, len(wire), size) for asked in framing.take(wire[at : at + size])]
    assert [asked.pdu for asked in found] == pdus
    assert {asked.unit for asked in found} == {17}


@pytest.mark.parametrize("frames", Frames)
@given(st.binary(max_size=600))
def test_any_bytes_are_requests_or_nothing(frames, data):
    for asked in FRAMINGS[frames]().take(data):
        assert asked.pdu


def test_a_request_behind_noise_is_found():
    body = bytes.fromhex("01 03 0000 0002")
    assert FRAMINGS[Frames.RTU]().take(b"\xff\x00\x55" + body + crc(body))[0].pdu == body[1:]


def test_faults_come_as_often_as_was_asked():
    faults = Faults([parse_fault("timeout:0.25"), parse_fault("exception:2:0.5")], 1)
    thrown = Counter(fault.kind if fault else "" for fault in (faults.next() for _ in range(4000)))
    assert thrown["timeout"] == pytest.approx(1000, rel=0.15)
    assert thrown["exception"] == pytest.approx(2000, rel=0.1)


def test_the_same_seed_throws_the_same_faults():
    twice = [Faults([Fault("timeout", 0.25), Fault("late", 0.25, 1.0)], 3) for _ in range(2)]
    assert [twice[0].next() for _ in range(50)] == [twice[1].next() for _ in range(50)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("timeout", Fault("timeout", 0.1)),
        ("timeout:0.5", Fault("timeout", 0.5)),
        ("exception", Fault("exception", 0.1, 4.0)),
        ("exception:2", Fault("exception", 0.1, 2.0)),
        ("exception:11:0.5", Fault("exception", 0.5, 11.0)),
        ("late", Fault("late", 0.1, 1.5)),
        ("late:0.2", Fault("late", 0.2, 1.5)),
        ("late:0.3:0.2", Fault("late", 0.2, 0.3)),
    ],
)
def test_faults_as_the_option_writes_them(text, fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeuot", "did you mean 'timeout'"),
        ("x", "there are timeout"),
        ("timeout:0.1:2", "too many parts"),
        ("timeout:often", "must be numbers"),
        ("timeout:0", "between 0 and 1"),
        ("timeout:1.5", "between 0 and 1"),
        ("exception:2.5:0.1", "not within"),
        ("exception:300:0.1", "not within"),
    ],
)
def test_faults_that_make_no_sense(text, said):
    with pytest.raises(UsageError, match=said):
        parse_fault(text)


def test_shares_that_are_more_than_everything():
    with pytest.raises(UsageError, match="more than 1"):
        Simulator(SDM630, "x", [1], [Fault("timeout", 0.6), Fault("late", 0.6, 1.0)], 1)


def test_units_on_a_bus_and_behind_a_gateway():
    simulator = Simulator(SDM630, "x", [1, 2], [], 1)
    good = bytes.fromhex("04 0000 0002")
    assert simulator.answer(Asked(9, good), bus=False)[0] == b"\x84\x0b"
    assert simulator.answer(Asked(9, good), bus=True)[0] is None
    assert simulator.answer(Asked(0, good), bus=True)[0] is None, "a broadcast has no answer"
    one, two = (simulator.answer(Asked(unit, good), bus=True)[0] for unit in (1, 2))
    assert one[:2] == two[:2] == b"\x04\x04"
    assert one != two
    assert set(KINDS) >= {"timeout", "exception", "late", "wrong-unit"}
