"""Options of the uplinks, and their explicit list; also the schema of ``uplinks:`` in YAML."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from adapters.mqtt.config import check_broker_url, check_state_topic, check_tls
from gateway.errors import FieldError
from gateway.units import Duration, Size
from gateway.uplinks.file_config import FileUplinkConfig
from gateway.uplinks.http_config import HttpUplinkConfig
from gateway.uplinks.kafka_config import KafkaUplinkConfig
from gateway.uplinks.nats.config import NatsUplinkConfig
from gateway.uplinks.options import BatchOptions, Format, TimeFormat, UplinkConfig
from gateway.uplinks.sparkplug.config import SparkplugUplinkConfig
from gateway.uplinks.webhook_config import WebhookUplinkConfig

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink

__all__ = [
    "UPLINKS",
    "FileUplinkConfig",
    "Format",
    "HttpUplinkConfig",
    "KafkaUplinkConfig",
    "MqttUplinkConfig",
    "NatsUplinkConfig",
    "StdoutUplinkConfig",
    "TimeFormat",
    "UplinkConfig",
    "WebhookUplinkConfig",
]


class MqttUplinkConfig(BatchOptions, frozen=True, kw_only=True, tag="mqtt"):
    """Publish each batch with QoS 1; it leaves the spool when the broker has acknowledged it."""

    url: str
    """``mqtt://host:1883``, ``mqtts://host:8883`` for TLS, or over WebSockets ``ws://host/mqtt`` and
    ``wss://host/mqtt``."""
    topic: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^+#]+$")] = "onpath/{gateway}/{pipeline}"
    """May name ``{gateway}``, ``{pipeline}`` and ``{uplink}``. ``frame`` puts its directory messages,
    retained, below it: ``<topic>/directory/<hash>``."""
    state_topic: str = ""
    """Where to say whether this uplink is connected, retained: ``online`` and ``offline`` as JSON. The broker
    itself says so when the link is lost. May name ``{gateway}`` and ``{uplink}``. Default: nowhere."""
    version: Literal["3.1.1", "5"] = "3.1.1"
    """MQTT's protocol version; every broker speaks 3.1.1."""
    client_id: str = ""
    """Default: ``onpath-<gateway>-<uplink>``."""
    username: str = ""
    """Name to log in with."""
    password: str = ""
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    ca: str | None = None
    """File with the certificates to trust, read at each connection; if it is missing or empty there is no
    connection. Default: those of the system."""
    cert: str | None = None
    """File with the client's certificate, and ``key`` with its private key; read at each connection."""
    key: str | None = None
    """File with the private key of ``cert``."""
    keepalive: Duration = Duration(30)
    """A silent connection is probed this often."""
    timeout: Duration = Duration(10)
    """How long to wait for a connection or an acknowledgement before the link counts as down."""
    reconnect: Duration = Duration(1)
    """The longest pause between attempts to connect; each is somewhere between nothing and this."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """Batches sent and not yet acknowledged; an MQTT 5 broker may want fewer."""
    max_payload: Size = Size(0)
    """The largest message that the broker takes: a batch that is larger is given up, with a loss marker. ``0``: what an
    MQTT 5 broker says. One of 3.1.1 can only drop the connection."""
    receipts: Literal["broker", "receiver"] = "broker"
    """When a batch is done: when the ``broker`` has acknowledged it, or when a ``receiver`` has said on
    ``<topic>/receipt`` that it is safe there."""
    receipt_timeout: Duration = Duration(60)
    """A batch that no receiver has confirmed by then is sent again; the time doubles with each repetition, up to an
    hour. For ``receipts: receiver``."""

    def __post_init__(self) -> None:
        check_broker_url(self.url)
        _check_topic(self.topic)
        for field in ("keepalive", "timeout", "reconnect", "receipt_timeout"):
            if getattr(self, field) <= 0:
                raise FieldError(field, "must be above 0")
        check_tls(self.url, self.ca, self.cert, self.key)
        check_state_topic(self.state_topic, {"gateway", "uplink"})

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.mqtt import MqttUplink

        return MqttUplink(self)


class StdoutUplinkConfig(BatchOptions, frozen=True, kw_only=True, tag="stdout"):
    """Write each batch as one line to standard output."""

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.stdout import StdoutUplink

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


UPLINKS: tuple[type[UplinkConfig], ...] = (
    MqttUplinkConfig,
    NatsUplinkConfig,
    SparkplugUplinkConfig,
    HttpUplinkConfig,
    KafkaUplinkConfig,
    FileUplinkConfig,
    StdoutUplinkConfig,
    WebhookUplinkConfig,
)
