"""MQTT brokers: whether they let us in, and the limits that they set. Publishes nothing, keeps no session there."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adapters.mqtt.config import address
from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.links import Target, tag, urls
from gateway.doctor.patient import Patient, is_known
from gateway.doctor.reach import answers
from gateway.errors import LinkError
from gateway.tls import client_context, failure

ANSWER_S: Final = 2.0
TYPES: Final = frozenset({"mqtt", "sparkplug", "frame"})
SMALL_PACKET: Final = 256 << 10
"""Below it a batch of a busy pipeline may not fit."""
MOSQUITTO: Final = Path("/etc/mosquitto")
_OLD_PROTOCOL: Final = frozenset({"Unsupported protocol version", "Unspecified error", "Protocol error"})


@dataclass
class Said:
    """What a broker said when it let us in."""

    version: str
    """``5`` or ``3.1.1``."""
    limits: dict[str, int] = field(default_factory=dict)
    """Of MQTT 5, by the names of the properties."""


class BrokerRefusesError(Exception):
    """It does not let us in; the text says why."""


def check_broker(patient: Patient, target: Target) -> Iterator[Diagnosis]:
    """One broker, as one adapter or uplink reaches it."""
    options = target.options
    words = {**patient.words, "path": target.path}
    if not is_known(str(getattr(options, "password", ""))):
        yield fine("brokers", "not logged in: its password cannot be read from here", target.owner)
        return
    if not answers(target):
        return  # which is told by itself
    try:
        said = _greeted(target)
    except (BrokerRefusesError, LinkError, OSError) as error:
        yield found("broker-refuses", f"{target.host}:{target.port}: {error}", target.owner, **words)
        return
    if said.version != "5":
        yield found("broker-old", "the broker speaks MQTT 3.1.1 only", target.owner, **words)
    else:
        yield fine("brokers", f"lets us in by MQTT 5{_listed(said.limits)}", target.owner)
        yield from _limits(said.limits, target, words)
    yield from _mosquitto(target)


def _listed(limits: dict[str, int]) -> str:
    return "".join(f", {name} {value}" for name, value in limits.items())


def _greeted(target: Target) -> Said:
    """Connect by MQTT 5, whose answer tells the limits; by 3.1.1 if the broker does not know it."""
    try:
        return _connect(target, "5")
    except BrokerRefusesError as error:
        if str(error) not in _OLD_PROTOCOL and not str(error).startswith("the connection"):
            raise
        return _connect(target, "3.1.1")


def _connect(target: Target, version: str) -> Said:
    from paho.mqtt.client import Client, MQTTv5, MQTTv311
    from paho.mqtt.enums import CallbackAPIVersion

    options, at = target.options, address(urls(target.options)[0])
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"onpath-doctor-{secrets.token_hex(6)}",  # never the gateway's own: that would end its session
        protocol=MQTTv5 if version == "5" else MQTTv311,
        transport="websockets" if at.path else "tcp",
    )
    client.connect_timeout = ANSWER_S
    if at.path:
        client.ws_set_options(path=at.path)
    if at.secure:
        client.tls_set_context(client_context(options.ca, options.cert, options.key))
    if options.username:
        client.username_pw_set(options.username, options.password or None)
    told: list[tuple[Any, Any]] = []
    client.on_connect = lambda _client, _data, _flags, code, properties: told.append((code, properties))
    expiry_s = _session_s(options) if version == "5" else 0
    try:
        client.connect(at.host, at.port, keepalive=10, properties=_expiry("CONNECT", expiry_s))
        until = time.monotonic() + ANSWER_S
        while not told and time.monotonic() < until:
            if client.loop(0.1):
                break
    except ssl.SSLError as error:
        raise BrokerRefusesError(failure(error)) from None
    except (OSError, ValueError) as error:
        raise BrokerRefusesError(str(error) or "no answer in time") from None
    finally:
        client.disconnect(properties=_expiry("DISCONNECT", 0) if expiry_s else None)
        client.loop(0.05)
    if not told:
        raise BrokerRefusesError("the connection was closed without an answer")
    code, properties = told[0]
    if code.is_failure:
        raise BrokerRefusesError(str(code))
    return Said(version, _numbers(properties))


def _session_s(options: Any) -> int:
    """How long an adapter wants its session to be kept. We ask for as much, and give it up when we go."""
    session = getattr(options, "session", None)
    return 0 if session is None or session.clean else int(session.expiry)


def _expiry(packet: str, seconds: int) -> Any:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    if packet == "CONNECT" and not seconds:
        return None
    properties = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = seconds
    return properties


def _numbers(properties: Any) -> dict[str, int]:
    names = (
        "MaximumPacketSize", "ReceiveMaximum", "MaximumQoS", "RetainAvailable", "WildcardSubscriptionAvailable",
        "SessionExpiryInterval",
    )  # fmt: skip
    return {name: int(value) for name in names if (value := getattr(properties, name, None)) is not None}


def _limits(limits: dict[str, int], target: Target, words: dict[str, object]) -> Iterator[Diagnosis]:
    options, kind, sends = target.options, tag(target), target.path.startswith("uplinks.")
    owner, packet = target.owner, limits.get("MaximumPacketSize")
    own = int(getattr(options, "max_payload", 0) or 0)
    if packet is not None and (packet < SMALL_PACKET or (sends and own > packet)):
        yield found("broker-packet-size", f"the broker takes {packet} bytes at most", owner, **words, size=packet)
    if limits.get("MaximumQoS", 2) < 1:
        yield found("broker-qos", "the broker takes QoS 0 only", owner, **words)
    if limits.get("RetainAvailable", 1) == 0 and (sends or bool(getattr(options, "state_topic", ""))):
        yield found("broker-no-retain", "the broker keeps no retained messages", owner, **words)
    if limits.get("WildcardSubscriptionAvailable", 1) == 0 and not sends:
        yield found("broker-no-wildcards", "the broker refuses + and # in subscriptions", owner, **words)
    session = getattr(options, "session", None)
    granted = limits.get("SessionExpiryInterval")
    if session is not None and granted is not None and not session.clean and granted < session.expiry:
        what = f"the broker keeps a session for {granted} s, and {float(session.expiry):g} s are asked for"
        yield found("broker-session", what, owner, **words)
    window, wanted = limits.get("ReceiveMaximum"), getattr(options, "in_flight", 0)
    if sends and kind != "sparkplug" and window is not None and window < wanted:
        what = f"the broker takes {window} messages under way, and in_flight is {wanted}"
        yield found("broker-window", what, owner, **words)


def _mosquitto(target: Target) -> Iterator[Diagnosis]:
    """The settings of a mosquitto on this box."""
    if target.host not in {"127.0.0.1", "::1", "localhost"}:
        return
    settings = mosquitto_settings(MOSQUITTO)
    if settings is None or str(target.port) not in settings.get("listener", "1883").split():
        return
    if settings.get("set_tcp_nodelay") != "true":
        yield found("mosquitto-nodelay", f"set_tcp_nodelay is not true in {MOSQUITTO}", target.owner)
    if "max_inflight_messages" not in settings and target.path.startswith("adapters."):
        yield found("mosquitto-window", f"max_inflight_messages is not set in {MOSQUITTO}: 20", target.owner)


def mosquitto_settings(folder: Path) -> dict[str, str] | None:
    """What is set in mosquitto.conf and conf.d; None if there is none that can be read.

    Words behind ``listener``, of which there may be several, are put together.
    """
    settings: dict[str, str] = {}
    try:
        texts = [(folder / "mosquitto.conf").read_text("utf-8", "replace")]
        texts += [file.read_text("utf-8", "replace") for file in sorted(folder.glob("conf.d/*.conf"))]
    except OSError:
        return None
    for line in "\n".join(texts).splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "listener":
            settings[name] = f"{settings.get(name, '')} {value.strip()}"
        elif name and not name.startswith("#"):
            settings[name] = value.strip()
    return settings
