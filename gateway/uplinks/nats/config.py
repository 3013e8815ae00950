"""Options of the NATS uplink. Light: imports no protocol library."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration, Size
from gateway.uplinks.options import BatchOptions

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink

_PORT = 4222
_KNOWN = frozenset({"gateway", "pipeline", "uplink"})
_TOKEN = re.compile(r"[^\s.*>\x00-\x1f\x7f]+")
_SUBJECT_FILTER = re.compile(r"[^\s.]+(\.[^\s.]+)*")
_STREAM = re.compile(r"[^\s.*>/\\\x00-\x1f\x7f]*")


class CreateStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the stream is to be like if there is none yet. A stream that is there is never changed."""

    subjects: tuple[str, ...] = ()
    """Subjects that the stream takes. Default: what ``subject`` makes of any gateway, pipeline and uplink, and the
    directory messages below it."""
    max_age: Duration = Duration(0)
    """Messages are removed when they are this old. ``0``: never."""
    max_bytes: Size = Size(0)
    """Bound of the stream. ``0``: that of the server or account."""
    discard: Literal["new", "old"] = "new"
    """What a full stream does: refuse ``new`` messages, which then wait in the gateway's spool, or drop ``old`` ones
    without a word."""
    duplicate_window: Duration = Duration(7200)
    """How long the server knows record ids and drops repetitions. It keeps them in memory."""
    replicas: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    """How many servers of the cluster keep the stream."""
    storage: Literal["file", "memory"] = "file"
    """Where the stream is kept."""

    def __post_init__(self) -> None:
        for number, subject in enumerate(self.subjects):
            if not _SUBJECT_FILTER.fullmatch(subject):
                raise FieldError(("subjects", number), f"{subject!r} is not a subject; write onpath.> or onpath.*.*")
        for field in ("max_age", "duplicate_window"):
            if getattr(self, field) < 0:
                raise FieldError(field, "must not be negative")


