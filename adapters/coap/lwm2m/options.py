"""Options of the LwM2M server (``serve.lwm2m``). Light."""

from __future__ import annotations

import enum
import re

import msgspec

from adapters.coap.lwm2m.objects import OBJECTS
from gateway.errors import FieldError
from gateway.units import Duration

_DAY_S = 86_400
_DEVICE = re.compile(r"[A-Za-z0-9_.\-]{0,40}\{ep\}[A-Za-z0-9_.\-]{0,40}", re.ASCII)


class Encoding(enum.StrEnum):
    """What a client is asked to write its values in (Accept)."""

    AUTO = "auto"
    TLV = "tlv"
    SENML_CBOR = "senml-cbor"
    SENML_JSON = "senml-json"
    JSON = "json"
    ANY = "any"


class Lwm2mOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The LwM2M server: clients register at ``/rd`` and are asked to report."""

    objects: tuple[int, ...] = tuple(OBJECTS)
    """Numbers of the objects that are observed. One that is not in our table is taken too, as far as it is made
    of the resources that IPSO gives one meaning everywhere (5700 ...); its points are called by its number."""
    endpoints: str | tuple[str, ...] = "*"
    """Which endpoint names are taken: one glob (``*``, ``?``, ``[...]``) or several. Others hear 4.03 and become
    findings."""
    device: str = "{ep}"
    """The device's name. ``{ep}`` is the endpoint's, in which everything but letters, digits, dots, dashes and
    underscores becomes a dash: ``urn:dev:os:7`` is ``urn-dev-os-7``."""
    accept: Encoding = Encoding.AUTO
    """Format that clients are asked for: ``auto`` (``senml-cbor`` from LwM2M 1.1 on, ``tlv`` before), ``tlv``,
    ``senml-cbor``, ``senml-json``, ``json`` (that of 1.0), or ``any`` (their own choice)."""
    min_period: Duration = Duration(1)
    """The attribute ``pmin`` that is written before an object is observed: at most one notification in this time.
    0: it is left alone."""
    max_period: Duration = Duration(60)
    """The attribute ``pmax``: a notification in this time, also when nothing has changed; and the period of what
    has to be polled. 0: it is left alone, and read anew at each update of the registration."""
    awake: Duration = Duration(93)
    """How long after its last message a client in queue mode (``b=UQ``) still listens; nothing is sent to it
    later than that. RFC 7252's MAX_TRANSMIT_WAIT, as LwM2M has it."""
    timeout: Duration = Duration(10)
    """How long to wait for an answer, retransmissions included."""
    lifetime_max: Duration = Duration(_DAY_S)
    """The longest lifetime of a registration, whatever the client asks for."""
    max_endpoints: int = 1000
    """Registrations at one time; further clients hear 5.03."""

    def __post_init__(self) -> None:
        if not self.objects:
            raise FieldError("objects", "no object is observed")
        for number in self.objects:
            if not 0 <= number < 65_535 or number in {0, 21}:
                raise FieldError("objects", f"{number} is not an object to observe (0 and 21 hold keys)")
        if not self.endpoints:
            raise FieldError("endpoints", 'no endpoint would be taken; "*" takes all')
        if _DEVICE.fullmatch(self.device) is None:
            raise FieldError("device", "holds {ep}, and letters, digits, dots, dashes and underscores")
        self._check_times()
        if not 1 <= self.max_endpoints <= 100_000:
            raise FieldError("max_endpoints", "must lie between 1 and 100000")

    def _check_times(self) -> None:
        for name in ("min_period", "max_period"):
            period = getattr(self, name)
            if period != int(period) or period > _DAY_S:
                raise FieldError(name, "counts whole seconds, at most 1d")
        if 0 < self.max_period < self.min_period:
            raise FieldError("max_period", "must not be below min_period")
        for name in ("awake", "timeout"):
            if getattr(self, name) <= 0:
                raise FieldError(name, "must be more than 0")
        if not 1 <= self.lifetime_max <= 365 * _DAY_S:
            raise FieldError("lifetime_max", "must lie between 1s and 365d")

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs of ``endpoints``."""
        return (self.endpoints,) if isinstance(self.endpoints, str) else self.endpoints
