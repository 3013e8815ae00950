"""Profiles: a device type's register map as data, and how they join with what the user wrote."""

from __future__ import annotations

import enum
import math
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from adapters.modbus.config import MAX_REGISTERS, SUNSPEC, ModbusConfig, ModbusDevice, ModbusPoint
from adapters.modbus.place import parse_at
from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import decode_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHIPPED = Path(__file__).with_name("profiles")


class Sign(enum.StrEnum):
    """What a positive power, current or power factor means."""

    LOAD = "load"
    """The device takes it: a meter's import, a battery that is charged."""
    GENERATOR = "generator"
    """The device gives it: an inverter's output, a battery that is discharged."""


class ProfilePoint(ModbusPoint, frozen=True, kw_only=True):
    """A point of a profile."""

    sign: Sign | None = None
    """What a positive value means, where that is not what the profile says."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device type, as a file ``NAME.yaml`` describes it."""

    title: str
    """Maker and type."""
    source: str
    """Where the map comes from, so that it can be checked."""
    sign: Sign | None = None
    """What a positive power means, for all points that do not say it themselves."""
    params: dict[Name, float | None] = {}
    """What the map needs to know of an installation, such as a transformer's ratio, with its default;
    null if there is none and a device must say it."""
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=MAX_REGISTERS)] = MAX_REGISTERS
    """Registers a read of this type may ask for."""
    max_gap: Annotated[int, msgspec.Meta(ge=0, le=MAX_REGISTERS)] = MAX_REGISTERS
    """Registers a read of this type may bridge."""
    points: Annotated[dict[Name, ProfilePoint], msgspec.Meta(min_length=1)]
    """Points by name."""


class Resolved(msgspec.Struct, frozen=True):
    """A device with its profile worked in."""

    points: Mapping[str, ModbusPoint]
    max_registers: int
    max_gap: int


@lru_cache(maxsize=256)
def _load(path: Path, _version: tuple[int, int]) -> Profile:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open("rb") as file:
        data = yaml.load(file, loader)  # noqa: S506  # one of the two safe loaders, the fast one if there
    return msgspec.convert(data, Profile, dec_hook=decode_quantity)


def load(path: Path) -> Profile:
    """The profile in a file.

    Raises:
        ValueError: naming the file, if it is not a profile.
        OSError: if it cannot be read.
    """
    import yaml

    status = path.stat()
    try:
        return _load(path, (status.st_mtime_ns, status.st_size))
    except (msgspec.ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def available(folder: str) -> dict[str, Path]:
    """Profiles by name: those shipped, and those of the user's folder, which come first."""
    found = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    if folder:
        found |= {path.stem: path for path in sorted(Path(folder).glob("*.yaml"))}
    return found


def resolve(config: ModbusConfig, name: str) -> Resolved:
    """The points and limits of a device; of a ``sunspec`` device only the points that the user wrote.

    Raises:
        FieldError: with the path of what is wrong, from the adapter's options down.
    """
    device = config.devices[name]
    profile = _profile_of(config, name)
    params = _params(profile, device, name)
    result = Resolved(points=_points(profile, device, name, params), **limits_of(config, name, profile))
    for key, point in result.points.items():
        width = span_of(point)[1]
        if width > result.max_registers and not parse_at(point.at)[0].is_bits:
            where = ("points", key, "at") if key in device.points else ("profile",)
            what = f"{key} and its scale factors take" if point.scale_from else f"{key} takes"
            message = f"{what} {width} registers, but a read may have only {result.max_registers}"
            raise FieldError(("devices", name, *where), message)
    return result


def limits_of(config: ModbusConfig, name: str, profile: Profile | None = None) -> dict[str, int]:
    """``max_registers`` and ``max_gap`` of a device."""
    device = config.devices[name]
    least = min(config.max_registers, profile.max_registers if profile else MAX_REGISTERS)
    gap = min(config.max_gap, profile.max_gap if profile else MAX_REGISTERS)
    return {
        "max_registers": device.max_registers or least,
        "max_gap": gap if device.max_gap is None else device.max_gap,
    }


def span_of(point: ModbusPoint) -> tuple[int, int]:
    """First address and number of addresses that one request must fetch for a point and its factors."""
    parts = [(parse_at(point.at)[1], point.width)]
    parts += [(parse_at(one.at)[1], one.type.size // 2) for one in point.scale_from]
    start = min(address for address, _ in parts)
    return start, max(address + width for address, width in parts) - start


def _points(
    profile: Profile | None, device: ModbusDevice, name: str, params: Mapping[str, float]
) -> dict[str, ModbusPoint]:
    points: dict[str, ModbusPoint] = {}
    for key, point in {**_selected(profile, device, name), **device.points}.items():
        for i, wanted in enumerate(point.times):
            if wanted not in params:
                where = ("points", key, "times", i) if key in device.points else ("profile",)
                raise FieldError(("devices", name, *where), f"{key} needs a param {wanted!r}{_hint(wanted, params)}")
        points[key] = _multiplied(point, math.prod(params[wanted] for wanted in point.times))
    return points


def _multiplied(point: ModbusPoint, ratio: float) -> ModbusPoint:
    """A point that counts a transformer's ratio in."""
    if not point.times:
        return point
    return msgspec.structs.replace(
        point,
        times=[],
        scale=point.scale * ratio,
        offset=point.offset * ratio,
        limits=(point.limits[0] * ratio, point.limits[1] * ratio) if point.limits else None,
        resolution=point.resolution * ratio if point.resolution else None,
    )


def _params(profile: Profile | None, device: ModbusDevice, name: str) -> dict[str, float]:
    known = profile.params if profile else {}
    if profile is not None:
        for key in device.params:
            if key not in known:
                message = f"{device.profile} has no such param{_hint(key, known)}"
                raise FieldError(("devices", name, "params", key), message)
    missing = [key for key, default in known.items() if default is None and key not in device.params]
    if missing:
        needed = ", ".join(f"{key}: ..." for key in missing)
        raise FieldError(("devices", name, "profile"), f"{device.profile} must be told params: {{{needed}}}")
    return {**{key: value for key, value in known.items() if value is not None}, **device.params}


def _hint(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    near = get_close_matches(word, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _profile_of(config: ModbusConfig, name: str) -> Profile | None:
    wanted = config.devices[name].profile
    if wanted in {"", SUNSPEC}:
        return None
    if config.profiles and not Path(config.profiles).is_dir():
        raise FieldError("profiles", f"{config.profiles!r} is not a folder")
    known = available(config.profiles)
    if wanted not in known:
        hint = _hint(wanted, [*known, SUNSPEC]) or f"; there are {', '.join([*known, SUNSPEC])}"
        raise FieldError(("devices", name, "profile"), f"no profile {wanted!r}{hint}")
    try:
        return load(known[wanted])
    except (ValueError, OSError) as error:
        raise FieldError(("devices", name, "profile"), str(error)) from error


def _selected(profile: Profile | None, device: ModbusDevice, name: str) -> Mapping[str, ModbusPoint]:
    if profile is None:
        return {}
    for i, glob in enumerate(device.only):
        if not any(fnmatchcase(key, glob) for key in profile.points):
            message = f"{device.profile} has no point {glob!r}{_hint(glob, profile.points)}"
            raise FieldError(("devices", name, "only", i), message)
    return {key: point for key, point in profile.points.items() if is_chosen(key, device.only)}


def is_chosen(name: str, globs: Sequence[str]) -> bool:
    """Whether ``only`` lets a point through."""
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
