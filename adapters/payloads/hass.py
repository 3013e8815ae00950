"""Home Assistant's MQTT discovery: what a configuration message says of a device and its entities. Pure functions.

    <prefix>/<component>/[<node>/]<object>/config      one entity
    <prefix>/device/[<node>/]<object>/config           a device, its entities under "components"

The payload is an object; many of its keys may be shortened, and ``~`` at either end of a topic stands for the
value of the key ``~``. An empty payload takes the entity or device back. Of the components those are read that
have one state: sensors, binary sensors, switches, numbers, selections and locks.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from adapters.payloads.documents import decode_json
from adapters.payloads.hass_template import PLAIN, Template, parse_template
from adapters.payloads.hass_units import ucum
from gateway.errors import PayloadError
from gateway.point import Kind

COMPONENTS: Final = frozenset({"sensor", "binary_sensor", "switch", "number", "select", "lock"})
MAX_ENTITIES: Final = 1000
"""Entities of one message."""
MAX_TEXT: Final = 256
_NOT_VALUES: Final = frozenset({"timestamp", "date"})
_TOPIC = re.compile(r"(\w+)/(?:([A-Za-z0-9_-]+)/)?([A-Za-z0-9_-]+)/config\Z", re.ASCII)
_LONG: Final = {
    "avty": "availability", "avty_mode": "availability_mode", "avty_t": "availability_topic",
    "avty_tpl": "availability_template", "cmps": "components", "dev": "device", "dev_cla": "device_class",
    "exp_aft": "expire_after", "p": "platform", "pl_avail": "payload_available",
    "pl_not_avail": "payload_not_available", "pl_off": "payload_off", "pl_on": "payload_on", "ops": "options",
    "stat_cla": "state_class", "stat_off": "state_off", "stat_on": "state_on", "stat_t": "state_topic",
    "stat_locked": "state_locked", "stat_unlocked": "state_unlocked", "t": "topic", "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement", "val_tpl": "value_template",
}  # fmt: skip
_LONG_DEVICE: Final = {
    "ids": "identifiers",
    "cns": "connections",
    "mf": "manufacturer",
    "mdl": "model",
    "sa": "suggested_area",
}
_SHARED: Final = (
    "availability", "availability_mode", "availability_topic", "availability_template", "payload_available",
    "payload_not_available", "state_topic", "device", "~",
)  # fmt: skip
_TRUTH: Final = {
    "binary_sensor": ("payload_on", "payload_off", "ON", "OFF"),
    "switch": ("state_on", "state_off", "ON", "OFF"),
    "lock": ("state_locked", "state_unlocked", "LOCKED", "UNLOCKED"),
}


class Availability(NamedTuple):
    """Where a device says whether it is there."""

    topic: str
    online: str
    offline: str
    template: Template


class Entity(NamedTuple):
    """One signal of a device."""

    point: str
    """The last part of a point's name: ``power``; ``switch.power`` for what is no sensor."""
    unit: str
    """UCUM."""
    kind: Kind | None
    """None: what it is shows with its first value."""
    limits: tuple[float, float] | None
    topic: str
    """Where its state comes."""
    template: Template
    words: dict[str, float]
    """Texts that stand for numbers: ``ON`` for 1."""
    expires_s: float
    """A state is worth nothing after that; 0: nothing is said."""
    availability: tuple[Availability, ...]
    needs: str
    """Which of these must be online: ``all``, ``any`` or ``latest``."""


class Device(NamedTuple):
    """What one message says."""

    id: str
    """Stays as it is when people rename the device."""
    name: str
    node: str
    identity: str
    """Maker, model and identifier."""
    labels: dict[str, str]
    entities: list[Entity]
    refused: list[PayloadError]
    """What of it cannot be read: ``template``, ``bad-config``."""
    left_out: list[str]
    """Components that are of another kind."""


def is_config(rest: str) -> bool:
    """Whether a topic, behind the prefix, is one of a configuration."""
    return _TOPIC.match(rest) is not None


def read_config(rest: str, payload: bytes) -> Device:
    """The device of a configuration message that is not empty.

    Args:
        rest: its topic behind the prefix.
        payload: JSON.

    Raises:
        PayloadError: ``unparsable``, ``bad-config``, ``too-many-entities``.
    """
    found = _TOPIC.match(rest)
    if found is None:
        raise PayloadError("bad-config", "the topic is none of a configuration")
    component, node, leaf = found[1], found[2] or "", found[3]
    root = _expanded(_object(decode_json(payload)), _LONG)
    device = _expanded(_dict(root.get("device")), _LONG_DEVICE)
    made = _device(device, node, leaf, root)
    parts = _parts(component, leaf, root)
    for name, kind, options in parts:
        if kind not in COMPONENTS or _text(options.get("device_class")) in _NOT_VALUES:
            made.left_out.append(f"{kind} {name}"[:MAX_TEXT])
            continue
        try:
            made.entities.append(_entity(_point(name, kind, made.id), kind, options))
        except PayloadError as error:
            made.refused.append(error)
    return made


