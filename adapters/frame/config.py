"""Options of the frame adapter. Light: imports no protocol library."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from adapters.base import AdapterConfig
from adapters.frame.topics import check_topic
from adapters.mqtt.config import EMBEDDED, check_broker_url, check_tls
from gateway.errors import FieldError
from gateway.units import Duration, Size

if TYPE_CHECKING:
    from adapters.base import Adapter

NATS_SCHEMES = frozenset({"nats", "tls"})
_NAME_FIELDS = frozenset({"gateway", "point", "pipeline"})


class FrameConfig(AdapterConfig, frozen=True, kw_only=True, tag="frame"):
    """Take what other gateways send, as if each of them were a device."""

    url: str
    """Where their uplinks send to: ``mqtt://host:1883``, ``mqtts://host:8883``, ``ws://host/mqtt``, ``wss://host/mqtt``,
    or NATS JetStream by ``nats://host:4222`` and ``tls://host:4222``."""
    topics: Annotated[list[str], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["onpath/+/+"])
    """Topic filters of their batches; directory messages below them are found by themselves. With NATS, ``/``, ``+``
    and ``#`` stand for ``.``, ``*`` and ``>``."""
    children: list[str] = msgspec.field(default_factory=lambda: ["*"])
    """Names of the gateways that are taken, or globs. Others are shown by ``onpath discover``, and their batches are
    acknowledged to the broker and left out."""
    name: str = "{gateway}/{point}"
    """What a point is called here. May name ``{gateway}``, ``{pipeline}`` and ``{point}``, the last one always."""
    receipts: bool = False
    """Tell each gateway which of its batches are on disk here. Its uplink needs ``receipts: receiver``, and then keeps
    a batch until it is told."""
    client_id: str = ""
    """The name by which the broker knows the session, and JetStream the durable consumer; it must stay the same.
    Default: ``onpath-<gateway>-<adapter>``."""
    stream: str = ""
    """The JetStream stream. Default: the one that takes the first of the topics."""
    ack_wait: Duration = Duration(30)
    """JetStream sends again what is not acknowledged by then, also to a gateway that was killed in between."""
    version: Literal["3.1.1", "5"] = "3.1.1"
    """MQTT's protocol version."""
    username: str = ""
    """Name to log in with."""
    password: str = ""
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    ca: str | None = None
    """File with the certificates to trust, read at each connection. Default: those of the system."""
    cert: str | None = None
    """File with the client's own certificate, and ``key`` with its private key."""
    key: str | None = None
    """File with the private key of ``cert``."""
    keepalive: Duration = Duration(15)
    """A silent connection is probed this often."""
    timeout: Duration = Duration(10)
    """How long a connection, log-in and subscription may take together."""
    max_payload: Size = Size(8 * 2**20)
    """A larger message is not decoded but counted as ``oversize``, and acknowledged."""
    patience: Duration = Duration(60)
    """How long a batch is held whose directory message has not come. It is not acknowledged, and comes again."""
    every: Duration = Duration(0)
    """How often each gateway has something to send; three times as long without is stale. ``0``: learned from what
    comes."""

    def __post_init__(self) -> None:
        if self.is_nats:
            self._check_nats()
        else:
            check_broker_url(self.url)
            check_tls(self.url, self.ca, self.cert, self.key)
            if self.stream:
                raise FieldError("stream", "goes with nats:// only")
        if (self.cert is None) != (self.key is None):
            raise FieldError("key" if self.cert is None else "cert", "cert and key go together")
        if self.password and not self.username:
            raise FieldError("password", "a password needs a username")
        for number, topic in enumerate(self.topics):
            check_topic(("topics", number), topic)
        _check_name(self.name)
        if not 1 <= self.keepalive <= 65_535:
            raise FieldError("keepalive", "between 1s and 65535s")
        for field in ("timeout", "patience", "ack_wait"):
            if getattr(self, field) <= 0:
                raise FieldError(field, "must be above 0")
        if not 1 <= self.max_payload <= 0x0FFF_FFFF:
            raise FieldError("max_payload", "between 1B and 268435455B")

    def _check_nats(self) -> None:
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise FieldError("url", f"{self.url!r} is not a URL: {error}") from None
        if not parts.hostname or port == 0 or parts.username is not None or parts.path not in {"", "/"}:
            raise FieldError("url", f"{self.url!r}: write nats://host:4222; a login has keys of its own")

    @property
    def is_nats(self) -> bool:
        """Whether the messages come from a JetStream stream."""
        return self.url != EMBEDDED and self.url.partition("://")[0] in NATS_SCHEMES

    def create(self) -> Adapter:
        """See the base class."""
        from adapters.frame.adapter import FrameAdapter

        return FrameAdapter(self)


def _check_name(name: str) -> None:
    try:
        named = {field for _, field, _, _ in string.Formatter().parse(name) if field is not None}
    except ValueError as error:
        raise FieldError("name", f"{name!r}: {error}") from None
    if unknown := named - _NAME_FIELDS:
        raise FieldError("name", f"{{{min(unknown)}}} is unknown; known: {{gateway}}, {{pipeline}}, {{point}}")
    if "point" not in named:
        raise FieldError("name", "must name {point}, or all points would be one")
