"""SunSpec: the chain, its models as points, and devices behind a real server."""

from __future__ import annotations

import struct
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.simulator import DataType, SimData, SimDevice

from adapters.modbus.layout import Decoder, Layout
from adapters.modbus.pdu import AnswerError
from adapters.modbus.planner import Limits, plan
from adapters.modbus.sunspec import BASES, MAX_MODELS, Chain, Model, SunSpecError, holds, scan
from adapters.modbus.sunspec_points import definition, map_of
from gateway import quality as q
from gateway.point import Kind
from gateway.quality import Reason, reason_codes
from tests.adapters.modbus.peers import Peer, device, frame, modbus, point
from tests.adapters.modbus.sunspec_images import (
    BATTERY,
    END,
    INVERTER,
    METER,
    STORAGE,
    chain,
    common,
    model,
    points_of,
    shipped,
)
from tests.support.context import RecordingContext, running


class Registers:
    """A device of paper: registers from ``base`` on; all others are refused."""

    def __init__(self, words, base=40000):
        self.words = {base + i: word for i, word in enumerate(words)}
        self.asked = []

    async def __call__(self, address, count):
        self.asked.append((address, count))
        if not all(address + i in self.words for i in range(count)):
            raise AnswerError(Reason.ILLEGAL_DATA_ADDRESS)
        return struct.pack(f">{count}H", *(self.words[address + i] for i in range(count)))


def stub(ident, length):
    return [ident, length, *[0] * length]


@pytest.mark.parametrize("base", BASES)
async def test_the_chain_is_found_wherever_it_begins(base):
    registers = Registers(chain(stub(1, 66), stub(103, 50)), base)
    found = await scan(registers)
    assert found == Chain(base, (Model(1, base + 2, 66), Model(103, base + 70, 50)))
    assert [asked for asked in registers.asked if asked[1] > 2] == [], "ids and lengths only"
    assert await holds(registers, found)


async def test_a_given_base_is_the_only_one_that_is_tried():
    registers = Registers(chain(stub(1, 66)), 0)
    with pytest.raises(SunSpecError) as caught:
        await scan(registers, (40000,))
    assert caught.value.reason == "no-sunspec-map"
    assert registers.asked == [(40000, 2)]


async def test_the_end_may_lack_its_length():
    found = await scan(Registers(chain(stub(1, 66), end=(0xFFFF,))))
    assert [one.id for one in found.models] == [1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([0x5375, 0x6E54, 0xFFFF, 0], "no-sunspec-map"),
        ([], "no-sunspec-map"),
        (chain(stub(1, 66), end=()), "truncated-chain"),
        (chain(stub(1, 66), end=(103,)), "truncated-chain"),
        (chain(stub(1, 66), [103, 50], end=()), "truncated-chain"),
        (chain(end=(0, 0)), "absurd-model"),
        (chain(end=(5, 0)), "absurd-model"),
        (chain(stub(1, 66), end=(103, 0xFFFF)), "absurd-length"),
        (chain(stub(1, 66), end=(103, 25500)), "absurd-length"),
        (chain(*[stub(5, 1)] * (MAX_MODELS + 1)), "endless-chain"),
    ],
)
async def test_a_chain_that_makes_no_sense_is_a_named_error(words, reason):
    with pytest.raises(SunSpecError) as caught:
        await scan(Registers(words))
    assert caught.value.reason == reason


@given(
    st.lists(st.one_of(st.sampled_from([0, 1, 2, 103, 0xFFFF, 0x5375, 0x6E53]), st.integers(0, 0xFFFF)), max_size=60)
)
async def test_any_registers_end_a_scan(words):
    registers = Registers([0x5375, 0x6E53, *words])
    try:
        found = await scan(registers)
    except SunSpecError:
        found = None
    assert len(registers.asked) <= 2 * MAX_MODELS
    assert found is None or await holds(registers, found)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
async def test_a_device_that_repeats_itself_ends_a_scan(ident, length):
    class Endless(Registers):
        async def __call__(self, address, count):
            self.asked.append((address, count))
            return (b"SunS" if address == 40000 else struct.pack(">HH", ident, length))[: 2 * count]

    registers = Endless([])
    try:
        await scan(registers)
    except SunSpecError as error:
        assert error.reason in {"absurd-model", "absurd-length", "endless-chain"}
    assert len(registers.asked) <= MAX_MODELS + 2


