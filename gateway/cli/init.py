"""``onpath init``: a first configuration, by asking or from flags."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
import yaml

from gateway.config import load
from gateway.errors import ConfigError, OnpathError


@dataclass(frozen=True)
class Answers:
    """What the user said; empty where nothing was said."""

    gateway: str | None
    state: str | None
    modbus: list[str]
    unit: int
    profile: str | None
    mqtt: list[str]
    topic: str
    coap: list[str]
    uplink: str | None


def write_first_config(path: Path, answers: Answers, *, force: bool) -> None:
    """Write a configuration that passes ``onpath check``; asks when no source is named on a terminal.

    Raises:
        OnpathError: the file exists, or an answer makes no usable configuration.
    """
    if path.exists() and not force:
        raise OnpathError(f"{path} exists; --force overwrites it")
    if not (answers.modbus or answers.mqtt or answers.coap):
        if not sys.stdin.isatty():
            raise OnpathError("name a source: --modbus URL, --mqtt URL or --coap URL")
        answers = _ask(answers)
    try:
        text = render(answers)
    except ValueError as error:  # urlsplit's: of brackets that do not close
        raise OnpathError(f"these answers make no usable configuration: {error}") from error
    _check(text)
    try:
        path.write_text(text)
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error
    print(f"wrote {path}; next: onpath check -c {path} && onpath run -c {path}")


def _ask(answers: Answers) -> Answers:
    """Fill in by questions; an empty answer leaves a source out."""
    gateway = answers.gateway or typer.prompt("Name of this gateway", default=os.uname().nodename)
    modbus = typer.prompt("Modbus endpoint (tcp://host:502 or rtu:///dev/ttyUSB0?baudrate=9600)", default="")
    profile, unit = answers.profile, answers.unit
    if modbus:
        unit = typer.prompt("  unit id", default=1, type=int)
        profile = typer.prompt("  profile (empty: edit the points afterwards)", default="eastron-sdm630") or None
    mqtt = typer.prompt("MQTT broker of devices (mqtt://host:1883)", default="")
    topic = typer.prompt("  topic pattern", default=answers.topic) if mqtt else answers.topic
    coap = typer.prompt("CoAP resource to observe (coap://host/path)", default="")
    uplink = answers.uplink or typer.prompt("Where results go (mqtt://..., a file path, or stdout)", default="stdout")
    return replace(
        answers,
        gateway=gateway,
        modbus=[modbus] if modbus else [],
        unit=unit,
        profile=profile,
        mqtt=[mqtt] if mqtt else [],
        topic=topic,
        coap=[coap] if coap else [],
        uplink=uplink,
    )


def render(answers: Answers) -> str:
    """The YAML of a first configuration."""
    state = answers.state or ("/var/lib/onpath" if os.geteuid() == 0 else "onpath-state")
    config: dict[str, Any] = {}
    if answers.gateway:
        config["gateway"] = answers.gateway
    config |= {
        "state": state,
        "adapters": _adapters(answers),
        "pipelines": {
            "all": {"from": ["**"], "steps": [{"deadband": {"percent": 0.5, "max_silence": "60s"}}], "to": ["out"]}
        },
        "uplinks": {"out": _uplink(answers.uplink or "stdout")},
    }
    head = "# Written by onpath init. All keys: configs/reference.yaml and docs/configuration.md\n"
    return head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _adapters(answers: Answers) -> dict[str, Any]:
    adapters: dict[str, Any] = {}
    for number, url in enumerate(answers.modbus, 1):
        device: dict[str, Any] = {"unit": answers.unit, "every": "1s"}
        if answers.profile:
            device["profile"] = answers.profile
        else:
            device["points"] = {"value": {"at": "holding:0", "as": "uint16"}}
        name = _numbered("meters", number)
        adapters[name] = {"type": "modbus", "url": url, "devices": {_numbered("m", number, first=True): device}}
    for number, url in enumerate(answers.mqtt, 1):
        subscription = {"topic": answers.topic, "payload": "json"}
        adapters[_numbered("bus", number)] = {"type": "mqtt", "url": url, "subscribe": [subscription]}
    for number, url in enumerate(answers.coap, 1):
        parts = urlsplit(url)
        path = parts.path if parts.path.strip("/") else "/value"
        name = path.strip("/").replace("/", "-")
        observed = {name: f"{path}?{parts.query}" if parts.query else path}
        device = {"url": f"{parts.scheme}://{parts.netloc}", "observe": observed}
        adapters.setdefault("sensors", {"type": "coap", "devices": {}})["devices"][f"s{number}"] = device
    return adapters


def _numbered(name: str, number: int, *, first: bool = False) -> str:
    return f"{name}{number}" if number > 1 or first else name


def _uplink(target: str) -> dict[str, Any]:
    if target == "stdout":
        return {"type": "stdout"}
    if target.startswith(("mqtt://", "mqtts://")):
        return {"type": "mqtt", "url": target, "topic": "onpath/{gateway}/{pipeline}", "format": "json"}
    return {"type": "file", "path": target, "format": "json"}


def _check(text: str) -> None:
    """Refuse to write what ``onpath check`` would refuse to read."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "first.yaml"
        draft.write_text(text)
        try:
            load(draft, os.environ)
        except ConfigError as error:
            problems = "; ".join(f"{problem.path}: {problem.message}" for problem in error.problems)
            raise OnpathError(f"these answers make no usable configuration: {problems}") from error