def _parts(component: str, leaf: str, root: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, component and options of each entity."""
    if component != "device":
        return [(leaf, component, _based(root))]
    listed = _dict(root.get("components"))
    if len(listed) > MAX_ENTITIES:
        raise PayloadError("too-many-entities", f"{len(listed)} in one message")
    shared: dict[str, Any] = {key: root[key] for key in _SHARED if key in root}
    found = []
    for name, one in listed.items():
        options = _expanded(_dict(one), _LONG)
        if set(options) - {"platform"}:  # with nothing else in it the component is taken back
            found.append((name, _text(options.get("platform")), _based({**shared, **options})))
    return found


def _device(device: dict[str, Any], node: str, leaf: str, root: dict[str, Any]) -> Device:
    ids = device.get("identifiers")
    first = ids[0] if isinstance(ids, list) and ids else ids
    known = slug(_text(first) or _text(_connection(device.get("connections"))) or node)
    if not known:
        known = slug(_text(root.get("unique_id")) or leaf)
    name = _text(device.get("name")) or known
    about = [_text(device.get(key)) for key in ("manufacturer", "model")]
    labels = {"name": name, "model": about[1], "area": _text(device.get("suggested_area"))}
    identity = " ".join([*filter(None, about), known])
    return Device(known, slug(name), slug(node), identity, {k: v for k, v in labels.items() if v}, [], [], [])


def _connection(found: Any) -> Any:
    """The first of ``[["mac", "02:5b:26:a8:dc:12"]]``."""
    first = found[0] if isinstance(found, list) and found else None
    return first[1] if isinstance(first, list) and len(first) == 2 else None


def _entity(point: str, kind: str, options: dict[str, Any]) -> Entity:
    topic = _topic(options.get("state_topic"))
    expires = options.get("expire_after", 0)
    return Entity(
        point,
        ucum(_text(options.get("unit_of_measurement"))),
        _kind(kind, options),
        _limits(kind, options),
        topic,
        parse_template(_text(options.get("value_template"), 4096)),
        _words(kind, options),
        float(expires) if isinstance(expires, (int, float)) and 0 < expires < 1e9 else 0.0,
        _availability(options),
        _text(options.get("availability_mode")) or "latest",
    )


def _kind(kind: str, options: dict[str, Any]) -> Kind | None:
    if options.get("state_class") == "total_increasing":
        return Kind.COUNTER
    if kind == "select" or options.get("device_class") == "enum" or isinstance(options.get("options"), list):
        return Kind.STATE
    told = ("unit_of_measurement", "state_class", "suggested_display_precision")
    return None if kind == "sensor" and not any(options.get(key) for key in told) else Kind.GAUGE


def _limits(kind: str, options: dict[str, Any]) -> tuple[float, float] | None:
    low, high = (
        options.get("min", 1 if kind == "number" else None),
        options.get("max", 100 if kind == "number" else None),
    )
    if not all(isinstance(one, (int, float)) and abs(one) < 1e300 for one in (low, high)):
        return None
    assert low is not None
    assert high is not None
    return (float(low), float(high)) if low < high else None


def _words(kind: str, options: dict[str, Any]) -> dict[str, float]:
    if kind not in _TRUTH:
        return {}
    on_key, off_key, on, off = _TRUTH[kind]
    if kind == "switch":
        on, off = _word(options.get("payload_on", on)), _word(options.get("payload_off", off))
    return {_word(options.get(off_key, off)): 0.0, _word(options.get(on_key, on)): 1.0}


def _word(found: Any) -> str:
    """As Home Assistant writes a value; a boolean is ``True``."""
    return str(found)[:MAX_TEXT] if isinstance(found, (str, int, float)) else ""


def _availability(options: dict[str, Any]) -> tuple[Availability, ...]:
    listed = options.get("availability")
    entries = listed if isinstance(listed, list) else [listed] if isinstance(listed, dict) else []
    entries = [_expanded(_dict(entry), _LONG) for entry in entries[:16]]
    if "availability_topic" in options:
        entries = [
            {**options, "topic": options["availability_topic"], "value_template": options.get("availability_template")}
        ]
    return tuple(
        Availability(
            _topic(_based({"~": options.get("~"), **entry}).get("topic")),
            _word(entry.get("payload_available", "online")),
            _word(entry.get("payload_not_available", "offline")),
            parse_template(_text(entry.get("value_template"), 4096)) if entry.get("value_template") else PLAIN,
        )
        for entry in entries
    )


def _point(name: str, kind: str, device: str) -> str:
    """The point's name; the device's in front of it is left out."""
    short = name.removeprefix(device).lstrip("_-") if name.startswith(device) else name
    point = slug(short or name)
    return point if kind == "sensor" else f"{kind}.{point}"


def _expanded(found: dict[str, Any], long: dict[str, str]) -> dict[str, Any]:
    return {long.get(key, key): value for key, value in found.items()}


def _based(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the base topic put into their topics."""
    base = options.get("~")
    if not isinstance(base, str):
        return options
    made = dict(options)
    for key, value in options.items():
        if isinstance(value, str) and key.endswith("topic"):
            text = base + value[1:] if value.startswith("~") else value
            made[key] = text[:-1] + base if text.endswith("~") else text
    return made


def _topic(found: Any) -> str:
    """A topic without wildcards, which is all that a configuration may ask for."""
    text = _text(found, 65_535)
    if (
        not text
        or any(char in text for char in "+#\0")
        or text.startswith("$")
        or len(text.encode(errors="replace")) > 65_535
    ):
        raise PayloadError("bad-config", f"{text[:80]!r} is no topic to read a state from")
    return text


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise PayloadError("bad-config", "not an object")
    return found


def _dict(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _text(found: Any, most: int = MAX_TEXT) -> str:
    """A text, or the digits of an identifier that is a number; empty for anything else."""
    if isinstance(found, str):
        return found[:most]
    return str(found) if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**64 else ""


def slug(text: str) -> str:
    """A text as part of a point's name: other characters become ``_``, at most 128 of them."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", text).strip("_")[:128]
