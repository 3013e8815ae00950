"""The configuration of the embedded broker as nats-server reads it. Pure: values in, text out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Login:
    """A user of the broker; ``None`` for a permission: everything."""

    name: str
    password: str
    publish: Sequence[str] | None = None
    """MQTT topic filters."""
    subscribe: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Files for TLS; ``client_ca`` empty: no certificate is asked of clients."""

    cert: str
    key: str
    client_ca: str = ""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may connect, and how. No logins: everybody."""

    logins: Sequence[Login] = ()
    tls: Tls | None = None


def broker_config(
    state: Path,
    *,
    host: str,
    port: int,
    mqtt_port: int,
    max_store: int,
    access: Access | None = None,
) -> str:
    """The nats-server's configuration; port 0 asks the system for a free one (its -1).

    Strings of this format are quoted as in JSON. Its own protocol is for this machine only.
    """
    access = access or Access()
    store, log, address = (json.dumps(text) for text in (str(state / "jetstream"), str(log_file(state)), host))
    own = json.dumps("::1" if ":" in host else "127.0.0.1")
    return (
        'server_name: "onpath-embedded"\n'
        f"host: {own}\n"
        f"port: {port or -1}\n"
        f"log_file: {log}\n"
        "max_payload: 8MB\n"  # the most that it advises; its default of 1 MB is less than a large batch
        f"jetstream {{ store_dir: {store}, max_file_store: {max_store} }}\n"
        f"mqtt {{ host: {address}, port: {mqtt_port or -1}{_tls(access.tls)} }}\n"
    ) + _users(access.logins)


def _tls(tls: Tls | None) -> str:
    if tls is None:
        return ""
    trust = f", ca_file: {json.dumps(tls.client_ca)}, verify: true" if tls.client_ca else ""
    return f", tls {{ cert_file: {json.dumps(tls.cert)}, key_file: {json.dumps(tls.key)}{trust} }}"


def _users(logins: Sequence[Login]) -> str:
    if not logins:
        return ""
    return f"authorization {{ users: [\n{''.join(map(_user, logins))}] }}\n"


def _user(login: Login) -> str:
    hearing = subjects(login.subscribe)
    if hearing:  # a QoS 1 subscription is delivered by a subject of the server's own (its MQTT documentation)
        hearing.append("$MQTT.sub.>")
    rights = f"publish: {_right(subjects(login.publish))}, subscribe: {_right(hearing)}"
    return (
        f"  {{ user: {json.dumps(login.name)}, password: {json.dumps(login.password)}, permissions: {{ {rights} }} }}\n"
    )


def _right(allowed: list[str]) -> str:
    if not allowed:
        return '{ deny: [">"] }'
    return f"{{ allow: [{', '.join(map(json.dumps, allowed))}] }}"


def subjects(filters: Sequence[str] | None) -> list[str]:
    """MQTT topic filters as subjects of NATS; ``a/#`` is two of them, because it takes ``a`` as well.

    Source: the conversions in the NATS documentation of MQTT: ``/`` becomes ``.``, and ``.`` becomes ``//``.
    """
    found: list[str] = []
    for text in ["#"] if filters is None else filters:
        subject = ".".join(level.replace(".", "//") for level in text.split("/"))
        subject = subject.replace("+", "*").replace("#", ">")
        found += [subject.removesuffix(".>"), subject] if subject.endswith(".>") else [subject]
    return found


def log_file(state: Path) -> Path:
    """Where the server writes its log."""
    return state / "broker.log"
