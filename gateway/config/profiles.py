"""What profiles add to a configuration: points that stand in no file of the user's."""

from __future__ import annotations

import msgspec


def points_of_profile(options: msgspec.Struct) -> dict[tuple[str, str, str], tuple[str, msgspec.Struct]]:
    """(device, "points", point) to the profile's name and the point's options, for an adapter that knows profiles."""
    from adapters.modbus.config import SUNSPEC, ModbusConfig, ModbusPoint
    from adapters.modbus.profile import resolve

    if not isinstance(options, ModbusConfig):
        return {}
    return {
        (name, "points", point): (device.profile, _as(ModbusPoint, found))
        for name, device in options.devices.items()
        if device.profile not in {"", SUNSPEC}
        for point, found in resolve(options, name).points.items()
        if point not in device.points
    }


def _as(cls: type[msgspec.Struct], value: msgspec.Struct) -> msgspec.Struct:
    """The same without what only profiles know."""
    return cls(**{field: getattr(value, field) for field in cls.__struct_fields__})
