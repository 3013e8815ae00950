"""Options of the Sparkplug uplink. Light: imports no protocol library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from adapters.mqtt.config import check_broker_url, check_tls
from gateway.errors import FieldError
from gateway.units import Duration
from gateway.uplinks.options import UplinkConfig

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink

_FORBIDDEN = re.compile(r"[+#/\x00-\x1f\x7f]")


class SparkplugUplinkConfig(UplinkConfig, frozen=True, kw_only=True, tag="sparkplug"):
    """Be a Sparkplug B edge node (version 3.0) at an MQTT 3.1.1 broker: births, data, deaths, for SCADA hosts."""

    url: str
    """``mqtt://host:1883``, ``mqtts://host:8883`` for TLS, or over WebSockets ``ws://host/mqtt`` and
    ``wss://host/mqtt``."""
    group: str
    """The Sparkplug group id."""
    node: str = "{gateway}"
    """The edge node id; may name ``{gateway}``. Group and node together must be unique at the broker."""
    host: str = ""
    """Id of the primary host application: nothing is sent unless its STATE says that it is online; until then
    everything waits in the spool. Left out: nobody is waited for."""
    devices: bool = True
    """The first segment of a point's name is its Sparkplug device. Off: all points are metrics of the node."""
    alias: bool = True
    """Data name each metric by a number that the birth gives. Off: by its name, always."""
    datatypes: bool = False
    """Data repeat the data types of the births. Sparkplug says that they should not; hosts that are built on
    npm's sparkplug-payload may see null without it."""
    questionable: Literal["good", "bad"] = "good"
    """Sparkplug has no word between good and bad: what the value of questionable quality is called."""
    qos: Literal[0, 1] = 0
    """QoS of data. 0 is what Sparkplug prescribes. 1 does not conform; brokers keep such data for hosts that are
    away with a persistent session."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """Batches sent and not yet confirmed."""
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
    """A silent connection is probed this often; after one and a half times as long the broker tells the hosts
    that the node is dead."""
    timeout: Duration = Duration(10)
    """How long to wait for a connection or a confirmation before the link counts as down."""

    def __post_init__(self) -> None:
        check_broker_url(self.url)
        check_tls(self.url, self.ca, self.cert, self.key)
        for field in ("keepalive", "timeout"):
            if getattr(self, field) <= 0:
                raise FieldError(field, "must be above 0")
        _check_id("group", self.group)
        _check_id("node", self.node.replace("{gateway}", "gateway"))
        if self.host:
            _check_id("host", self.host)

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.sparkplug.uplink import SparkplugUplink

        return SparkplugUplink(self)


def _check_id(field: str, text: str) -> None:
    if not text or len(text.encode()) > 256:
        raise FieldError(field, "a Sparkplug id has 1 to 256 bytes")
    if found := _FORBIDDEN.search(text):
        raise FieldError(field, f"a Sparkplug id is one level of a topic: {found[0]!r} cannot be part of it")
    if "{" in text or "}" in text:
        raise FieldError(field, "only node may have a placeholder, {gateway}")
