"""An installation of EMQ Neuron as a configuration of ours: its Modbus drivers, and MQTT and Sparkplug applications."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from gateway.migrate.draft import Draft, fit, free, span
from gateway.migrate.neuron_files import Group, Neuron, read_file
from gateway.migrate.neuron_tags import SUBSCRIBE, TagError, read_tag

# What Neuron's settings call by number, plugins/modbus/modbus-rtu.json
_BAUD: Final = {0: 115200, 1: 57600, 2: 38400, 3: 19200, 4: 9600, 5: 4800, 6: 2400, 8: 1200, 9: 600, 10: 300}
_PARITY: Final = {0: "N", 1: "O", 2: "E", 3: "M", 4: "S"}
_BITS: Final = {2: 7, 3: 8}
_STOP: Final = {0: 1, 1: 2}
_ORDERS: Final = {1: "ABCD", 2: "BADC", 3: "CDAB", 4: "DCBA"}
"""The driver's own order of 32-bit values, where it has one (setting ``endianess``)."""

Chosen = dict[tuple[str, str], list[str]]
"""Names of points by driver and group."""


def read_neuron(path: Path) -> Draft:
    """The configuration that a file of Neuron stands for (:mod:`gateway.migrate.neuron_files`).

    Raises:
        OnpathError: the file is not understood.
    """
    neuron, draft, chosen = read_file(path), Draft(), Chosen()
    apps = {entry["app"] for entry in neuron.subscriptions}
    for name, plugin in neuron.plugins.items():
        groups = [group for group in neuron.groups if group.driver == name]
        if "modbus" in plugin.lower():
            _driver(name, plugin, neuron.settings.get(name, {}), groups, draft, chosen)
        elif plugin.lower() not in _APPS:
            if plugin.lower() != "monitor":
                draft.left(f"nodes.{name}", f"plug-in {plugin} has no counterpart")
        elif name not in apps:
            draft.left(f"nodes.{name}", f"plug-in {plugin} takes no group, and becomes nothing")
    _link(neuron, draft, chosen)
    return draft


def _driver(name: str, plugin: str, params: dict[str, Any], groups: list[Group], draft: Draft, chosen: Chosen) -> None:
    where = f"nodes.{name}"
    devices: dict[str, dict[str, Any]] = {}
    found = list(_tags(groups, _first(params), draft))
    units = list(dict.fromkeys(unit for _, _, unit, _ in found))
    for group, tag, unit, point in found:
        device = fit(name) if len(units) == 1 else f"{fit(name)}-{unit}"
        entry = devices.setdefault(device, {"unit": unit, "every": span(group.interval_s), "points": {}})
        if span(group.interval_s) != entry["every"]:
            point["every"] = span(group.interval_s)
        point_name = fit(tag) if fit(tag) not in entry["points"] else fit(f"{group.name}-{tag}")
        point_name = free(point_name, entry["points"])
        if point_name != tag:
            draft.changed(f"{where}.{group.name}.{tag}", f"is the point {device}/{point_name}")
        entry["points"][point_name] = _ordered(point, params)
        chosen.setdefault((name, group.name), []).append(f"{device}/{point_name}")
    if not devices:
        draft.left(where, "has no tags that could be carried over")
        return
    url = _url(params, "rtu" in plugin.lower(), where, draft)
    draft.adapters[free(fit(name), draft.adapters)] = {
        "type": "modbus", "url": url, **_timing(params), "devices": devices,
    }  # fmt: skip


def _tags(groups: Iterable[Group], first: int, draft: Draft) -> Iterator[tuple[Group, str, int, dict[str, Any]]]:
    for group in groups:
        for tag in group.tags:
            where = f"nodes.{group.driver}.{group.name}.{tag.get('name')}"
            try:
                unit, point = read_tag(tag, first)
            except TagError as error:
                draft.left(where, str(error))
                continue
            if int(tag.get("attribute") or 0) & SUBSCRIBE:
                draft.changed(where, "is reported at changes only: add deadband: or dedup: to the pipeline's steps")
            yield group, str(tag.get("name", "")), unit, point


def _first(params: dict[str, Any]) -> int:
    """Number of the first address; newer drivers let it be 0 (setting ``address_base``)."""
    return int(params.get("address_base", 1))