class NatsUplinkConfig(BatchOptions, frozen=True, kw_only=True, tag="nats"):
    """Publish each batch to a NATS JetStream stream; it is done when the stream has stored it."""

    keep: Duration = Duration(600)
    """As for every uplink, but 10 minutes by default: JetStream acknowledges before it has synced to disk, and what a
    power cut takes from it is sent again."""
    url: str | list[str]
    """``nats://host:4222``, or ``tls://host:4222``; a list for several servers of one cluster, tried in a random
    order. With ``tls`` nothing is sent to a server that does not speak TLS."""
    subject: Annotated[str, msgspec.Meta(min_length=1)] = "onpath.{gateway}.{pipeline}"
    """May name ``{gateway}``, ``{pipeline}`` and ``{uplink}``, in which dots become ``_``. ``frame`` puts its directory
    messages below it: ``<subject>.directory.<hash>``."""
    stream: str = "onpath"
    """The stream that takes the subject. Empty: whichever does, and nothing is looked at, created or replayed."""
    create_stream: bool | CreateStream = msgspec.field(default=True, name="create")
    """Create the stream if there is none, with these options. ``false``: it is an error."""
    username: str = ""
    """Name to log in with."""
    password: str = ""
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    token: str = ""
    """Token to log in with; likewise."""
    creds: str | None = None
    """File with a JWT and the seed of its key, as ``nsc`` writes it; read at each connection."""
    nkey: str | None = None
    """File with the seed of an nkey; read at each connection."""
    ca: str | None = None
    """File with the certificates to trust, read at each connection; if it is missing or empty there is no
    connection. Default: those of the system."""
    cert: str | None = None
    """File with the client's certificate, and ``key`` with its private key; read at each connection."""
    key: str | None = None
    """File with the private key of ``cert``."""
    keepalive: Duration = Duration(10)
    """A silent connection is probed this often; it is given up when a probe was not answered by the next one."""
    timeout: Duration = Duration(10)
    """How long to wait for a connection or an acknowledgement before the link counts as down."""
    reconnect: Duration = Duration(1)
    """The longest pause between attempts to connect; each is somewhere between nothing and this."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 64
    """Batches sent and not yet acknowledged."""
    inbox: str = "_INBOX"
    """First part of the subjects on which acknowledgements come back, where a login may not use all of them."""
    monitor: str = ""
    """``http://host:8222``, the server's monitoring port: asked how often the server syncs to disk, which
    ``onpath status`` then shows. Default: unknown."""
    receipts: Literal["broker", "receiver"] = "broker"
    """When a batch is done: when the ``broker`` (here: the stream) has it, or when a ``receiver`` has said on
    ``<subject>.receipt`` that it is safe there."""
    receipt_timeout: Duration = Duration(60)
    """A batch that no receiver has confirmed by then is sent again; the time doubles with each repetition, up to an
    hour. For ``receipts: receiver``."""

    def __post_init__(self) -> None:
        self._check_servers()
        self._check_subjects()
        self._check_login()
        for field in ("keepalive", "timeout", "reconnect", "receipt_timeout"):
            if getattr(self, field) <= 0:
                raise FieldError(field, "must be above 0")
        if self.monitor:
            parts = urlsplit(self.monitor)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise FieldError("monitor", f"{self.monitor!r} is not a URL of a monitoring port: http://host:8222")

    @property
    def servers(self) -> tuple[str, ...]:
        """``url`` as a tuple, also if a single one was written."""
        return (self.url,) if isinstance(self.url, str) else tuple(self.url)

    @property
    def secure(self) -> bool:
        """Whether all servers are spoken to by TLS; none is otherwise."""
        return urlsplit(self.servers[0]).scheme == "tls"

    @property
    def new_stream(self) -> CreateStream:
        """What a new stream is to be like."""
        return self.create_stream if isinstance(self.create_stream, CreateStream) else CreateStream()

    def _check_servers(self) -> None:
        if not self.servers:
            raise FieldError("url", "name a server")
        for server in self.servers:
            _check_server(server)
        if len({urlsplit(server).scheme for server in self.servers}) > 1:
            raise FieldError("url", "either all servers by tls:// or none: a login would go to some in the clear")

    def _check_subjects(self) -> None:
        _check_subject("subject", self.subject, _KNOWN)
        _check_subject("inbox", self.inbox, frozenset())
        if not _STREAM.fullmatch(self.stream):
            raise FieldError("stream", f"{self.stream!r}: the name of a stream has no space, dot, slash, * or >")
        if not self.stream and isinstance(self.create_stream, CreateStream):
            raise FieldError("stream", "a stream that is to be created needs a name")

    def _check_login(self) -> None:
        if self.password and not self.username:
            raise FieldError("password", "a password needs a username")
        ways = [way for way in ("username", "token", "creds", "nkey") if getattr(self, way)]
        if len(ways) > 1:
            raise FieldError(ways[1], f"one login only: there is {ways[0]} already")
        for field in ("creds", "nkey", "ca", "cert", "key"):
            if getattr(self, field) == "":
                raise FieldError(field, "the name of the file is empty; leave the key out to do without it")
        if (self.cert is None) != (self.key is None):
            raise FieldError("key" if self.cert is None else "cert", "cert and key go together")
        used = next((field for field in ("ca", "cert", "key") if getattr(self, field) is not None), None)
        if used and not self.secure:
            raise FieldError(used, "certificates need TLS: write tls:// in the url")

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.nats.uplink import NatsUplink

        return NatsUplink(self)


def _check_server(server: str) -> None:
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError as error:
        raise FieldError("url", f"{server!r} is not a URL: {error}") from None
    if parts.scheme not in {"nats", "tls"} or not parts.hostname or port == 0 or parts.path not in {"", "/"}:
        raise FieldError("url", f"{server!r} is not a server's URL; write nats://host:{_PORT} or tls://host:{_PORT}")
    if parts.username is not None or parts.query or parts.fragment:
        raise FieldError("url", f"{server!r}: a login has keys of its own: username and password, token, creds or nkey")


def _check_subject(field: str, subject: str, known: frozenset[str]) -> None:
    """Refuse what is not a subject to publish to, with ``{names}`` of those known."""
    try:
        parts = list(string.Formatter().parse(subject))
        named = {name for _, name, _, _ in parts if name is not None}
    except ValueError as error:
        raise FieldError(field, f"{subject!r}: {error}") from None
    if unknown := named - known:
        words = ", ".join(f"{{{name}}}" for name in sorted(known)) or "none"
        raise FieldError(field, f"{{{min(unknown)}}} is unknown; known: {words}")
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise FieldError(field, f"{subject!r}: a name stands alone in its braces")
    filled = subject.format(gateway="x", pipeline="x", uplink="x")
    if filled.startswith("$") or not all(_TOKEN.fullmatch(token) for token in filled.split(".")):
        raise FieldError(field, f"{subject!r} is not a subject: words with dots between them, without spaces, * or >")
