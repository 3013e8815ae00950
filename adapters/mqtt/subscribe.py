"""Options of one subscription: a topic pattern, what its messages carry, and the points in them. Light."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from adapters.mqtt.checks import check
from adapters.mqtt.sparkplug.options import SparkplugOptions, check_subscription
from adapters.payloads.fields import FieldOptions
from gateway.errors import FieldError
from gateway.point import Name

PROPERTY = "prop:"
"""Before the name of an MQTT 5 user property, in a label."""


class Payload(enum.StrEnum):
    """What a message carries."""

    JSON = "json"
    """An object with one or more values, or an array of records."""
    TEXT = "text"
    """One plain value, such as ``21.5``, ``true`` or ``auto``."""
    CBOR = "cbor"
    """As ``json``, in CBOR (RFC 8949)."""
    MSGPACK = "msgpack"
    """As ``json``, in MessagePack."""
    SENML = "senml"
    """A SenML pack (RFC 8428), in JSON or in CBOR."""
    CSV = "csv"
    """Lines of values, each a record with the same columns."""
    BYTES = "bytes"
    """Raw bytes; each point says where and what it is."""
    HOME_ASSISTANT = "home-assistant"
    """Home Assistant's MQTT discovery: devices that describe themselves."""
    SPARKPLUG = "sparkplug"
    """Sparkplug B: births, data and deaths of edge nodes and their devices."""


class Retained(enum.StrEnum):
    """What to do with messages that the broker had kept for new subscribers."""

    TAKE = "take"
    """Take them at every connection."""
    NEW = "new"
    """Take them once, when the subscription is new to the session."""
    IGNORE = "ignore"
    """Never take them."""


class Decimal(enum.StrEnum):
    """What stands before the fraction of a number."""

    POINT = "."
    COMMA = ","


class MqttPoint(FieldOptions, frozen=True, kw_only=True):
    """One value of a message."""

    value: str = ""
    """Where the value stands. In JSON, CBOR and MessagePack: a pointer (RFC 6901) such as ``/meas/p``, a path such
    as ``$.meas.p`` or ``meas.p[0]``, or the key of a member. In SenML: the record's name. In CSV: the column. In
    raw bytes: the whole field as one text, such as ``@4 uint16 little *0.1``. Default: the point's own name."""


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic pattern and what its messages mean."""

    topic: str
    """An MQTT topic filter with named parts: ``site/{device}/telemetry``. A named part is one level;
    ``+`` and a last ``#`` are allowed as well. ``{device}`` names the device, ``{point}`` the point of a text
    payload."""
    payload: Payload = Payload.JSON
    """What a message carries: ``json``, ``cbor``, ``msgpack``, ``senml``, ``csv``, ``text`` (one plain value),
    ``bytes`` (raw bytes), ``home-assistant`` (its discovery), ``sparkplug`` (Sparkplug B)."""
    device: str = ""
    """The device's name; may use named parts of the topic: ``{area}-{device}``. Default: ``{device}``."""
    device_from: str = ""
    """Where the payload itself names the device: a pointer or path such as ``/id``, the column of a CSV payload, or
    ``bn`` (the base name) for SenML. It stands for ``{device}``."""
    records: str = ""
    """Where the payload has an array of records, each with values and a time of its own: ``$.values[*]``. Paths of
    points, ``time``, ``device_from`` and so on are then those within a record; one that begins with ``$`` is one
    of the document. An array that is the whole payload is ``$[*]``. Default: the payload is one record."""
    time: str = ""
    """Where the payload has its source time: a pointer, a path, or the key of a member; the column of a CSV payload;
    a field such as ``@0 uint32`` of raw bytes. Unix time in s, ms, us or ns (told apart by magnitude) or RFC 3339
    text. Default, and where it is missing: the time of arrival. With ``[*]`` at the end of it and of each point's
    ``value`` the payload is in columns: ``{"ts": [...], "v": [...]}``."""
    point_from: str = ""
    """Where a record names its point: ``/name`` in ``{"name": "power", "value": 512}``. Goes with ``value_from``."""
    value_from: str = ""
    """Where the value of that point stands: ``/value``."""
    columns: list[str] = []
    """Names of the columns of a CSV payload in their order, ``-`` for one that is left out:
    ``[ts, voltage, -, power]``. Those that are not used otherwise are points."""
    separator: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] = ","
    """What stands between the columns of a CSV payload: one character, ``"\\t"`` for a tabulator."""
    decimal: Decimal = Decimal.POINT
    """What stands before the fraction of a number in a CSV payload."""
    length: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 0
    """Bytes that a payload of raw bytes has; another length is refused. 0: it ends with the last point."""
    qos: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1
    """1: the broker sends again what the gateway has not acknowledged, and the gateway acknowledges what is
    on disk. 0: what is lost on the way is lost. 2 is not supported."""
    retained: Retained = Retained.TAKE
    """Messages that the broker had kept for new subscribers: ``take`` them at each connection, only where the
    subscription is ``new`` to the session, or ``ignore`` them."""
    share: Annotated[str, msgspec.Meta(pattern=r"^[^/+#\x00]*$")] = ""
    """Name of a shared subscription (``$share/NAME/...``): the broker gives each message to one of those that use
    the name. MQTT 5 only. Default: not shared."""
    labels: dict[str, str] = {}
    """Labels of all points of the subscription: a text with named parts of the topic (``"{area}"``), or
    ``prop:NAME`` for a user property of the messages (MQTT 5). Those of a point go first."""
    points: dict[Name, MqttPoint] = {}
    """Points by name. Left out: each number, boolean and text of a payload becomes a point as it appears."""

    sparkplug: SparkplugOptions | None = None
    """What goes with ``payload: sparkplug``. Default: each of its options has its own."""

    def __post_init__(self) -> None:
        if self.qos == 2:
            raise FieldError("qos", "QoS 2 is not supported; 1 loses nothing either, and doubles carry one time")
        check(self)
        if self.payload is Payload.SPARKPLUG:
            check_subscription(self)
        elif self.sparkplug is not None:
            raise FieldError("sparkplug", "goes with payload: sparkplug")

    @property
    def device_template(self) -> str:
        """The device's name with the named parts that are still to be filled in."""
        return self.device or "{device}"

    @property
    def needs_properties(self) -> bool:
        """Whether messages are wanted with their properties."""
        return any(text.startswith(PROPERTY) for text in self.labels.values())
