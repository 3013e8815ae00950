"""The files that hold a configuration of EMQ Neuron, as one plain structure.

Three are understood: what ``GET /api/v2/global/config`` answers, what ``GET /api/v2/global/drivers`` answers (export of
drivers), and ``persistence/sqlite.db`` of an installation (tables nodes, settings, groups, tags, subscriptions).
Source: emqx/neuron, plugins/restful/global_config_handle.c and persistence/*.sql.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from gateway.errors import OnpathError


@dataclass(slots=True)
class Group:
    """Tags that are read together."""

    driver: str
    name: str
    interval_s: float
    tags: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Neuron:
    """An installation: nodes (drivers and applications) by name with their plug-in, and the rest."""

    plugins: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    subscriptions: list[dict[str, Any]] = field(default_factory=list)
    """``app``, ``driver``, ``group`` and ``params`` of each."""

    def group(self, driver: str, name: str, interval_ms: float = 1000.0) -> Group:
        """The group of a driver, made if it is not known."""
        for known in self.groups:
            if (known.driver, known.name) == (driver, name):
                return known
        self.groups.append(Group(driver, name, interval_ms / 1000))
        return self.groups[-1]


def read_file(path: Path) -> Neuron:
    """What a file holds.

    Raises:
        OnpathError: it cannot be read, or is none of the three.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
        if head.startswith(b"SQLite format 3"):
            return _database(path)
        found = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise OnpathError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise OnpathError(f"{path}: is neither JSON nor a database of Neuron") from error
    except apsw.Error as error:
        raise OnpathError(f"{path}: cannot be read as a database of Neuron: {error}") from error
    nodes = found.get("nodes") if isinstance(found, dict) else None
    if not isinstance(nodes, list):
        raise OnpathError(f"{path}: has no list of nodes; export it by GET /api/v2/global/config")
    try:
        return _global(found)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise OnpathError(f"{path}: is not as Neuron writes it ({type(error).__name__}: {error})") from error


def _global(found: Mapping[str, Any]) -> Neuron:
    """An export of everything, or of drivers, whose nodes hold their groups themselves."""
    neuron = Neuron()
    for node in found["nodes"]:
        neuron.plugins[node["name"]] = str(node["plugin"])
        if "params" in node:
            neuron.settings[node["name"]] = dict(node["params"] or {})
        for group in node.get("groups") or []:
            neuron.group(node["name"], group["group"], float(group.get("interval", 1000))).tags += group["tags"]
    for group in found.get("groups") or []:
        neuron.group(group["driver"], group["group"], float(group.get("interval", 1000)))
    for tags in found.get("tags") or []:
        neuron.group(tags["driver"], tags["group"]).tags += tags["tags"]
    for setting in found.get("settings") or []:
        neuron.settings[setting["node"]] = dict(setting.get("params") or {})
    for entry in found.get("subscriptions") or []:
        many = entry.get("groups") if isinstance(entry.get("groups"), list) else [entry]
        neuron.subscriptions += [{"app": entry.get("app"), **one} for one in many]
    return neuron


def _database(path: Path) -> Neuron:
    connection = apsw.Connection(
        f"file:{path}?mode=ro&immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    try:
        neuron = Neuron(plugins=dict(connection.execute("SELECT name, plugin_name FROM nodes ORDER BY rowid")))
        for node, text in connection.execute("SELECT node_name, setting FROM settings"):
            setting = json.loads(text)
            neuron.settings[node] = dict(setting.get("params", setting))
        for driver, name, interval in connection.execute(
            "SELECT driver_name, name, interval FROM groups ORDER BY rowid"
        ):
            neuron.group(driver, name, float(interval))
        rows = connection.execute("SELECT * FROM tags ORDER BY rowid")
        for row in rows:
            tag = dict(zip([column[0] for column in rows.get_description()], row, strict=True))
            neuron.group(tag["driver_name"], tag["group_name"]).tags.append(tag)
        rows = connection.execute("SELECT * FROM subscriptions ORDER BY rowid")
        for row in rows:
            entry = dict(zip([column[0] for column in rows.get_description()], row, strict=True))
            params = json.loads(entry.get("params") or "{}") or {}
            names = {"app": entry["app_name"], "driver": entry["driver_name"], "group": entry["group_name"]}
            neuron.subscriptions.append(names | {"params": params})
        return neuron
    finally:
        connection.close()
