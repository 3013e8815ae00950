"""``[[inputs.modbus]]`` of Telegraf, in its three styles: register, request and metric.

Source: the plugin's README and samples (influxdata/telegraf, plugins/inputs/modbus).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.migrate.draft import Draft, Table, fit, free, seconds, span

_TABLES: Final = {"coil": "coil", "discrete": "discrete", "holding": "holding", "input": "input"}
_STYLE: Final = {
    "coils": "coil", "discrete_inputs": "discrete", "holding_registers": "holding", "input_registers": "input",
}  # fmt: skip
_TYPES: Final = {
    "INT16": "int16", "UINT16": "uint16", "INT32": "int32", "UINT32": "uint32", "INT64": "int64", "UINT64": "uint64",
    "FLOAT32": "float32", "FLOAT64": "float64", "FLOAT32-IEEE": "float32", "FLOAT64-IEEE": "float64",
    "INT8L": "int8", "INT8H": "int8", "UINT8L": "uint8", "UINT8H": "uint8", "BIT": "uint16", "STRING": "string",
}  # fmt: skip
_FIXED: Final = {"FIXED": "int", "UFIXED": "uint", "FLOAT32": "uint"}
"""Of the style ``register``: integers as wide as their addresses. FLOAT32 is the old name of UFIXED there."""
_ORDERS: Final = {
    "AB": "ABCD", "ABCD": "ABCD", "ABCDEFGH": "ABCD", "BA": "DCBA", "DCBA": "DCBA", "HGFEDCBA": "DCBA",
    "CDAB": "CDAB", "GHEFCDAB": "CDAB", "BADC": "BADC", "BADCFEHG": "BADC",
}  # fmt: skip
_SERIAL: Final = {"baud_rate": "baudrate", "parity": "parity", "stop_bits": "stopbits", "data_bits": "bytesize"}


@dataclass(frozen=True, slots=True)
class _Field:
    """One value that the plugin reads."""

    where: str
    unit: int
    measurement: str
    name: str
    point: dict[str, Any]
    labels: dict[str, str]


def modbus(plugin: Table, every_s: float, draft: Draft) -> list[str]:
    """Add the adapter of one plugin; the names of its devices."""
    name = free(fit(plugin.text("name"), "modbus"), draft.adapters)
    adapter: dict[str, Any] = {"type": "modbus", "url": _url(plugin, draft), **_timing(plugin, draft)}
    period = span(seconds(plugin.take("interval"), every_s))
    retries = int(plugin.number("busy_retries"))
    fields = list(_fields(plugin, draft))
    tags = {str(key): str(value) for key, value in (plugin.take("tags") or {}).items()}
    devices: dict[str, dict[str, Any]] = {}
    for unit in dict.fromkeys(field.unit for field in fields):
        mine = [field for field in fields if field.unit == unit]
        device = name if len({field.unit for field in fields}) == 1 else f"{name}-{unit}"
        devices[device] = {"unit": unit, "every": period, "points": _points(mine, tags, draft)}
        if retries:
            devices[device]["retries"] = min(retries, 3)
    plugin.ignore("debug_connection", "busy_retries_wait", "configuration_type", "exclude_register_type_tag")
    plugin.leave_rest(draft)
    if not devices:
        draft.left(plugin.where, "reads nothing that could be carried over")
        return []
    draft.adapters[name] = adapter | {"devices": devices}
    return list(devices)


def _url(plugin: Table, draft: Draft) -> str:
    controller, mode = plugin.text("controller"), plugin.text("transmission_mode").upper()
    at = urlsplit(controller)
    serial = {_SERIAL[key]: str(plugin.take(key)) for key in _SERIAL if plugin.take(key) is not None}
    if at.scheme in {"tcp", "udp"}:
        over = {"RTUOVERTCP": "rtu+tcp", "ASCIIOVERTCP": "ascii+tcp"}.get(mode, at.scheme)
        return f"{over}://{at.netloc}"
    path = at.path if at.scheme == "file" else controller
    if re.match(r"(?i)com\d+$", path):
        draft.left(f"{plugin.where}.controller", f"{path} is a port of Windows; write the device's path")
    if "rs485" in plugin:
        draft.left(f"{plugin.where}.rs485", "write ?rs485=high or low behind the url, if the driver has to switch")
        plugin.ignore("rs485")
    serial = {key: value.upper() if key == "parity" else value for key, value in serial.items()}
    query = "&".join(f"{key}={value}" for key, value in serial.items())
    return f"{'ascii' if mode == 'ASCII' else 'rtu'}://{path}" + (f"?{query}" if query else "")


def _timing(plugin: Table, draft: Draft) -> dict[str, str]:
    found: dict[str, str] = {}
    if "timeout" in plugin:
        found["timeout"] = span(seconds(plugin.take("timeout"), 1.0))
    for workarounds in plugin.tables("workarounds"):
        for key, ours in (("pause_between_requests", "request_delay"), ("pause_after_connect", "connect_delay")):
            pause = seconds(workarounds.take(key))
            if pause:
                found[ours] = span(pause)
        workarounds.leave_rest(draft)
    return found


def _fields(plugin: Table, draft: Draft) -> Iterator[_Field]:
    style = plugin.text("configuration_type", "register")
    if style == "register":
        unit = int(plugin.number("slave_id"))
        for key, table in _STYLE.items():
            for field in plugin.tables(key):
                point = _register_point(field, table, draft)
                if point is not None:
                    yield _Field(field.where, unit, field.text("measurement"), field.text("name"), point, {})
                field.leave_rest(draft)
        return
    for request in plugin.tables(style):
        unit, order = int(request.number("slave_id")), request.text("byte_order", "ABCD")
        table, measurement = request.text("register", "holding"), request.text("measurement")
        labels = {str(key): str(value) for key, value in (request.take("tags") or {}).items()}
        for field in request.tables("fields"):
            if field.take("omit"):
                continue
            point = _request_point(field, field.text("register", table), order, draft)
            if point is not None:
                name = field.text("measurement", measurement)
                yield _Field(field.where, unit, name, field.text("name"), point, labels)
            field.ignore("name", "output", "scale", "length", "bit", "type")
            field.leave_rest(draft)
        request.ignore("optimization", "optimization_max_register_fill")
        request.leave_rest(draft)
    plugin.ignore("optimization", "optimization_max_register_fill", "slave_id")


def _register_point(field: Table, table: str, draft: Draft) -> dict[str, Any] | None:
    """A field of the style ``register``: its addresses are listed one by one."""
    listed = field.take("address") or []
    addresses = [int(address) for address in listed] if isinstance(listed, list) else [int(listed)]
    kind, order = field.text("data_type").upper(), field.text("byte_order", "ABCD").upper()
    scale = field.number("scale", 1.0) or 1.0
    field.ignore("name", "measurement", "output")
    if not addresses or addresses != list(range(addresses[0], addresses[0] + len(addresses))):
        draft.left(field.where, f"addresses {addresses} do not follow each other")
        return None
    point: dict[str, Any] = {"at": f"{table}:{addresses[0]}"}
    if table in {"coil", "discrete"}:
        field.ignore("byte_order", "data_type", "scale")
        return point
    if kind in _FIXED:
        point["as"] = f"{_FIXED[kind]}{16 * len(addresses)}"
        kind = ""
    elif kind == "STRING":
        point["length"] = len(addresses)
    elif kind == "BIT":
        point["bit"] = int(field.number("bit"))
    return _typed(point, kind, order, scale, field, draft)


def _request_point(field: Table, table: str, order: str, draft: Draft) -> dict[str, Any] | None:
    """A field of the styles ``request`` and ``metric``."""
    if table not in _TABLES:
        draft.left(field.where, f"register {table!r} is not known")
        return None
    point: dict[str, Any] = {"at": f"{table}:{int(field.number('address'))}"}
    if table in {"coil", "discrete"}:
        return point
    kind = field.text("type").upper()
    if kind == "STRING":
        point["length"] = int(field.number("length", 1.0))
    if kind == "BIT":
        point["bit"] = int(field.number("bit"))
    return _typed(point, kind, order.upper(), field.number("scale", 1.0) or 1.0, field, draft)


def _typed(
    point: dict[str, Any], kind: str, order: str, scale: float, field: Table, draft: Draft
) -> dict[str, Any] | None:
    """The point with its type, the order of its bytes and its scale."""
    if kind:
        if kind not in _TYPES:
            draft.left(field.where, f"type {kind} has no counterpart")
            return None
        point["as"] = _TYPES[kind]
    if kind in {"INT8H", "UINT8H"}:
        point["byte"] = "high"
    if order not in _ORDERS:
        draft.left(field.where, f"byte_order {order} is not known")
        return None
    if _ORDERS[order] != "ABCD" and not str(point["as"]).endswith("int8"):
        narrow = point["as"] in {"int16", "uint16", "string"}  # only the bytes within a word can be swapped there
        swapped = "BADC" if _ORDERS[order] in {"DCBA", "BADC"} else "ABCD"
        point["order"] = swapped if narrow else _ORDERS[order]
    if scale != 1.0 and kind not in {"STRING", "BIT"}:
        point["scale"] = scale
    return point


def _points(fields: list[_Field], tags: dict[str, str], draft: Draft) -> dict[str, dict[str, Any]]:
    points: dict[str, dict[str, Any]] = {}
    for field in fields:
        name = fit(field.name)
        if name in points and points[name]["at"] == field.point["at"]:
            continue  # the same register in several metrics
        if name in points and field.measurement:
            name = fit(f"{field.measurement}-{field.name}")
        fresh = free(name, points)
        if fresh != field.name:
            draft.changed(field.where, f"field {field.name!r} is the point {fresh!r}")
        labels = {fit(key): value for key, value in (tags | field.labels).items()}
        points[fresh] = field.point | ({"labels": labels} if labels else {})
    return points
