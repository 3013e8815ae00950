"""Options of the uplink ``kafka``. Light: imports no protocol library."""

from __future__ import annotations

import enum
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration
from gateway.uplinks.checks import check_files, check_template
from gateway.uplinks.options import BatchOptions

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink


class KafkaKey(enum.StrEnum):
    """What the key of a message is; Kafka keeps the order of messages of one key."""

    GATEWAY = "gateway"
    """The gateway's name: all its batches in one partition of a topic."""
    PIPELINE = "pipeline"
    """``<gateway>/<pipeline>``."""
    DEVICE = "device"
    """First segment of the points' names; a batch becomes a message for each device in it."""
    POINT = "point"
    """The point's name; a batch becomes a message for each point in it."""


class SaslOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Login at the brokers."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """``PLAIN``, ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``."""
    username: str
    """Name to log in with."""
    password: str
    """Password to log in with; write ``${credential:name}``."""


class KafkaUplinkConfig(BatchOptions, frozen=True, kw_only=True, tag="kafka"):
    """Produce batches to Apache Kafka with an idempotent producer; they are done when all in-sync replicas have them.

    Needs the extra ``kafka``.
    """

    servers: Annotated[list[Annotated[str, msgspec.Meta(min_length=1)]], msgspec.Meta(min_length=1)]
    """``host:port`` of some brokers; they tell of the others."""
    topic: Annotated[str, msgspec.Meta(min_length=1)] = "onpath.{gateway}.{pipeline}"
    """May name ``{gateway}``, ``{pipeline}`` and ``{uplink}``. ``frame`` puts its directory messages into the same
    topic, before the batches that refer to them."""
    key_by: KafkaKey = KafkaKey.GATEWAY
    """The messages' key: ``gateway``, ``pipeline``, ``device`` or ``point``."""
    compress: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "zstd"
    """Compression on the wire and in the brokers' logs: ``none``, ``gzip``, ``snappy``, ``lz4`` or ``zstd``."""
    linger: Duration = Duration(0.005)
    """How long messages wait for others to travel with."""
    timeout: Duration = Duration(30)
    """How long a message may take to be acknowledged, retries included; then the link counts as down."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    """Batches produced and not yet acknowledged."""
    tls: bool = False
    """Connect by TLS."""
    ca: str | None = None
    """File with the certificates to trust; if it is missing or empty there is no connection. Default: those of the
    system."""
    cert: str | None = None
    """File with the gateway's own certificate."""
    key: str | None = None
    """File with the private key of ``cert``."""
    sasl: SaslOptions | None = None
    """Login, if the brokers want one."""
    properties: dict[str, str] = msgspec.field(default_factory=dict)
    """Further properties of librdkafka, such as ``{socket.keepalive.enable: "true"}``; not those that delivery rests
    on."""

    def __post_init__(self) -> None:
        if find_spec("confluent_kafka") is None:
            raise FieldError("type", "kafka needs a library that is not installed: pip install 'onpath[kafka]'")
        for number, server in enumerate(self.servers):
            if not _SERVER.fullmatch(server):
                raise FieldError(("servers", number), f"{server!r} is not host:port")
        check_template("topic", self.topic, _TOPIC_FIELDS)
        if not _TOPIC.fullmatch(self.topic.format(gateway="g", pipeline="p", uplink="u")):
            raise FieldError("topic", "a topic has letters, digits, '.', '_' and '-', 249 of them at most")
        if self.timeout < 1:
            raise FieldError("timeout", "must be at least 1s")
        if not 0 <= self.linger < self.timeout:
            raise FieldError("linger", "between 0 and the timeout")
        check_files(self.ca, self.cert, self.key, secure=self.tls, hint="set tls: true")
        if taken := sorted(_OWN & self.properties.keys()):
            raise FieldError(("properties", taken[0]), "is set by the uplink; what is promised of delivery rests on it")

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.kafka import KafkaUplink

        return KafkaUplink(self)


_TOPIC_FIELDS = frozenset({"gateway", "pipeline", "uplink"})
_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_OWN = frozenset({
    "bootstrap.servers", "metadata.broker.list", "enable.idempotence", "acks", "request.required.acks", "retries",
    "message.send.max.retries", "max.in.flight", "max.in.flight.requests.per.connection", "message.timeout.ms",
    "delivery.timeout.ms", "linger.ms", "queue.buffering.max.ms", "compression.type", "compression.codec",
    "security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password", "ssl.ca.location",
    "ssl.certificate.location", "ssl.key.location", "enable.ssl.certificate.verification",
    "ssl.endpoint.identification.algorithm", "transactional.id", "enable.gapless.guarantee", "error_cb", "logger",
    "dr_cb", "on_delivery", "queue.buffering.max.messages",
})  # fmt: skip
