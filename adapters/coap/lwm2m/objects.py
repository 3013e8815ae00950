"""What the objects of LwM2M mean: resources with their type, unit and the name of their point. Light, data only.

Taken from the XML files of the OMA registry (github.com/OpenMobileAlliance/lwm2m-registry), each named beside
its object: identifiers, types and units are theirs. Ours are the short names, the units in UCUM, the kinds, and
three things that the files leave open or have wrong:

* 3303 and 3304 have no unit; ``Cel`` and ``%`` (the files' own examples) hold unless the device sends 5701.
* 10242 writes its energies ``kW/h III``; they are taken as kilowatt-hours of all three phases together.
* 5518, 6042 and 6050 are in later versions of the 33xx objects (seen in 3331 version 1.1).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.point import Kind


class Type(enum.Enum):
    """The data types of LwM2M that a value can be decoded from."""

    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TEXT = "text"
    TIME = "time"
    """Seconds since 1970 UTC, an integer."""


class Resource(NamedTuple):
    """One resource that is read."""

    name: str
    """Of its point; empty if it is none (a device's name, a unit, a time)."""
    type: Type = Type.FLOAT
    unit: str = ""
    kind: Kind = Kind.GAUGE


UNITS: Final = 5701
"""Sensor Units: the unit of the values beside it, as text."""
TIMESTAMP: Final = 5518
"""When the values beside it were measured."""
FRACTION: Final = 6050
"""What to add to :data:`TIMESTAMP`, seconds."""
INDICATOR: Final = 6042
"""Measurement Quality Indicator: 0 unchecked, 1 rejected for certain, 2 probably, 3 suspicious, 4 accepted."""

_BESIDE: Final = {
    UNITS: Resource("", Type.TEXT),
    TIMESTAMP: Resource("", Type.TIME),
    FRACTION: Resource(""),
    INDICATOR: Resource("", Type.INTEGER),
}


def _sensor(name: str, unit: str) -> dict[int, Resource]:
    """The resources that the sensor objects of IPSO share."""
    return {
        5700: Resource(name, unit=unit),
        5601: Resource(f"{name}_min", unit=unit),
        5602: Resource(f"{name}_max", unit=unit),
        **_BESIDE,
    }


def _three_phase() -> dict[int, Resource]:
    """10242.xml. Its phases R, S, T are l1, l2, l3; each has ten resources, in one order."""
    reactive, counter = "kV.A{reactive}", Kind.COUNTER
    each = [
        ("voltage", "V"), ("current", "A"), ("active_power", "kW"), ("reactive_power", reactive),
        ("inductive_power", reactive), ("capacitive_power", reactive), ("apparent_power", "kV.A"),
        ("power_factor", "1"), ("voltage_thd", "%"), ("current_thd", "%"),
    ]  # fmt: skip
    total = [
        ("active_power", "kW"), ("reactive_power", reactive), ("inductive_power", reactive),
        ("capacitive_power", reactive), ("apparent_power", "kV.A"), ("power_factor", "1"), ("cos_phi", "1"),
    ]  # fmt: skip
    energies = [
        ("active_energy", "kW.h"), ("reactive_energy", "kV.A.h{reactive}"), ("inductive_energy", "kV.A.h{reactive}"),
        ("capacitive_energy", "kV.A.h{reactive}"), ("apparent_energy", "kV.A.h"),
    ]  # fmt: skip
    rest = [("voltage_l1_l2", "V"), ("voltage_l2_l3", "V"), ("voltage_l3_l1", "V"), ("frequency", "Hz")]
    found = {at: Resource("", Type.TEXT) for at in range(4)}  # maker, model, serial number, description
    for first, phase in ((4, "l1"), (14, "l2"), (24, "l3")):
        found |= {first + at: Resource(f"{name}_{phase}", unit=unit) for at, (name, unit) in enumerate(each)}
    found |= {34 + at: Resource(f"total_{name}", unit=unit) for at, (name, unit) in enumerate(total)}
    found |= {41 + at: Resource(f"total_{name}", unit=unit, kind=counter) for at, (name, unit) in enumerate(energies)}
    found |= {46 + at: Resource(name, unit=unit) for at, (name, unit) in enumerate(rest)}
    return found | {50: Resource("current_n", unit="A")}


OBJECTS: Final[dict[int, dict[int, Resource]]] = {
    3: {  # 3.xml, version 1.2; 4, 5 and 12 are executed, 13 to 16, 22 are no measurements
        0: Resource("", Type.TEXT),
        1: Resource("", Type.TEXT),
        2: Resource("", Type.TEXT),
        3: Resource("", Type.TEXT),
        6: Resource("power_source", Type.INTEGER),
        7: Resource("supply_voltage", Type.INTEGER, "mV"),
        8: Resource("supply_current", Type.INTEGER, "mA"),
        9: Resource("battery", Type.INTEGER, "%"),
        10: Resource("memory_free", Type.INTEGER, "kBy"),
        11: Resource("error_code", Type.INTEGER),
        20: Resource("battery_status", Type.INTEGER),
        21: Resource("memory_total", Type.INTEGER, "kBy"),
    },
    3303: _sensor("temperature", "Cel"),  # 3303.xml, version 1.0; the ranges 5603 and 5604 never change
    3304: _sensor("humidity", "%"),  # 3304.xml, version 1.0
    3305: {  # 3305.xml, version 1.0; 5806, 5816, 5821 calibrate, 5822 and 5605 are executed
        5800: Resource("power", unit="W"),
        5801: Resource("power_min", unit="W"),
        5802: Resource("power_max", unit="W"),
        5805: Resource("energy", unit="W.h", kind=Kind.COUNTER),
        5810: Resource("reactive_power", unit="V.A{reactive}"),
        5811: Resource("reactive_power_min", unit="V.A{reactive}"),
        5812: Resource("reactive_power_max", unit="V.A{reactive}"),
        5815: Resource("reactive_energy", unit="V.A.h{reactive}", kind=Kind.COUNTER),
        5820: Resource("power_factor", unit="1"),
        **_BESIDE,
    },
    3331: {5700: Resource("consumed_energy", unit="W.h", kind=Kind.COUNTER), **_BESIDE},  # 3331.xml, version 1.0
    10242: _three_phase(),
}
"""The resources of each object, by their identifiers."""

_REUSABLE: Final = {  # of any other object: the types that IPSO gives to these identifiers everywhere
    5700: Resource("value"),
    5601: Resource("value_min"),
    5602: Resource("value_max"),
    5500: Resource("digital", Type.BOOLEAN),
    5501: Resource("count", Type.INTEGER, kind=Kind.COUNTER),
    5600: Resource("analog"),
    5800: Resource("power", unit="W"),
    5805: Resource("energy", unit="W.h", kind=Kind.COUNTER),
    5810: Resource("reactive_power", unit="V.A{reactive}"),
    5815: Resource("reactive_energy", unit="V.A.h{reactive}", kind=Kind.COUNTER),
    5820: Resource("power_factor", unit="1"),
    5850: Resource("on", Type.BOOLEAN),
    5851: Resource("dimmer", Type.INTEGER, "%"),
    5852: Resource("on_time", Type.INTEGER, "s"),
    **_BESIDE,
}

IDENTITY: Final = {0: "maker", 1: "model", 2: "serial", 3: "firmware"}
"""Texts of object 3 that ``status`` shows."""


def resources_of(number: int) -> dict[int, Resource]:
    """The resources of an object; of one that is not in the table those that IPSO reuses, named by the number."""
    known = OBJECTS.get(number)
    if known is not None:
        return known
    return {key: item._replace(name=f"o{number}_{item.name}") if item.name else item for key, item in _REUSABLE.items()}


def known_points() -> Iterator[tuple[int, int, Resource]]:
    """Object, resource and what it is, of all in the table that become points."""
    for number, resources in OBJECTS.items():
        for key, resource in resources.items():
            if resource.name:
                yield number, key, resource