def _ordered(point: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """The driver's own order of bytes, for values of 32 bits whose tag says none."""
    order = _ORDERS.get(int(params.get("endianess", 1)), "ABCD")
    if order != "ABCD" and "order" not in point and str(point.get("as", "")).endswith("32"):
        return point | {"order": order}
    return point


def _url(params: dict[str, Any], serial: bool, where: str, draft: Draft) -> str:  # noqa: FBT001  a kind of driver
    host, port = str(params.get("host", "")), int(params.get("port", 502))
    if serial and int(params.get("link", 0)) == 0:
        line = {
            "baudrate": _BAUD.get(int(params.get("baud", 4)), 9600), "parity": _PARITY[int(params.get("parity", 0))],
            "stopbits": _STOP[int(params.get("stop", 0))], "bytesize": _BITS.get(int(params.get("data", 3)), 8),
        }  # fmt: skip
        return f"rtu://{params.get('device', '')}?" + "&".join(f"{key}={value}" for key, value in line.items())
    if int(params.get("connection_mode", 0)) == 1:
        draft.left(where, "listens for a device that dials in: write listen+tcp:// with register: {pattern: ...}")
    return f"{'rtu+tcp' if serial else 'tcp'}://{host}:{port}"


def _timing(params: dict[str, Any]) -> dict[str, str]:
    found = {"timeout": span(float(params.get("timeout", 3000)) / 1000)}
    if params.get("interval"):
        found["request_delay"] = span(float(params["interval"]) / 1000)
    return found


def _link(neuron: Neuron, draft: Draft, chosen: Chosen) -> None:
    """A pipeline and an uplink for each application and topic."""
    together: dict[tuple[str, str], list[str]] = {}
    for entry in neuron.subscriptions:
        app, topic = str(entry["app"]), str((entry.get("params") or {}).get("topic", ""))
        points = chosen.get((str(entry["driver"]), str(entry["group"])), [])
        if neuron.plugins.get(app, "").lower() in _APPS and points:
            together.setdefault((app, topic), []).extend(points)
    for (app, topic), points in together.items():
        make = _APPS[neuron.plugins[app].lower()]
        uplink = make(app, topic, neuron.settings.get(app, {}), draft)
        name = free(fit(app), draft.uplinks)
        draft.uplinks[name] = uplink
        draft.pipelines[f"to-{name}"] = {"from": _globs(points, draft), "steps": [], "to": [name]}


def _globs(points: list[str], draft: Draft) -> list[str]:
    """The points one by one, or a whole device where all of it is meant."""
    wanted, globs = set(points), list[str]()
    for adapter in draft.adapters.values():
        for device, entry in adapter["devices"].items():
            own = [f"{device}/{point}" for point in entry["points"]]
            taken = [point for point in own if point in wanted]
            globs += [f"{device}/**"] if taken == own else taken
    return globs


def _mqtt(app: str, topic: str, params: dict[str, Any], draft: Draft) -> dict[str, Any]:
    where = f"nodes.{app}"
    scheme = "mqtts" if params.get("ssl") else "mqtt"
    uplink: dict[str, Any] = {"type": "mqtt", "url": f"{scheme}://{params.get('host', '')}:{params.get('port', 1883)}"}
    uplink["topic"] = topic or "onpath/{gateway}/{pipeline}"
    draft.changed(where, "payloads are our own JSON (docs/formats.md), not those of Neuron")
    if params.get("version") == 5:
        uplink["version"] = "5"
    uplink |= _login(where, params, draft)
    for key in ("ca", "cert", "key"):
        if params.get(key):
            draft.left(f"{where}.{key}", "is inside the export: save it to a file and name that")
    if params.get("qos") == 2:
        draft.changed(f"{where}.qos", "QoS 2 is QoS 1 here, which loses nothing either")
    return uplink


def _sparkplug(app: str, _topic: str, params: dict[str, Any], draft: Draft) -> dict[str, Any]:
    where = f"nodes.{app}"
    uplink: dict[str, Any] = {
        "type": "sparkplug",
        "url": f"{'mqtts' if params.get('ssl') else 'mqtt'}://{params.get('host', '')}:{params.get('port', 1883)}",
        "group": str(params.get("group_id") or "group"),
        "node": str(params.get("node_id") or "{gateway}"),
    }
    return uplink | _login(where, params, draft)


def _login(where: str, params: dict[str, Any], draft: Draft) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if params.get("username"):
        found["username"] = str(params["username"])
    if params.get("password"):
        found["password"] = draft.secret(f"{where}.password", str(params["password"]), "MQTT_PASSWORD")
    return found


_APPS: Final = {"mqtt": _mqtt, "sparkplugb": _sparkplug, "sparkplug b": _sparkplug}
