"""All plug-ins: the explicit lists and what third parties registered as entry points.

A third party's package registers the config struct: of an adapter or an uplink, whose tag is the ``type``
in YAML, or of an operator, where the entry point's name is the key of the step::

    [project.entry-points."onpath.operators"]
    clip = "acme.clip:ClipConfig"

One that cannot be used does not stop anything from being imported; :func:`gateway.config.load` refuses
to start with it and says which it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec.inspect

from adapters.base import AdapterConfig
from adapters.registry import ADAPTERS
from gateway.errors import Problem
from gateway.uplinks.config import UPLINKS, UplinkConfig
from pipelines.base import OperatorConfig
from pipelines.registry import OPERATORS

ADAPTER_GROUP = "onpath.adapters"
OPERATOR_GROUP = "onpath.operators"
UPLINK_GROUP = "onpath.uplinks"


class PluginError(ValueError):
    """An entry point cannot be used; the text says why."""


@dataclass(slots=True)
class Plugins:
    """Config structs by the word that stands for each in YAML, and the entry points that are unusable."""

    adapters: dict[str, type[AdapterConfig]]
    operators: dict[str, type[OperatorConfig]]
    uplinks: dict[str, type[UplinkConfig]]
    problems: list[Problem] = field(default_factory=list)


def discover(points: Iterable[EntryPoint]) -> Plugins:
    """The explicit lists and the usable ones of ``points``."""
    plugins = Plugins(
        adapters={tag_of(cls): cls for cls in ADAPTERS},
        operators=dict(OPERATORS),
        uplinks={tag_of(cls): cls for cls in UPLINKS},
    )
    for point in sorted(points, key=lambda point: (point.group, point.name)):
        try:
            _add(plugins, point)
        except PluginError as error:
            place = f"entry point {point.group}: {point.name} = {point.value}"
            plugins.problems.append(Problem(place, 1, 1, "", str(error)))
    return plugins


@lru_cache(maxsize=1)
def installed() -> Plugins:
    """The plug-ins of this installation."""
    found: list[EntryPoint] = []
    for group in (ADAPTER_GROUP, OPERATOR_GROUP, UPLINK_GROUP):
        found += entry_points(group=group)
    return discover(found)


def tag_of(cls: type[msgspec.Struct]) -> str:
    """The ``type`` that stands for a config struct in YAML; msgspec's default is the name of the class."""
    return str(cls.__struct_config__.tag)


def _add(plugins: Plugins, point: EntryPoint) -> None:
    if point.group == OPERATOR_GROUP:
        operator = _struct(point, OperatorConfig)
        _register(plugins.operators, point.name, operator)
    elif point.group == ADAPTER_GROUP:
        adapter = _struct(point, AdapterConfig)
        _register(plugins.adapters, tag_of(adapter), adapter)
    else:
        uplink = _struct(point, UplinkConfig)
        _register(plugins.uplinks, tag_of(uplink), uplink)


def _register(known: dict[str, Any], name: str, cls: type[msgspec.Struct]) -> None:
    if name in known:
        raise PluginError(f'the name "{name}" is taken by {known[name].__module__}')
    known[name] = cls


def _struct(point: EntryPoint, base: type[Any]) -> type[Any]:
    try:
        cls = point.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise PluginError(f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(cls, type) or not issubclass(cls, base):
        raise PluginError(f"{point.value} is not a {base.__name__}")
    try:
        msgspec.inspect.type_info(cls)
    except (TypeError, NameError) as error:
        raise PluginError(f"its options cannot be used: {error}") from error
    return cls