async def test_a_device_that_goes_silent_in_the_middle_is_no_wrong_chain():
    class Silent(Registers):
        async def __call__(self, address, count):
            if address > 40060:
                raise AnswerError(Reason.TIMEOUT, silent=True)
            return await super().__call__(address, count)

    with pytest.raises(AnswerError):
        await scan(Silent(chain(stub(1, 66), stub(103, 50))))


async def test_another_chain_does_not_hold():
    known = await scan(Registers(chain(stub(1, 66), stub(103, 50))))
    for other in (
        chain(stub(1, 66), stub(111, 60)),
        chain(stub(1, 66)),
        chain(stub(1, 66), stub(103, 50), stub(120, 26)),
    ):
        assert not await holds(Registers(other), known)
    assert not await holds(Registers(chain(stub(1, 66), stub(103, 50), end=())), known)
    assert not await holds(Registers(chain(stub(1, 66), stub(103, 50)), 0), known)


def decoded(words, base=40000, most=125):
    """By point: number, text or reason; and the reads that it took."""
    import asyncio

    found = asyncio.run(scan(Registers(words, base), (base,)))
    points = map_of(found, most).points
    layouts = [Layout.of(one) for one in points.values()]
    names, values = list(points), {}
    reads = plan([one.span for one in layouts], Limits(most, 0))
    for read in reads:
        decoder, texts = Decoder(layouts, read), []
        value, quality = np.zeros(len(decoder)), np.zeros(len(decoder), np.uint16)
        content = words[read.address - base :][: read.count]
        decoder.decode(
            struct.pack(f">{read.count}H", *content),
            value,
            quality,
            lambda _, text, texts=texts: float(texts.append(text) or len(texts) - 1),
        )
        codes = reason_codes(value)
        for at, i in enumerate(decoder.order):
            number = Reason(int(codes[at])) if codes[at] else float(value[at])
            assert (quality[at] & q.VALIDITY == q.INVALID) == bool(codes[at])
            values[names[i]] = texts[int(number)] if points[names[i]].is_state and not codes[at] else number
    return values, reads


def test_an_inverter():
    values, reads = decoded(chain(common(), model(103, INVERTER)))
    none = Reason.NOT_IMPLEMENTED
    wanted = {
        "manufacturer": "Maker", "model": "X1", "version": "1.2", "serial": "S-1", "options": none, "1.DA": none,
        "current_sum": 12.3, "current_l1": 4.1, "current_l2": none, "current_l3": 4.0, "voltage_l1": 230.1,
        "voltage_l3": 230.3, "voltage_l1_l2": none, "power": -5120.0, "frequency": 50.01, "apparent_power": none,
        "power_factor": 0.985, "energy_yield": 1234567.0, "dc_current": none, "temperature": 41.5, "103.TmpSnk": none,
        "state": "MPPT", "103.StVnd": none, "103.Evt1": 5.0, "103.Evt2": none,
    }  # fmt: skip
    assert {key: values[key] for key in wanted} == wanted
    assert len(reads) == 2, "a gap of two registers between the models may not be bridged here"


def test_a_meter_an_accumulator_of_zero_is_not_there():
    values, _ = decoded(chain(common(), model(203, METER)), 0)
    wanted = {
        "current_sum": 10.0, "voltage_l1": 231.0, "frequency": 50.0, "power": 1500.0, "power_l1": 500.0,
        "power_factor": -0.97, "energy_import": 7654.321, "energy_export": Reason.NOT_IMPLEMENTED,
        "power_l2": Reason.NOT_IMPLEMENTED, "203.Evt": 0.0,
    }  # fmt: skip
    assert {key: values[key] for key in wanted} == wanted


