"""Telemetry of simulated meters as ready-made MQTT packets.

Voltage, current and power wander slowly under a noise that a deadband of 0.2 % of the range lets pass about
every eighth time; energy counts. A payload is what a meter sends: ``{"ts":1790000000000,"voltage":230.1,...}``.
"""

from __future__ import annotations

import numpy as np

DEVICES = 20
VALUES = 4
TOPIC = "site/{device}/telemetry"
POINTS = (
    "{voltage: {unit: V, limits: [0, 300]}, current: {unit: A, limits: [0, 25]}, "
    "power: {unit: W, limits: [0, 5000]}, energy: {unit: W.h, limits: [0, 1000000], kind: counter}}"
)
_TEXT = '{"ts":%s,"voltage":%s,"current":%s,"power":%s,"energy":%d}'


def payloads(count: int, times: list[str], devices: int = DEVICES) -> list[bytes]:
    """One payload a message, the devices in turn."""
    chance = np.random.default_rng(11)
    rows = -(-count // devices)

    def series(level: float, noise: float, decimals: int) -> list[float]:
        wander = np.cumsum(chance.normal(0, noise / 50, (rows, devices)), axis=0)
        values = level + wander + chance.normal(0, noise, (rows, devices))
        return np.abs(values).round(decimals).ravel()[:count].tolist()

    columns = series(230.0, 0.3, 2), series(6.0, 0.025, 3), series(1400.0, 5.0, 1)
    energy = (np.arange(count) // devices * 3 + 1000).tolist()
    return [(_TEXT % row).encode() for row in zip(times, *columns, energy, strict=True)]


def packet(device: int, payload: bytes, qos: int, number: int) -> bytes:
    """A PUBLISH packet; packet ids run from 1 to 65,000."""
    topic = TOPIC.format(device=f"m{device}").encode()
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += (number % 65_000 + 1).to_bytes(2, "big")
    body += payload
    length, rest = bytearray(), len(body)
    while rest or not length:
        rest, low = divmod(rest, 128)
        length.append(low | (128 if rest else 0))
    return bytes([0x30 | qos << 1]) + length + body


def packets(count: int, qos: int, times: list[str], devices: int = DEVICES, padding: int = 0) -> list[bytes]:
    """All packets of a run; ``padding`` bytes of each payload say nothing."""
    found = payloads(count, times, devices)
    if padding:
        more = b',"log":"' + b"x" * padding + b'"}'
        found = [payload[:-1] + more for payload in found]
    return [packet(n % devices, payload, qos, n) for n, payload in enumerate(found)]


def connect(identifier: str) -> bytes:
    """A CONNECT packet of MQTT 3.1.1 with a clean session, keep-alive 60 s."""
    name = identifier.encode()
    body = b"\0\4MQTT\4\2\0\x3c" + len(name).to_bytes(2, "big") + name
    return bytes([0x10, len(body)]) + body
