"""The endpoint's URL. Pure, light to import."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import SplitResult, parse_qsl, urlsplit

from gateway.units import Duration


class Carrier(enum.Enum):
    """What carries the frames."""

    TCP = "tcp"
    UDP = "udp"
    TLS = "tls"
    SERIAL = "serial"
    LISTEN = "listen"


class Frames(enum.Enum):
    """How a frame looks on it."""

    MBAP = "tcp"
    RTU = "rtu"
    ASCII = "ascii"


_SCHEMES = {
    "tcp": (Carrier.TCP, Frames.MBAP),
    "udp": (Carrier.UDP, Frames.MBAP),
    "tls": (Carrier.TLS, Frames.MBAP),
    "rtu": (Carrier.SERIAL, Frames.RTU),
    "ascii": (Carrier.SERIAL, Frames.ASCII),
    "rtu+tcp": (Carrier.TCP, Frames.RTU),
    "ascii+tcp": (Carrier.TCP, Frames.ASCII),
    "listen+tcp": (Carrier.LISTEN, Frames.RTU),
}
_PORTS = {Carrier.TLS: 802}  # of Modbus/TCP Security; others 502
_SERIAL: dict[str, tuple[str, ...]] = {
    "baudrate": tuple(str(rate) for rate in (300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800,
                                             38400, 57600, 76800, 115200, 230400, 460800, 921600)),
    "parity": ("N", "E", "O", "M", "S"),
    "stopbits": ("1", "1.5", "2"),
    "bytesize": ("7", "8"),
    "rs485": ("off", "high", "low"),
}  # fmt: skip
_DELAYS = ("rs485_before", "rs485_after")
_LISTEN: dict[str, tuple[str, ...]] = {"framing": ("rtu", "tcp", "ascii")}


@dataclass(frozen=True)
class Direction:
    """How the driver turns an RS-485 transceiver around: RTS is ``high`` or low while it sends."""

    high: bool
    before_s: float = 0.0
    """From RTS to the first bit."""
    after_s: float = 0.0
    """From the last bit to RTS."""


@dataclass(frozen=True)
class Endpoint:
    """A parsed URL: a host and port, or a serial device with its settings."""

    carrier: Carrier
    frames: Frames
    host: str = ""
    port: int = 0
    device: str = ""
    baudrate: int = 9600
    parity: str = "N"
    stopbits: float = 1
    bytesize: int = 8
    direction: Direction | None = None

    @property
    def rtu(self) -> bool:
        """Whether frames are RTU frames."""
        return self.frames is Frames.RTU

    @property
    def pipelines(self) -> bool:
        """Whether several requests may be under way: in order on one stream, and told apart by an id."""
        return self.frames is Frames.MBAP and self.carrier in {Carrier.TCP, Carrier.TLS}

    @property
    def character_s(self) -> float:
        """Time that one character takes on the serial line."""
        bits = 1 + self.bytesize + (self.parity != "N") + self.stopbits
        return bits / self.baudrate

    @property
    def silence_s(self) -> float:
        """Quiet time between two frames on a serial line: 3.5 characters, 1.75 ms above 19,200 baud."""
        return max(3.5 * self.character_s, 0.00175) if self.device else 0.0


def parse_url(url: str) -> Endpoint:
    """The endpoint that ``url`` names.

    Raises:
        ValueError: saying what is wrong with it.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        near = get_close_matches(parts.scheme, list(_SCHEMES), 1) if "://" in url else []
        hint = f"did you mean {near[0]}://?" if near else f"there are {_listed([f'{s}://' for s in _SCHEMES])}"
        raise ValueError(f"{url!r} is not an endpoint; write tcp://host:502 or"
                         f" rtu:///dev/ttyUSB0?baudrate=9600; {hint}")  # fmt: skip
    carrier, frames = _SCHEMES[parts.scheme]
    if carrier is Carrier.SERIAL:
        return _serial(url, parts, frames)
    return _network(url, parts, carrier, frames)


def _network(url: str, parts: SplitResult, carrier: Carrier, frames: Frames) -> Endpoint:
    if not parts.hostname:
        hint = "; 0.0.0.0 listens on all" if carrier is Carrier.LISTEN else ""
        raise ValueError(f"{url!r} names no host{hint}")
    if parts.path not in {"", "/"} or parts.username is not None:
        raise ValueError(f"{url!r}: there is nothing but host and port in such a URL")
    port = parts.port if parts.port is not None else _PORTS.get(carrier, 502)
    if port == 0:
        raise ValueError(f"{url!r}: port 0 cannot be connected to")
    known = _LISTEN if carrier is Carrier.LISTEN else {}
    settings = _settings(url, parts, known)
    frames = Frames(settings.get("framing", frames.value))
    return Endpoint(carrier, frames, host=parts.hostname, port=port)


def _serial(url: str, parts: SplitResult, frames: Frames) -> Endpoint:
    if parts.netloc or len(parts.path) < 2:
        raise ValueError(f"{url!r}: a serial device has three slashes: {parts.scheme}:///dev/ttyUSB0")
    settings = _settings(url, parts, _SERIAL, _DELAYS)
    stopbits = settings.get("stopbits", "1")
    return Endpoint(
        Carrier.SERIAL,
        frames,
        device=parts.path,
        baudrate=int(settings.get("baudrate", 9600)),
        parity=settings.get("parity", "N"),
        stopbits=float(stopbits) if "." in stopbits else int(stopbits),
        bytesize=int(settings.get("bytesize", 8)),
        direction=_direction(settings),
    )


def _direction(settings: dict[str, str]) -> Direction | None:
    delays = {key: _delay(key, settings[key]) for key in _DELAYS if key in settings}
    level = settings.get("rs485", "off")
    if level == "off":
        if delays:
            raise ValueError(f"{next(iter(delays))} needs rs485=high or rs485=low")
        return None
    return Direction(level == "high", delays.get("rs485_before", 0.0), delays.get("rs485_after", 0.0))


def _delay(key: str, text: str) -> float:
    """A delay in seconds; drivers take whole milliseconds, and Linux at most 100."""
    delay = Duration.parse(text)
    if delay > 0.1 or round(delay * 1000, 6) % 1:
        raise ValueError(f"{key} is 0 to 100 whole milliseconds, not {text!r}")
    return float(delay)


def _settings(
    url: str, parts: SplitResult, known: dict[str, tuple[str, ...]], free: tuple[str, ...] = ()
) -> dict[str, str]:
    if parts.query and not known:
        raise ValueError(f"{url!r}: there is nothing but host and port in such a URL")
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    names = [*known, *free]
    for key, value in settings.items():
        if key not in names:
            near = get_close_matches(key, names, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"there are {_listed(names)}"
            raise ValueError(f"unknown setting {key!r}; {hint}")
        if key in known and value not in known[key]:
            raise ValueError(f"{key} cannot be {value!r}; there are {_listed(known[key])}")
    return settings


def _listed(words: list[str] | tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]