def test_batteries():
    values, _ = decoded(chain(common(), model(802, BATTERY)), 50000)
    assert values["battery_soc"] == 65.5
    assert values["battery_voltage"] == 401.2
    assert values["battery_current"] == -5.5
    assert values["battery_power"] == -2200.0
    assert values["battery_state"] == "CHARGING"
    values, _ = decoded(chain(common(), model(124, STORAGE)))
    assert (values["battery_soc"], values["battery_voltage"], values["battery_state"]) == (51.5, 51.0, "DISCHARGING")
    assert values["124.WChaMax"] == 5000.0


def test_model_701_is_two_reads_and_no_value_is_cut_or_away_from_its_factor():
    found = Chain(40000, (Model(701, 40002, 153),))
    layouts = [Layout.of(one) for one in map_of(found, 125).points.values()]
    reads = plan([one.span for one in layouts], Limits(125, 10))
    assert [(read.address, read.count) for read in reads] == [(40004, 121), (40125, 32)]
    assert sum(len(read.members) for read in reads) == len(layouts)


def test_a_second_meter_begins_its_names_with_its_model():
    meters = (model(203, METER), model(203, {**METER, "W": 77}))
    values, _ = decoded(chain(common(), model(103, INVERTER), *meters))
    assert (values["power"], values["203.power"], values["203-2.power"]) == (-5120.0, 1500.0, 77.0)
    assert values["203-2.energy_import"] == 7654.321
    assert "energy_import" not in values, "the names of one model are all of one kind"


def test_unknown_models_are_skipped_and_short_ones_are_cut():
    found = Chain(0, (Model(1, 2, 66), Model(64999, 70, 10), Model(103, 82, 20)))
    points = map_of(found, 125)
    assert points.unknown == [64999]
    assert "reactive_power" in points.points
    assert "power_factor" not in points.points, "its factor lies behind the end of the model"
    assert "state" not in points.points


def test_repeated_groups_have_numbers():
    found = Chain(0, (Model(160, 2, 8 + 3 * 20),))
    points = map_of(found, 125).points
    assert [points[f"pv{i}_power"].at for i in (1, 2, 3)] == ["holding:23", "holding:43", "holding:63"]
    assert points["160.module2.DCSt"].kind is Kind.STATE
    assert "pv4_power" not in points
    assert map_of(found, 50).too_wide == ["pv3_current", "pv3_voltage", "pv3_power", "pv3_energy"]


def test_every_definition_can_be_used():
    folder = files("sunspec2") / "models" / "json"
    idents = sorted(int(one.name[6:-5]) for one in folder.iterdir() if one.name.startswith("model_"))
    assert len(idents) > 100
    for ident in idents:
        known = definition(ident)
        assert known.id == ident
        found = map_of(Chain(40000, (Model(ident, 40002, (known.group.size or 400) - 2),)), 125)
        assert not found.unknown
        for one in found.points.values():
            assert Layout.of(one).span.width <= 125
    assert definition(64999) is None


