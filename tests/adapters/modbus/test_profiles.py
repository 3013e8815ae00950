"""Profiles: sound, in the same words, and each value what the device's registers say."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest

from adapters.modbus.layout import Decoder, Layout
from adapters.modbus.place import ValueType, parse_at
from adapters.modbus.planner import Limits, plan
from adapters.modbus.profile import Sign, available, load, resolve
from gateway import quality as q
from gateway.errors import FieldError
from gateway.point import Kind
from gateway.quality import Reason, reason_codes
from tests.adapters.modbus.peers import device, modbus, point

PROFILES = available("")
EVERY = pytest.mark.parametrize("name", PROFILES)
URL = "tcp://10.0.0.5"
_L = "(?:_l[123])?"
_LL = "(?:_l[123]|_l1_l2|_l2_l3|_l3_l1|_ll)?"
WORDS = re.compile(
    "|".join(
        [
            f"(?:grid_)?(?:voltage|voltage_thd){_LL}",
            f"(?:grid_)?(?:power|apparent_power|reactive_power|power_factor|phase_angle|current|current_thd){_L}",
            "current_sum|current_n|frequency|grid_frequency|temperature|efficiency|charge|load_power|power_rated",
            f"(?:power|apparent_power|power_import|power_export|current{_L}|current_n)_demand(?:_max)?",
            f"(?:grid_)?(?:reactive_|apparent_)?energy(?:_(?:import|export|total))?{_L}(?:_t[1-4]|_today)?",
            "energy_yield(?:_today)?",
            "pv_power|pv_energy(?:_today)?|pv[1-9]_(?:voltage|current|power)",
            "battery_(?:voltage|current|power|soc|soh|temperature|state|charging|discharging)",
            "battery_energy_(?:charge|discharge)(?:_today)?",
            "state|model|serial|grid_relay|grid_feeding|grid_taking",
        ]
    )
)
UNITS = {
    "voltage": {"V"},
    "current": {"A"},
    "power": {"W"},
    "apparent_power": {"V.A"},
    "reactive_power": {"V.A{reactive}"},
    "power_factor": {"1"},
    "frequency": {"Hz"},
    "energy": {"kW.h", "W.h"},
    "reactive_energy": {"kV.A.h{reactive}", "V.A.h{reactive}"},
    "apparent_energy": {"kV.A.h", "V.A.h"},
}
OTHER_UNITS = {"%", "1", "deg", "Cel", "A.h", ""}


def quantity(name):
    """What a name says is measured, or None."""
    for word in ("reactive_energy", "apparent_energy", "energy", "power_factor", "reactive_power", "apparent_power"):
        if word in name:
            return word
    if re.search("thd|state|phase", name):
        return None
    return next((word for word in ("voltage", "current", "power", "frequency") if word in name), None)


def test_all_that_were_promised_are_there():
    assert PROFILES.keys() >= {
        "eastron-sdm630", "eastron-sdm120", "eastron-sdm72", "schneider-iem3000", "schneider-pm5xxx", "chint-dtsu666",
        "acrel-adl3000", "acrel-acr10r", "huawei-sun2000", "sungrow-hybrid", "sungrow-string", "sma",
    }  # fmt: skip


@EVERY
def test_a_profile_says_what_it_must(name):
    profile = load(PROFILES[name])
    assert profile.sign in set(Sign)
    assert len(profile.source) > 40
    for key, one in profile.points.items():
        assert WORDS.fullmatch(key), key
        state = one.kind is Kind.STATE
        assert state == bool(one.type is ValueType.STRING or one.texts or one.field), key
        assert one.unit in (UNITS[quantity(key)] if quantity(key) else OTHER_UNITS), key
        assert state or one.resolution, key
        assert state or (one.kind is Kind.COUNTER) == ("energy" in key or key == "charge"), key
        assert one.limits or one.kind is not Kind.GAUGE, key
        assert set(one.times) <= profile.params.keys(), key


@EVERY
def test_no_two_values_share_a_register(name):
    taken = {}
    for key, one in load(PROFILES[name]).points.items():
        table, address = parse_at(one.at)
        for register in range(address, address + one.width):
            assert taken.setdefault((table, register), key) == key or one.field is not None


def words(kind, *values):
    data = values[0].ljust(30, b"\0") if kind == "s" else struct.pack(f">{len(values)}{kind}", *values)
    return struct.unpack(f">{len(data) // 2}H", data)


def image(*blocks):
    """Registers by address: of (address, format, values)."""
    return {address + i: word for address, kind, *values in blocks for i, word in enumerate(words(kind, *values))}


def decoded(points, registers, limits):
    """(number or reason, quality) of each point; registers without a value read as zero."""
    names = list(points)
    layouts = [Layout.of(points[name]) for name in names]
    found, texts = {}, []
    for read in plan([one.span for one in layouts], limits):
        assert read.count <= limits.max_registers
        decoder = Decoder(layouts, read)
        value, quality = np.zeros(len(decoder)), np.zeros(len(decoder), np.uint16)
        data = struct.pack(f">{read.count}H", *(registers.get(read.address + i, 0) for i in range(read.count)))
        decoder.decode(data, value, quality, lambda _, text: float(texts.append(text) or len(texts) - 1))
        codes = reason_codes(value)
        for at, i in enumerate(decoder.order):
            number = Reason(int(codes[at])) if codes[at] else float(value[at])
            found[names[i]] = number, int(quality[at])
    return found, texts


def read(name, registers, **options):
    """What a device with these registers gives, as numbers, texts or reasons."""
    config = modbus(URL, {"m": device(profile=name, **options)})
    resolved = resolve(config, "m")
    found, texts = decoded(resolved.points, registers, Limits(resolved.max_registers, resolved.max_gap))
    shown = {}
    for key, (number, quality) in found.items():
        assert (quality == q.INVALID) == isinstance(number, Reason)
        told = resolved.points[key].is_state and not isinstance(number, Reason)
        shown[key] = texts[int(number)] if told else number
    return shown


EASTRON = image(
    (0x00, "f", 230.5, 231.5, 232.5, 1.5, 2.5, 3.5, 345.75, 578.75, 813.75),
    (0x1E, "f", 0.5, -0.5, 1.0),
    (0x34, "f", 1738.25),
    (0x38, "f", 1800.5),
    (0x3C, "f", -470.25),
    (0x3E, "f", 0.965),
    (0x46, "f", 49.98, 1234.5, 67.25),
    (0x156, "f", 1301.75),
)
THREE_PHASE = {
    "voltage_l1": 230.5, "voltage_l2": 231.5, "voltage_l3": 232.5, "current_l1": 1.5, "current_l3": 3.5,
    "power_l1": 345.75, "power_l3": 813.75, "power_factor_l2": -0.5, "power": 1738.25, "apparent_power": 1800.5,
    "reactive_power": -470.25, "power_factor": 0.965, "frequency": 49.98, "energy_import": 1234.5,
    "energy_export": 67.25, "energy_total": 1301.75,
}  # fmt: skip
ADL = image(
    (0, "I", 123456),
    (2, "I", 1, 2, 3, 4),
    (10, "I", 100000),
    (20, "I", 23456),
    (97, "H", 2301, 2302, 2303, 123, 124, 125),
    (103, "h", 500, -600, 700, 600),
    (111, "H", 600, 610, 710, 1920),
    (115, "h", 833, -983, 985, 312),
    (119, "H", 5001),
)
IMAGES = {
    "eastron-sdm630": (EASTRON, {}, THREE_PHASE),
    "eastron-sdm72": (EASTRON, {}, THREE_PHASE),
    "eastron-sdm120": (
        image((0, "f", 229.5), (6, "f", 4.25), (12, "f", -975.375), (70, "f", 50.02, 10.5, 20.25), (0x156, "f", 30.75)),
        {},
        {"voltage": 229.5, "current": 4.25, "power": -975.375, "frequency": 50.02, "energy_import": 10.5,
         "energy_export": 20.25, "energy_total": 30.75},
    ),
    "schneider-iem3000": (
        image(
            (0x5000, "f", 231, 230, 231, 232, 50.01, 2, 1.5, 2, 2.5, 1.25, 0.5, 0.25, 0.5),
            (0x501A, "f", -0.125),
            (0x502A, "f", 0.9),
            (0x6000, "f", 1000.5),
            (0x600C, "f", 900.25),
            (0x6018, "f", 100.25),
        ),
        {},
        {"voltage": 231, "voltage_l1": 230, "voltage_l3": 232, "frequency": 50.01, "current_l2": 2, "power": 1250,
         "power_l1": 500, "power_l3": 500, "reactive_power": -125, "power_factor": 0.9, "energy_total": 1000.5,
         "energy_import": 900.25, "energy_export": 100.25},
    ),
    "schneider-pm5xxx": (
        image(
            (2999, "f", 10.5, 11.5, 12.5),
            (3019, "f", 400, 401, 402),
            (3027, "f", 230, 231, 232),
            (3053, "f", 1.5, 2.5, 3.5, 7.5),
            (3067, "f", -0.5),
            (3075, "f", 8.25),
            (3109, "f", 59.99),
            (3203, "q", 123456789, 987),
            (3219, "q", -0x8000000000000000),
        ),
        {},
        {"current_l1": 10.5, "current_l3": 12.5, "voltage_l1_l2": 400, "voltage_l3_l1": 402, "voltage_l2": 231,
         "power_l2": 2500, "power": 7500, "reactive_power": -500, "apparent_power": 8250, "frequency": 59.99,
         "energy_import": 123456789, "energy_export": 987, "reactive_energy_import": Reason.NOT_IMPLEMENTED},
    ),
    "chint-dtsu666": (
        image(
            (0x101E, "f", 321.5),
            (0x1028, "f", 12.25),
            (0x2000, "f", 2301, 2302, 2303),
            (0x200C, "f", 5000, 6000, 7000, 12345, 4000, 4100, 4245),
            (0x201A, "f", -250),
            (0x202A, "f", 990),
            (0x2044, "f", 5003),
        ),
        {},
        {"energy_import": 321.5, "energy_export": 12.25, "voltage_l1": 230.1, "voltage_l3": 230.3, "current_l1": 5,
         "current_l3": 7, "power": 1234.5, "power_l1": 400, "power_l3": 424.5, "reactive_power": -25,
         "power_factor": 0.99, "frequency": 50.03},
    ),
    "acrel-adl3000": (
        ADL,
        {"params": {"ct": 40.0}},
        {"energy_total": 49382.4, "energy_import": 40000, "energy_export": 9382.4, "energy_total_t4": 1.6,
         "voltage_l1": 230.1, "current_l1": 49.2, "power_l2": -24000, "power": 24000, "apparent_power": 76800,
         "power_factor_l2": -0.983, "power_factor": 0.312, "frequency": 50.01},
    ),
    # A recorded answer to 05 03 00 F3 00 26.
    "acrel-acr10r": (
        image(
            (243, "H", 0x095D, 0x093F, 0x090E, 0x101D, 0x0FD9, 0x0FF3, 0x000C, 0x0013, 0x0009, 0x1388),
            (253, "i", 0x86, 0xFF, 0x1C, 0x1A2, -255, -321, -224, -803, 0x12B, 0x1D0, 0xE2, 0x3DB),
            (277, "h", 0x01C9, 0x0229, 0x0082, 0x01A9),
        ),
        {},
        {"voltage_l1": 239.7, "voltage_l3": 231.8, "voltage_l1_l2": 412.5, "current_l1": 1.2, "frequency": 50,
         "power_l1": 134, "power": 418, "reactive_power": -803, "apparent_power": 987, "power_factor": 0.425},
    ),
    "huawei-sun2000": (
        image(
            (30000, "s", b"SUN2000-8KTL"),
            (32016, "h", 6123, 812, 0x7FFF),
            (32064, "i", 5012),
            (32066, "H", 4001, 4002, 4003, 2311, 2312, 2313),
            (32072, "i", 7123, 7124, -7125),
            (32080, "i", 4900, -150),
            (32084, "h", 995),
            (32085, "H", 5002, 9812),
            (32087, "h", -45),
            (32089, "H", 0x0200),
            (32106, "I", 1234567),
            (32114, "I", 1520),
            (37113, "i", -350),
            (37119, "i", 500000, 400000),
            (37760, "H", 875, 0, 2, 4200),
            (37764, "h", -55),
            (37765, "i", -2300),
            (37780, "I", 0, 0xFFFFFFFF),
        ),
        {},
        {"model": "SUN2000-8KTL", "serial": Reason.NOT_IMPLEMENTED, "pv1_voltage": 612.3, "pv1_current": 8.12,
         "pv2_voltage": Reason.NOT_IMPLEMENTED, "pv_power": 5012, "voltage_l1_l2": 400.1, "voltage_l3": 231.3,
         "current_l1": 7.123, "current_l3": -7.125, "power": 4900, "reactive_power": -150, "power_factor": 0.995,
         "frequency": 50.02, "efficiency": 98.12, "temperature": -4.5, "state": "on-grid", "energy_yield": 12345.67,
         "energy_yield_today": 15.2, "grid_power": -350, "grid_energy_export": 5000, "grid_energy_import": 4000,
         "battery_soc": 87.5, "battery_state": "running", "battery_voltage": 420, "battery_current": -5.5,
         "battery_power": -2300, "battery_energy_charge": Reason.NOT_IMPLEMENTED,
         "battery_energy_discharge": Reason.NOT_IMPLEMENTED},
    ),
    "sungrow-hybrid": (
        image(
            (5000, "H", 100),
            (5002, "H", 123, 0xE240, 0x0001),
            (5007, "h", 385),
            (5010, "H", 4501, 55, 0xFFFF),
            (5016, "H", 5000, 0),
            (5018, "H", 2301),
            (5035, "H", 500),
            (13000, "H", 0b100010),
            (13007, "H", 1500, 0),
            (13009, "H", 0xFC18, 0xFFFF),
            (13019, "H", 2105, 52, 1100, 755, 990),
            (13033, "H", 0x1388, 0),
            (13036, "H", 0, 0),
            (13045, "H", 5, 1),
        ),
        {},
        {"power_rated": 10000, "energy_yield_today": 12.3, "energy_yield": 12345.6, "temperature": 38.5,
         "pv1_voltage": 450.1, "pv1_current": 5.5, "pv2_voltage": Reason.NOT_IMPLEMENTED, "pv_power": 5000,
         "voltage_l1": 230.1, "frequency": 50, "battery_charging": 1, "battery_discharging": 0, "grid_feeding": 0,
         "grid_taking": 1, "load_power": 1500, "grid_power": -1000, "battery_voltage": 210.5, "battery_current": 5.2,
         "battery_power": 1100, "battery_soc": 75.5, "battery_soh": 99, "power": 5000,
         "grid_energy_import": Reason.NOT_IMPLEMENTED, "grid_energy_export": 6554.1},
    ),
    "sungrow-string": (
        image(
            (4989, "s", b"A2350415770"),
            (5021, "H", 101, 102, 0xFFF6),
            (5030, "H", 0xE240, 0x0001),
            (5037, "H", 0x1400),
            (5143, "H", 0xE240, 0x0001),
        ),
        {},
        {"serial": "A2350415770", "current_l1": 10.1, "current_l3": -1, "power": 123456, "state": "standby",
         "energy_yield": 12345.6},
    ),
    "sma": (
        image(
            (30057, "I", 3001234567),
            (30201, "I", 307),
            (30217, "I", 0x00FFFFFD),
            (30513, "Q", 123456789012),
            (30517, "Q", 0xFFFFFFFFFFFFFFFF),
            (30769, "i", 7123, 61234, -0x80000000, 4321, 1440, 1441, 1440),
            (30783, "I", 23012, 23112, 0xFFFFFFFF),
            (30803, "I", 5001),
            (30953, "i", -105),
            (30977, "i", 6123),
        ),
        {},
        {"serial": 3001234567, "state": "ok", "grid_relay": Reason.NOT_IMPLEMENTED, "energy_yield": 123456789012,
         "energy_yield_today": Reason.NOT_IMPLEMENTED, "pv1_current": 7.123, "pv1_voltage": 612.34,
         "pv1_power": Reason.NOT_IMPLEMENTED, "power": 4321, "power_l2": 1441, "voltage_l1": 230.12,
         "voltage_l3": Reason.NOT_IMPLEMENTED, "frequency": 50.01, "temperature": -10.5, "current_l1": 6.123},
    ),
}  # fmt: skip


@EVERY
def test_values_of_a_register_image_are_what_they_should_be(name):
    registers, options, wanted = IMAGES[name]
    found = read(name, registers, **options)
    for key, value in wanted.items():
        assert found[key] == (value if isinstance(value, str | Reason) else pytest.approx(value, rel=1e-6)), key


@EVERY
def test_every_value_that_stands_for_none_gives_none(name):
    config = modbus(URL, {"m": device(profile=name)})
    points = {key: one for key, one in resolve(config, "m").points.items() if one.invalid}
    for which in range(2):
        registers = {}
        for one in points.values():
            pattern = one.invalid[min(which, len(one.invalid) - 1)]
            content = pattern.to_bytes(one.type.size, "big")
            layout, start = Layout.of(one), parse_at(one.at)[1]
            for byte, i in zip(content, layout.byte_indices(start), strict=True):
                address, high = start + i // 2, i % 2 == 0
                registers[address] = registers.get(address, 0) | byte << (8 if high else 0)
        found, _ = decoded(points, registers, Limits())
        assert set(found.values()) <= {(Reason.NOT_IMPLEMENTED, q.INVALID)}


@EVERY
def test_lifetime_counters_of_nothing_are_not_passed_on(name):
    points = load(PROFILES[name]).points
    found, _ = decoded({key: one for key, one in points.items() if one.never_zero}, {}, Limits())
    assert set(found.values()) <= {(Reason.NOT_IMPLEMENTED, q.INVALID)}


def bad(config, *field):
    with pytest.raises(FieldError) as caught:
        config()
    assert caught.value.field == ("devices", "m", *field)
    return str(caught.value)


def test_ratios_multiply_values_limits_and_steps():
    config = modbus(URL, {"m": device(profile="acrel-adl3000", params={"ct": 40.0, "pt": 100.0})})
    points = resolve(config, "m").points
    assert points["energy_total"].scale == pytest.approx(40)
    assert (points["current_l1"].limits, points["current_l1"].resolution) == ((0, 4000), 0.4)
    assert points["voltage_l1"].scale == pytest.approx(10)
    assert points["frequency"].scale == 0.01
    assert all(not one.times for one in points.values())


def test_params_must_fit(tmp_path):
    message = bad(lambda: modbus(URL, {"m": device(profile="acrel-adl3000", params={"ctt": 4.0})}), "params", "ctt")
    assert 'did you mean "ct"' in message
    text = "title: T\nsource: S\nparams: {ct: null}\npoints: {a: {at: 'input:1', times: [ct]}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    folder = str(tmp_path)
    message = bad(lambda: modbus(URL, {"m": device(profile="mine")}, profiles=folder), "profile")
    assert "ct: ..." in message
    given = modbus(URL, {"m": device(profile="mine", params={"ct": 3.0})}, profiles=folder)
    assert resolve(given, "m").points["a"].scale == 3.0
    own = {"a": point("input:1", times=["x"])}
    bad(lambda: modbus(URL, {"m": device(points=own)}), "points", "a", "times", 0)
    assert resolve(modbus(URL, {"m": device(points=own, params={"x": 2.0})}), "m").points["a"].scale == 2.0


def test_a_factor_too_far_away_is_refused():
    from adapters.modbus.scaling import ScaleFrom

    far = {"a": point("input:1", scale_from=[ScaleFrom(at="input:200")])}
    assert "scale factors take 200 registers" in bad(
        lambda: modbus(URL, {"m": device(points=far)}), "points", "a", "at"
    )


def test_base_is_for_sunspec():
    with pytest.raises(FieldError, match="sunspec"):
        device(profile="sma", base=40000)
    assert resolve(modbus(URL, {"m": device(profile="sunspec", base=0)}), "m").points == {}
