"""Options of the uplinks, and their explicit list; also the schema of ``uplinks:`` in YAML."""

from __future__ import annotations

import enum
import string
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from adapters.mqtt.config import check_broker_url
from gateway.errors import FieldError
from gateway.units import Duration, Size

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink


class Format(enum.StrEnum):
    """How a batch is written for the other side."""

    JSON = "json"
    FRAME = "frame"


class TimeFormat(enum.StrEnum):
    """How ``json`` writes times."""

    RFC3339 = "rfc3339"
    """UTC with milliseconds: ``2026-01-31T12:00:00.250Z``."""
    NS = "ns"
    """Integer nanoseconds since 1970 UTC."""


class UplinkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Options that every uplink has. A subclass repeats ``frozen=True, kw_only=True`` and sets ``tag``."""

    format: Format = Format.JSON
    """``json``, or ``frame`` (compact, between gateways)."""
    time: TimeFormat = TimeFormat.RFC3339
    """How ``json`` writes times."""

    def create(self) -> Uplink:
        """The uplink for these options. Imports its module here, so that unused ones cost nothing."""
        raise NotImplementedError


class MqttUplinkConfig(UplinkConfig, frozen=True, kw_only=True, tag="mqtt"):
    """Publish each batch with QoS 1; it leaves the spool when the broker has acknowledged it."""

    url: str
    """``mqtt://host:1883`` or ``mqtts://host:8883``."""
    topic: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^+#]+$")] = "onpath/{gateway}/{pipeline}"
    """May name ``{gateway}``, ``{pipeline}`` and ``{uplink}``. ``frame`` puts its directory messages,
    retained, below it: ``<topic>/directory/<hash>``."""
    version: Literal["3.1.1", "5"] = "3.1.1"
    """MQTT's protocol version; every broker speaks 3.1.1."""
    client_id: str = ""
    """Default: ``onpath-<gateway>-<uplink>``."""
    username: str = ""
    """Name to log in with."""
    password: str = ""
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    ca: str = ""
    """File with the certificates to trust; default: those of the system."""
    cert: str = ""
    """File with the client's certificate, and ``key`` with its private key."""
    key: str = ""
    """File with the private key of ``cert``."""
    keepalive: Duration = Duration(30)
    """A silent connection is probed this often."""
    timeout: Duration = Duration(10)
    """How long to wait for a connection or an acknowledgement before the link counts as down."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """Batches sent and not yet acknowledged."""

    def __post_init__(self) -> None:
        check_broker_url(self.url)
        _check_topic(self.topic)
        for field in ("keepalive", "timeout"):
            if getattr(self, field) <= 0:
                raise FieldError(field, "must be above 0")
        if bool(self.cert) != bool(self.key):
            raise FieldError("cert" if self.cert else "key", "cert and key go together")

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.mqtt import MqttUplink

        return MqttUplink(self)


class FileUplinkConfig(UplinkConfig, frozen=True, kw_only=True, tag="file"):
    """Append each batch to a file: JSON lines, or msgpack objects back to back for ``frame``."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The file to append to."""
    max_size: Size = Size(64 * 2**20)
    """The file is rotated when it has reached this."""
    keep: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 10
    """Rotated files that are kept: ``path.1`` is the newest of them."""

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.file import FileUplink

        return FileUplink(self)


class StdoutUplinkConfig(UplinkConfig, frozen=True, kw_only=True, tag="stdout"):
    """Write each batch as one line to standard output."""

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.file import StdoutUplink

        return StdoutUplink(self)


_TOPIC_FIELDS = frozenset({"gateway", "pipeline", "uplink"})


def _check_topic(topic: str) -> None:
    try:
        named = {field for _, field, _, _ in string.Formatter().parse(topic) if field is not None}
    except ValueError as error:
        raise FieldError("topic", f"{topic!r}: {error}") from None
    if unknown := named - _TOPIC_FIELDS:
        known = ", ".join(f"{{{field}}}" for field in sorted(_TOPIC_FIELDS))
        raise FieldError("topic", f"{{{min(unknown)}}} is unknown; known: {known}")


UPLINKS: tuple[type[UplinkConfig], ...] = (MqttUplinkConfig, FileUplinkConfig, StdoutUplinkConfig)