@pytest.mark.parametrize("name", ["inverter_123.json", "device_1547.json"])
def test_shipped_devices_read_as_pysunspec2_reads_them(name):
    words, models = shipped(name)
    values, _ = decoded(words)
    compared = 0
    for one in models:
        names = map_of(Chain(0, (Model(one.model_id, 2, len(one.get_mb()) // 2 - 2),)), 125).points
        ours = {key: int(point.at.split(":")[1]) - 2 for key, point in names.items()}
        theirs = {at.offset: at for at in points_of(one)}
        for key, offset in ours.items():
            if offset not in theirs or theirs[offset].pdef["type"].startswith("enum"):
                continue
            value = theirs[offset].cvalue
            full = key if key in values else f"{one.model_id}.{key}"
            if theirs[offset].pdef["type"].startswith("acc") and value == 0:
                value = None
            wanted = Reason.NOT_IMPLEMENTED if value in {None, ""} else value
            assert values[full] == (wanted if isinstance(wanted, str | Reason) else pytest.approx(wanted)), full
            compared += 1
    assert compared > 20


def server(words, base=40000, unit=1):
    block = SimData(base, values=list(words), datatype=DataType.REGISTERS)
    return SimDevice(unit, simdata=[block])


def last(ctx, name):
    _, value, quality = ctx.samples(name)[-1]
    code = int(reason_codes(np.array([value]))[0])
    return Reason(code) if code else value, quality


async def test_a_device_is_discovered_and_read(tcp_server):
    url = await tcp_server([server(chain(common(), model(103, INVERTER), model(203, METER)))])
    own = {"word": point("holding:40002")}
    config = modbus(url, {"inv": device(profile="sunspec", points=own, only=["power", "203.power", "state", "serial"])})
    ctx = RecordingContext()
    async with running(config.create(), ctx):
        await ctx.until(lambda: ctx.points.find("inv/serial") is not None and len(ctx.samples("inv/serial")) >= 1)
        await ctx.until(lambda: len(ctx.samples("inv/power")) >= 2)
    assert last(ctx, "inv/power") == (-5120.0, 0)
    assert last(ctx, "inv/203.power") == (1500.0, 0)
    assert last(ctx, "inv/word") == (1.0, 0)
    assert ctx.points.states(ctx.points.find("inv/state")) == ["MPPT"]
    assert ctx.points.point(ctx.points.find("inv/state")).kind is Kind.STATE
    assert ctx.points.find("inv/frequency") is None, "only what is wanted"
    assert len(ctx.samples("inv/serial")) == 1, "what never changes is read once an hour"
    assert "sunspec/inv" in ctx.memory


async def test_a_restart_needs_no_scan_and_a_changed_map_is_found_anew(tcp_server):
    url = await tcp_server([server(chain(common(), model(103, INVERTER)))])
    config = modbus(url, {"inv": device(profile="sunspec")})
    first = RecordingContext()
    async with running(config.create(), first):
        await first.until(lambda: first.points.find("inv/power") is not None)
    again = RecordingContext()
    again.memory = dict(first.memory)
    async with running(config.create(), again):
        assert again.points.find("inv/power") is None
        await again.until(lambda: len(again.frames) >= 1)
        assert again.points.find("inv/power") is not None, "polled at once, with what is remembered"
        await again.until(lambda: again.stats.messages >= 8)
    assert not again.stats.reasons
    other_url = await tcp_server([server(chain(common(), model(203, METER), model(103, INVERTER)))])
    changed = RecordingContext()
    changed.memory = {key: value.replace(url.encode(), other_url.encode()) for key, value in first.memory.items()}
    async with running(modbus(other_url, {"inv": device(profile="sunspec")}).create(), changed):
        await changed.until(lambda: changed.points.find("inv/103.power") is not None)
        await changed.until(lambda: len(changed.samples("inv/103.power")) >= 1)
    assert last(changed, "inv/power") == (1500.0, 0)
    assert last(changed, "inv/103.power") == (-5120.0, 0)
    assert changed.memory["sunspec/inv"] != again.memory["sunspec/inv"]


async def test_what_is_remembered_of_another_configuration_or_version_does_not_count(tcp_server):
    url = await tcp_server([server(chain(common(), model(103, INVERTER)))])
    for kept in (b"junk", b'{"config":"tcp://elsewhere 1 None","chain":{"base":0,"models":[[203,2,105]]}}'):
        ctx = RecordingContext()
        ctx.memory["sunspec/inv"] = kept
        async with running(modbus(url, {"inv": device(profile="sunspec")}).create(), ctx):
            await ctx.until(lambda ctx=ctx: ctx.points.find("inv/power") is not None)
        assert ctx.points.find("inv/203.Evt") is None


async def test_a_device_without_a_map_says_so_and_costs_the_others_nothing(tcp_server):
    url = await tcp_server([server([0] * 200), server(range(300), unit=2)])
    devices = {"inv": device(profile="sunspec"), "m": device(2, points={"a": point("holding:40005")})}
    ctx = RecordingContext()
    async with running(modbus(url, devices).create(), ctx):
        await ctx.until(lambda: ctx.stats.reasons["no-sunspec-map"] >= 1 and len(ctx.samples("m/a")) >= 3)
    assert {value for _, value, _ in ctx.samples("m/a")} == {5.0}
    down = [detail for name, up, detail in ctx.links if name == "inv" and not up]
    assert "no-sunspec-map: 40000: 00000000" in down[0]


def registers_of(words, base=40000):
    """A scripted peer's answers out of a block of registers, everything else refused."""

    def answer(transaction, unit, pdu):
        function, address, count = struct.unpack(">BHH", pdu)
        content = words[address - base : address - base + count] if address >= base else []
        if len(content) < count:
            return [frame(transaction, unit, bytes([function | 0x80, 2]))]
        return [frame(transaction, unit, struct.pack(f">BB{count}H", function, 2 * count, *content))]

    return answer


async def test_a_device_that_sleeps_at_first_is_found_later():
    answer = registers_of(chain(common(), model(103, INVERTER)))
    asleep = 3

    def script(transaction, unit, pdu):
        nonlocal asleep
        if unit == 1 and asleep:
            asleep -= 1
            return []
        return answer(transaction, unit, pdu)

    async with Peer(script) as peer:
        devices = {
            "inv": device(profile="sunspec", only=["power"]),
            "m": device(2, points={"a": point("holding:40002")}),
        }
        ctx = RecordingContext()
        async with running(modbus(peer.url, devices, timeout=0.05).create(), ctx):
            await ctx.until(lambda: ctx.points.find("inv/power") is not None and len(ctx.samples("inv/power")) >= 1)
    assert last(ctx, "inv/power") == (-5120.0, 0)
    assert {value for _, value, _ in ctx.samples("m/a")} == {1.0}


async def test_a_scale_factor_that_changes_changes_the_value_in_the_same_cycle():
    words = chain(common(), model(103, INVERTER))
    at = words.index(103) + 14
    assert words[at] == 0x10000 - 512
    seen = 0

    def script(transaction, unit, pdu):
        nonlocal seen
        answer = registers_of(words)(transaction, unit, pdu)
        seen += 1
        words[at], words[at + 1] = (512, 0) if seen % 2 else (5120, 0xFFFF)
        return answer

    async with Peer(script) as peer:
        config = modbus(peer.url, {"inv": device(profile="sunspec", only=["power"], every=0.01)})
        ctx = RecordingContext()
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.points.find("inv/power") is not None and len(ctx.samples("inv/power")) >= 10)
    assert {value for _, value, _ in ctx.samples("inv/power")} <= {-5120.0, 512.0}


async def test_a_link_that_goes_before_anything_is_known_is_a_link_error():
    from gateway.errors import LinkError

    async with Peer(lambda *_: [None]) as peer:
        ctx = RecordingContext()
        with pytest.raises(LinkError):
            await modbus(peer.url, {"inv": device(profile="sunspec")}).create().run(ctx)
    assert ctx.frames == []


def test_the_end_mark_is_what_it_is():
    assert END[0] == 0xFFFF


async def test_a_glob_that_fits_nothing_is_told(tcp_server, caplog):
    url = await tcp_server([server(chain(common(), model(103, INVERTER)))])
    ctx = RecordingContext()
    async with running(modbus(url, {"inv": device(profile="sunspec", only=["power", "powr"])}).create(), ctx):
        await ctx.until(lambda: ctx.points.find("inv/power") is not None)
    assert "inv: has no point 'powr'" in caplog.text


async def test_a_shipped_device_behind_a_server(tcp_server):
    words, models = shipped("device_1547.json")
    url = await tcp_server([server(words)])
    ctx = RecordingContext()
    async with running(modbus(url, {"der": device(profile="sunspec")}).create(), ctx):
        await ctx.until(lambda: ctx.points.find("der/power") is not None and len(ctx.samples("der/power")) >= 2)
        await ctx.until(lambda: ctx.samples("der/serial"))
    assert last(ctx, "der/power") == (9800.0, 0)
    assert last(ctx, "der/frequency") == (60.01, 0)
    assert last(ctx, "der/energy_export") == (150000.0, 0)
    assert ctx.points.states(ctx.points.find("der/serial")) == ["sn-123456789"]
    assert not ctx.stats.reasons, "nothing was refused: no read left the chain"
    found = {int(name.partition("/")[2].split(".")[0]) for name in names(ctx) if name[4].isdecimal()}
    assert found >= {one.model_id for one in models} - {1, 713}


def names(ctx):
    return [ctx.points.point(i).name for i in range(len(ctx.points))]
