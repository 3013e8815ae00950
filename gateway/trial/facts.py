"""What is known of the points of a trial: from the configuration where adapters declare it, or from the user."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from adapters.base import AdapterConfig
from adapters.modbus.config import ModbusConfig
from gateway.config import GatewayConfig
from gateway.config.compose import parse
from gateway.config.convert import convert
from gateway.config.nodes import Mapping as Tree
from gateway.errors import ConfigError, OnpathError
from gateway.point import Kind, Point, PointOptions, compile_glob

T = TypeVar("T")

Declared = tuple[str, PointOptions]
"""A point's name, or a glob of names, and what is said of it."""


class PointsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``simulate --points FILE``."""

    points: dict[str, PointOptions] = {}
    """By name or glob: unit, kind, limits, resolution, merge, labels."""


class Facts:
    """Options of points by name. What the user says here goes before the configuration, a name before a glob."""

    def __init__(self, config: GatewayConfig, own: Mapping[str, PointOptions] | None = None) -> None:
        self._names: dict[str, PointOptions] = {}
        self._globs: list[tuple[re.Pattern[str], PointOptions]] = []
        self._take((own or {}).items())
        for adapter in config.adapters.values():
            self._take(declared(adapter))

    def _take(self, found: Iterable[Declared]) -> None:
        for name, options in found:
            if "*" in name or "?" in name:
                self._globs.append((compile_glob(name), options))
            else:
                self._names.setdefault(name, options)

    def point(self, name: str) -> Point:
        """The point of this name."""
        options = self._names.get(name)
        if options is None:
            options = next((options for glob, options in self._globs if glob.match(name)), None)
        if options is None:
            return Point(name=name)
        point = Point.of(name, options)
        return msgspec.structs.replace(point, kind=Kind.STATE) if getattr(options, "is_state", False) else point


def declared(adapter: AdapterConfig) -> list[Declared]:
    """The points that an adapter's options name; ``*`` for a device that its messages name."""
    if isinstance(adapter, ModbusConfig):
        from adapters.modbus.profile import resolve

        resolved = [(name, resolve(adapter, name).points) for name in adapter.devices]
        return [(f"{device}/{key}", point) for device, points in resolved for key, point in points.items()]
    return list(_walk(adapter, "*"))


def _walk(options: Any, device: str) -> Iterator[Declared]:
    """Points anywhere below, under the device whose name stands on the way to them."""
    if isinstance(options, msgspec.Struct):
        device = re.sub(r"\{\w+\}", "*", getattr(options, "device_template", device))
        for field in options.__struct_fields__:
            yield from _walk_field(field, getattr(options, field), device)
    elif isinstance(options, (list, tuple)):
        for one in options:
            yield from _walk(one, device)


def _walk_field(field: str, value: Any, device: str) -> Iterator[Declared]:
    if not isinstance(value, dict):
        yield from _walk(value, device)
        return
    for key, one in value.items():
        if isinstance(one, PointOptions):
            yield f"{device}/{key}", one
        else:
            yield from _walk(one, str(key) if field == "devices" else device)


def read_points(path: Path) -> Mapping[str, PointOptions]:
    """The mapping of a points file.

    Raises:
        OnpathError: it cannot be read.
        ConfigError: it is wrong, with every problem.
    """
    return read_yaml(path, PointsFile)[0].points


def read_yaml(path: Path, kind: type[T]) -> tuple[T, Tree]:
    """A YAML file as a struct, and its tree; read as a configuration is: all problems at once, with their places.

    Raises:
        OnpathError: it cannot be read.
        ConfigError: it is wrong, with every problem.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise OnpathError(f"{path}: not UTF-8") from None
    tree, problems = parse(text, str(path))
    found, wrong = convert(kind, tree)
    if found is None or problems or wrong:
        raise ConfigError([*problems, *wrong])
    return found, tree
