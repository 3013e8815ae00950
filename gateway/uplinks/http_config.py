"""Options of the uplink ``http``. Light: imports no protocol library."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration, Size
from gateway.uplinks.checks import check_files, check_template
from gateway.uplinks.compress import Compress
from gateway.uplinks.options import TimeFormat, UplinkConfig

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink


class HttpFormat(enum.StrEnum):
    """How batches are written into the body of a request."""

    JSON = "json"
    """JSON lines: one object a batch."""
    FRAME = "frame"
    """Messages of the format ``frame`` back to back."""
    INFLUX = "influx"
    """InfluxDB's line protocol."""


class Refused(enum.StrEnum):
    """What is done with a batch that the server refuses for its content."""

    HOLD = "hold"
    """It stays in the spool and is sent again from time to time, alone; each refusal is logged."""
    DROP = "drop"
    """It is given up, counted, and a loss marker with the reason ``refused`` goes upstream."""


class Precision(enum.StrEnum):
    """Unit of the times in line protocol; finer digits are cut off."""

    NS = "ns"
    US = "us"
    MS = "ms"
    S = "s"


class InfluxQuality(enum.StrEnum):
    """Where line protocol tells the quality of a sample."""

    FIELD = "field"
    """``<field>_quality="questionable,old-data"`` beside the field, only where the quality is not good."""
    TAG = "tag"
    """A tag ``quality`` on each line; samples of different quality are different series."""
    NONE = "none"
    """Nowhere."""


class HttpAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway proves who it is; one of the two."""

    bearer: str = ""
    """A token, sent as ``Authorization: Bearer <token>``; write ``${credential:name}``."""
    basic: str = ""
    """``name:password``, sent as HTTP Basic; write ``${credential:name}`` for all of it or for the password."""

    def __post_init__(self) -> None:
        if bool(self.bearer) == bool(self.basic):
            raise FieldError("bearer", "one of bearer and basic")
        if self.basic and ":" not in self.basic:
            raise FieldError("basic", "write name:password")
        if not _HEADER_VALUE.fullmatch(self.bearer):
            raise FieldError("bearer", "a token is one line of printable characters")


class JoinOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many batches go into one request. None is waited for: only what is there is joined."""

    max: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    """Batches a request, at most."""
    size: Size = Size(2**20)
    """Bytes of a body before compression, at most; a batch that is larger goes alone."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise FieldError("size", "must be above 0")


_POINT_FIELDS = frozenset({"gateway", "pipeline", "point", "device", "name"})


class InfluxOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How points become lines.

    Templates may name ``{gateway}``, ``{pipeline}``, ``{point}`` (the whole name), ``{device}`` (its first segment,
    empty if it has one only) and ``{name}`` (what comes behind the device).
    """

    measurement: Annotated[str, msgspec.Meta(min_length=1)] = "{pipeline}"
    """Template of the measurement."""
    field: Annotated[str, msgspec.Meta(min_length=1)] = "{name}"
    """Template of the field key."""
    tags: dict[str, str] = msgspec.field(default_factory=lambda: {"gateway": "{gateway}", "device": "{device}"})
    """Templates of the tags by key; a tag that comes out empty is left out."""
    labels: tuple[str, ...] = ()
    """Labels of points that become tags of their name."""
    integers: bool = False
    """Write states without texts, and counters whose resolution is whole, as integers; off: all numbers are floats, so
    that a field never changes its type. Results of windows are floats always."""
    precision: Precision = Precision.NS
    """Unit of times: ``ns``, ``us``, ``ms`` or ``s``; the server is told by ``precision=`` in the query."""
    quality: InfluxQuality = InfluxQuality.FIELD
    """Where the quality goes: ``field`` (where it is not good), ``tag`` or ``none``."""

    def __post_init__(self) -> None:
        check_template("measurement", self.measurement, _POINT_FIELDS)
        check_template("field", self.field, _POINT_FIELDS)
        for key, template in self.tags.items():
            if not key:
                raise FieldError("tags", "a tag needs a key")
            check_template("tags", template, _POINT_FIELDS)


