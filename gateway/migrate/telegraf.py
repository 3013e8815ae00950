"""A configuration of Telegraf (TOML) as one of ours."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.errors import OnpathError
from gateway.migrate.draft import Draft, Table, fit, seconds
from gateway.migrate.telegraf_modbus import modbus
from gateway.migrate.telegraf_mqtt import mqtt_consumer
from gateway.migrate.telegraf_outputs import output
from gateway.migrate.telegraf_steps import steps_of

DEFAULT_INTERVAL_S = 10.0
"""What Telegraf's agent takes if nothing is said."""


def read_telegraf(paths: Sequence[Path]) -> Draft:
    """All files together, as Telegraf merges those of a folder.

    Raises:
        OnpathError: one cannot be read or is not TOML.
    """
    documents = [_parsed(file) for path in paths for file in _files(path)]
    draft, globs = Draft(), list[str]()
    every_s = DEFAULT_INTERVAL_S
    for document in documents:
        every_s = _agent(document, every_s, draft)
    for document in documents:
        globs += _inputs(document, every_s, draft)
    steps = [step for document in documents for step in _steps(document, draft)]
    for document in documents:
        for kind, plugin in _plugins(document, "outputs"):
            output(kind, plugin, draft)
        for key in document.keys() - {"agent", "global_tags", "inputs", "processors", "aggregators", "outputs"}:
            draft.left(key, "has no counterpart")
    if globs:
        draft.pipelines["all"] = {"from": globs, "steps": steps, "to": list(draft.uplinks)}
    return draft


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.conf")) + sorted(path.glob("*.toml"))
    if not found:
        raise OnpathError(f"{path}: no *.conf or *.toml in this folder")
    return found


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise OnpathError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OnpathError(f"{path}: is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        hint = "; put quotes around ${VARIABLES}" if "${" in path.read_text("utf-8-sig") else ""
        raise OnpathError(f"{path}: is not TOML: {error}{hint}") from error


def _agent(document: dict[str, Any], every_s: float, draft: Draft) -> float:
    agent = Table(document.get("agent", {}), "agent")
    if agent.text("hostname"):
        draft.top["gateway"] = fit(agent.text("hostname"))
    tags = document.get("global_tags", {})
    if tags:
        draft.left("global_tags", "batches name the gateway; labels stand at the points: " + ", ".join(tags))
    return seconds(agent.take("interval"), every_s)


def _plugins(document: dict[str, Any], section: str) -> Iterator[tuple[str, Table]]:
    for kind, entries in document.get(section, {}).items():
        many = entries if isinstance(entries, list) else [entries]
        for number, entry in enumerate(many):
            yield kind, Table(entry, f"{section}.{kind}[{number}]")


def _inputs(document: dict[str, Any], every_s: float, draft: Draft) -> list[str]:
    globs: list[str] = []
    for kind, plugin in _plugins(document, "inputs"):
        if kind == "modbus":
            globs += [f"{device}/**" for device in modbus(plugin, every_s, draft)]
        elif kind == "mqtt_consumer":
            globs += mqtt_consumer(plugin, draft)
        else:
            draft.left(plugin.where, "has no counterpart")
    return list(dict.fromkeys(globs))


def _steps(document: dict[str, Any], draft: Draft) -> list[dict[str, Any]]:
    """Processors in their order, then aggregators."""
    found = list(_plugins(document, "processors"))
    found.sort(key=lambda entry: entry[1].number("order"))
    found += _plugins(document, "aggregators")
    return [step for kind, plugin in found for step in steps_of(kind, plugin, draft)]
