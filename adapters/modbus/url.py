"""The endpoint's URL. Pure, light to import."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import parse_qsl, urlsplit

_SCHEMES = ("tcp", "rtu", "rtu+tcp")
_LATER = ("udp", "tls", "listen+tcp")
_SERIAL = {
    "baudrate": tuple(str(rate) for rate in (300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800,
                                             38400, 57600, 76800, 115200, 230400, 460800, 921600)),
    "parity": ("N", "E", "O"),
    "stopbits": ("1", "2"),
    "bytesize": ("7", "8"),
}  # fmt: skip


@dataclass(frozen=True)
class Endpoint:
    """A parsed URL: a host and port, or a serial device with its settings."""

    rtu: bool
    host: str = ""
    port: int = 0
    device: str = ""
    baudrate: int = 9600
    parity: str = "N"
    stopbits: int = 1
    bytesize: int = 8

    @property
    def silence_s(self) -> float:
        """Quiet time between two frames on a serial line: 3.5 characters, 1.75 ms above 19,200 baud."""
        if not self.device:
            return 0.0
        bits = 1 + self.bytesize + (self.parity != "N") + self.stopbits
        return max(3.5 * bits / self.baudrate, 0.00175)


def parse_url(url: str) -> Endpoint:
    """The endpoint that ``url`` names.

    Raises:
        ValueError: saying what is wrong with it.
    """
    parts = urlsplit(url)
    if parts.scheme in _LATER:
        raise ValueError(f"{parts.scheme}:// is not there yet; there are {_listed(_SCHEMES)}")
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"{url!r} is not an endpoint; write tcp://host:502, rtu:///dev/ttyUSB0?baudrate=9600"
                         " or rtu+tcp://host:4001")  # fmt: skip
    return _serial(url) if parts.scheme == "rtu" else _network(url)


def _network(url: str) -> Endpoint:
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    if parts.path not in {"", "/"} or parts.query or parts.username is not None:
        raise ValueError(f"{url!r}: there is nothing but host and port in such a URL")
    port = parts.port if parts.port is not None else 502
    if port == 0:
        raise ValueError(f"{url!r}: port 0 cannot be connected to")
    return Endpoint(rtu=parts.scheme == "rtu+tcp", host=parts.hostname, port=port)


def _serial(url: str) -> Endpoint:
    parts = urlsplit(url)
    if parts.netloc or len(parts.path) < 2:
        raise ValueError(f"{url!r}: a serial device has three slashes: rtu:///dev/ttyUSB0")
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key, value in settings.items():
        _check_setting(key, value)
    return Endpoint(
        rtu=True,
        device=parts.path,
        baudrate=int(settings.get("baudrate", 9600)),
        parity=settings.get("parity", "N"),
        stopbits=int(settings.get("stopbits", 1)),
        bytesize=int(settings.get("bytesize", 8)),
    )


def _check_setting(key: str, value: str) -> None:
    if key not in _SERIAL:
        near = get_close_matches(key, list(_SERIAL), 1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are {_listed(tuple(_SERIAL))}"
        raise ValueError(f"unknown serial setting {key!r}; {hint}")
    if value not in _SERIAL[key]:
        raise ValueError(f"{key} cannot be {value!r}; there are {_listed(_SERIAL[key])}")


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1]
