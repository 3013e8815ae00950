"""Profiles: a device type's register map as data, and how they join with what the user wrote."""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from adapters.modbus.config import MAX_REGISTERS, ModbusConfig, ModbusDevice, ModbusPoint
from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import decode_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

SHIPPED = Path(__file__).with_name("profiles")


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device type, as a file ``NAME.yaml`` describes it."""

    title: str
    """Maker and type."""
    source: str
    """Where the map comes from, so that it can be checked."""
    sign: str = ""
    """What a positive power means."""
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=MAX_REGISTERS)] = MAX_REGISTERS
    """Registers a read of this type may ask for."""
    max_gap: Annotated[int, msgspec.Meta(ge=0, le=MAX_REGISTERS)] = MAX_REGISTERS
    """Registers a read of this type may bridge."""
    points: Annotated[dict[Name, ModbusPoint], msgspec.Meta(min_length=1)]
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
    """The points and limits of a device.

    Raises:
        FieldError: with the path of what is wrong, from the adapter's options down.
    """
    device = config.devices[name]
    profile = _profile_of(config, name)
    points = _selected(profile, device, name)
    least = min(config.max_registers, profile.max_registers if profile else MAX_REGISTERS)
    gap = min(config.max_gap, profile.max_gap if profile else MAX_REGISTERS)
    result = Resolved(
        points={**points, **device.points},
        max_registers=device.max_registers or least,
        max_gap=gap if device.max_gap is None else device.max_gap,
    )
    for key, point in result.points.items():
        if point.width > result.max_registers:
            where = ("points", key, "at") if key in device.points else ("profile",)
            message = f"{key} takes {point.width} registers, but a read may have only {result.max_registers}"
            raise FieldError(("devices", name, *where), message)
    return result


def _profile_of(config: ModbusConfig, name: str) -> Profile | None:
    wanted = config.devices[name].profile
    if not wanted:
        return None
    if config.profiles and not Path(config.profiles).is_dir():
        raise FieldError("profiles", f"{config.profiles!r} is not a folder")
    known = available(config.profiles)
    if wanted not in known:
        near = get_close_matches(wanted, list(known), 1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}"
        raise FieldError(("devices", name, "profile"), f"no profile {wanted!r}; {hint}")
    try:
        return load(known[wanted])
    except (ValueError, OSError) as error:
        raise FieldError(("devices", name, "profile"), str(error)) from error


def _selected(profile: Profile | None, device: ModbusDevice, name: str) -> dict[str, ModbusPoint]:
    if profile is None:
        return {}
    for i, glob in enumerate(device.only):
        if not any(fnmatchcase(key, glob) for key in profile.points):
            near = get_close_matches(glob, list(profile.points), 1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            message = f"{device.profile} has no point {glob!r}{hint}"
            raise FieldError(("devices", name, "only", i), message)
    if not device.only:
        return profile.points
    return {k: p for k, p in profile.points.items() if any(fnmatchcase(k, glob) for glob in device.only)}
