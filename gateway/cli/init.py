"""``onpath init``: a first configuration, by asking or from flags."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import typer
import yaml

from gateway.config import load
from gateway.errors import ConfigError, OnpathError

UNUSABLE: Final = "these answers make no usable configuration"
NONE: Final = "-"
"""For a profile: none."""
TOPIC: Final = "site/{device}/telemetry"


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
        raise OnpathError(f"{UNUSABLE}: {error}") from error
    _check(text)
    try:
        path.write_text(text)
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error
    print(f"wrote {path}; next: onpath check -c {path} && onpath run -c {path}")


def _unit(text: str) -> int:
    """What was typed as a unit id."""
    if not str(text).isdecimal() or int(text) > 255:
        raise ValueError(f"{text!r} is no unit id; write a number from 0 to 255")
    return int(text)


def _ask(answers: Answers) -> Answers:
    """Fill in by questions, each asked until its answer is usable; an empty answer leaves a source out."""
    gateway = answers.gateway or _prompt("Name of this gateway", os.uname().nodename, _with("gateway"))
    modbus = _prompt("Modbus endpoint (tcp://host:502 or rtu:///dev/ttyUSB0)", "", _with("modbus"))
    profile, unit = answers.profile, answers.unit
    if modbus:
        unit = int(_prompt("  unit id", "1", _with("unit", modbus=[modbus])))
        known = _with("profile", modbus=[modbus])
        profile = _prompt("  profile (- for none: edit the points afterwards)", "eastron-sdm630", known)
        profile = None if profile == NONE else profile
    mqtt = _prompt("MQTT broker of devices (mqtt://host:1883)", "", _with("mqtt"))
    topic = _prompt("  topic pattern", answers.topic, _with("topic", mqtt=[mqtt])) if mqtt else answers.topic
    coap = _prompt("CoAP resource to observe (coap://host/path)", "", _with("coap"))
    where = "Where results go (mqtt://..., a file path, or stdout)"
    uplink = answers.uplink or _prompt(where, "stdout", _with("uplink"))
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


def _prompt(question: str, default: str, usable: Callable[[str], str]) -> str:
    return str(typer.prompt(question, default=default, value_proc=usable))


def _with(field: str, **others: Any) -> Callable[[str], str]:
    """Takes an answer to one question if a configuration with it is usable.

    Raises:
        typer.BadParameter: it is not; the question is asked again.
    """
    nothing = Answers(
        gateway="g", state=None, modbus=[], unit=1, profile=None, mqtt=[], topic=TOPIC, coap=[], uplink=None
    )

    def usable(said: str) -> str:
        value: Any = said.strip()
        if field in {"modbus", "mqtt", "coap"}:
            value = [value] if value else []
        try:
            value = _unit(value) if field == "unit" else None if (field, value) == ("profile", NONE) else value
            _check(render(replace(nothing, **{**others, field: value})))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        except OnpathError as error:
            raise typer.BadParameter(str(error).removeprefix(f"{UNUSABLE}: ")) from error
        return said.strip()

    return usable


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
            raise OnpathError(f"{UNUSABLE}: {problems}") from error