class HttpUplinkConfig(UplinkConfig, frozen=True, kw_only=True, tag="http"):
    """Send batches in HTTP requests; they leave the spool when the server has answered with 2xx."""

    url: str
    """``http://`` or ``https://``; may name ``{gateway}``, ``{pipeline}`` and ``{uplink}``. Redirects are not
    followed."""
    method: Literal["POST", "PUT"] = "POST"
    """``POST`` or ``PUT``."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """More headers by name; write secrets as ``${credential:name}``."""
    auth: HttpAuth | None = None
    """``{bearer: TOKEN}`` or ``{basic: "name:password"}``."""
    format: HttpFormat = HttpFormat.JSON
    """``json`` (JSON lines), ``frame`` (compact, between gateways) or ``influx`` (line protocol)."""
    time: TimeFormat = TimeFormat.RFC3339
    """How ``json`` writes times: ``rfc3339`` or ``ns``."""
    influx: InfluxOptions = InfluxOptions()
    """How ``influx`` makes lines of points."""
    batch: JoinOptions = JoinOptions()
    """How many batches go into one request."""
    compress: Compress = Compress.NONE
    """Compression of bodies: ``none``, ``gzip`` or ``zstd``; the server must know it."""
    timeout: Duration = Duration(10)
    """For a connection and the whole answer; then the link counts as down."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    """Requests sent and not yet answered."""
    refused: Refused = Refused.HOLD
    """What is done with a batch that the server refuses (400, 409, 413, 422): ``hold`` or ``drop``."""
    ca: str | None = None
    """File with the certificates to trust, read at each start of the link; if it is missing or empty there is no
    connection. Default: those of the system."""
    cert: str | None = None
    """File with the gateway's own certificate."""
    key: str | None = None
    """File with the private key of ``cert``."""
    proxy: str = ""
    """``http://host:port`` of a proxy, or ``env`` for what ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` say.
    Default: none."""

    def __post_init__(self) -> None:
        check_template("url", self.url, _URL_FIELDS)
        secure = check_url("url", self.url, ("http", "https")) == "https"
        if self.proxy not in {"", "env"}:
            check_url("proxy", self.proxy, ("http",))
        if self.timeout <= 0:
            raise FieldError("timeout", "must be above 0")
        check_headers(self.headers, authorized=self.auth is not None)
        check_files(self.ca, self.cert, self.key, secure=secure, hint="write https:// in the url")

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.http import HttpUplink

        return HttpUplink(self)


_URL_FIELDS = frozenset({"gateway", "pipeline", "uplink"})
_OWN_HEADERS = frozenset({
    "content-length", "content-type", "content-encoding", "transfer-encoding", "host", "connection", "idempotency-key",
})  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\uffff]*")


def check_headers(headers: dict[str, str], *, authorized: bool) -> None:
    """Refuse headers that cannot be sent, or that are set already.

    Raises:
        FieldError: naming ``headers``.
    """
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise FieldError(("headers", name), "is not the name of a header")
        if not _HEADER_VALUE.fullmatch(value):
            raise FieldError(("headers", name), "a header is one line of printable characters")
        if name.lower() in _OWN_HEADERS:
            raise FieldError(("headers", name), "is set by the uplink itself")
        if name.lower() == "authorization" and authorized:
            raise FieldError(("headers", name), "auth sets it already")


def check_url(field: str, url: str, schemes: tuple[str, ...]) -> str:
    """Its scheme.

    Raises:
        FieldError: it is no such address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FieldError(field, f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        wanted = " or ".join(f"{scheme}://host" for scheme in schemes)
        raise FieldError(field, f"{url!r} is not the URL that is wanted here; write {wanted}")
    if field == "url" and (parts.username is not None or parts.fragment):
        raise FieldError(field, "a login has a key of its own, auth, and # has no place")
    if "{" in (parts.netloc or ""):
        raise FieldError(field, "the host cannot be a template")
    return parts.scheme
