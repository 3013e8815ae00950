"""Options of the uplink ``webhook``. Light: imports no protocol library."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from gateway.alerts.config import Severity
from gateway.errors import FieldError
from gateway.units import Duration, Rate
from gateway.uplinks.checks import check_files, check_template
from gateway.uplinks.http_config import HttpAuth, check_headers, check_url
from gateway.uplinks.options import UplinkConfig

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink

FIELDS: Final = frozenset({
    "gateway", "uplink", "rule", "point", "severity", "state", "value", "unit", "quality", "time", "text", "message",
    "id",
})  # fmt: skip
"""What templates may name."""
_URL_FIELDS: Final = frozenset({"gateway", "uplink"})


class Style(enum.StrEnum):
    """What a body looks like."""

    JSON = "json"
    """One object with everything that is known."""
    SLACK = "slack"
    """``{"text": ...}``, which Slack, Mattermost, Rocket.Chat and Google Chat take."""
    TEAMS = "teams"
    """An adaptive card, as workflows of Microsoft Teams take it."""
    FEISHU = "feishu"
    """A text for a robot of Feishu (Lark)."""
    DINGTALK = "dingtalk"
    """A text for a robot of DingTalk."""
    WECOM = "wecom"
    """A text for a robot of WeCom (WeChat Work)."""


class WebhookUplinkConfig(UplinkConfig, frozen=True, kw_only=True, tag="webhook"):
    """Tell people: one POST for each alert that is raised or cleared, and for each sample of other pipelines."""

    url: str
    """``http://`` or ``https://``; may name ``{gateway}`` and ``{uplink}``. What is secret in it is written as
    ``${credential:name}``. Redirects are not followed."""
    style: Style = Style.JSON
    """``json``, or what a service wants: ``slack``, ``teams``, ``feishu``, ``dingtalk``, ``wecom``."""
    message: Annotated[str, msgspec.Meta(min_length=1)] = "[{state}] {severity}: {text} ({gateway})"
    """Template of the line that people read. May name ``{gateway}``, ``{uplink}``, ``{rule}``, ``{point}``,
    ``{severity}``, ``{state}`` (raised or cleared), ``{value}``, ``{unit}``, ``{quality}``, ``{time}``, ``{text}``
    (that of the rule) and ``{id}``."""
    body: dict[str, Any] = msgspec.field(default_factory=dict)
    """A body of your own instead of the style's: any JSON, of which texts may name the same, and ``{message}``."""
    secret: str = ""
    """Signs what is sent, as robots of Feishu and DingTalk ask for it; write ``${credential:name}``."""
    severity: Severity = Severity.INFO
    """The least severity that is sent: ``info``, ``warning`` or ``critical``."""
    cleared: bool = True
    """Also say when an alert is cleared."""
    rate: Rate = Rate(1.0)
    """Requests a second, at most: ``20/m``; the rest waits in the spool."""
    method: Literal["POST", "PUT"] = "POST"
    """``POST`` or ``PUT``."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """More headers by name; write secrets as ``${credential:name}``."""
    auth: HttpAuth | None = None
    """``{bearer: TOKEN}`` or ``{basic: "name:password"}``."""
    timeout: Duration = Duration(10)
    """For a connection and the whole answer; then the link counts as down."""
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
        for field in ("timeout", "rate"):
            if getattr(self, field) <= 0:
                raise FieldError(field, "must be above 0")
        if self.secret and self.style not in {Style.FEISHU, Style.DINGTALK}:
            raise FieldError("secret", "is for the styles feishu and dingtalk; see headers and auth for others")
        if self.secret and self.body and self.style is Style.FEISHU:
            raise FieldError("body", "feishu signs a body of its own")
        check_headers(self.headers, authorized=self.auth is not None)
        check_files(self.ca, self.cert, self.key, secure=secure, hint="write https:// in the url")
        check_template("message", self.message, FIELDS - {"message"})
        for path, text in _texts(("body",), self.body):
            try:
                check_template("body", text, FIELDS)
            except FieldError as error:
                raise FieldError(path, str(error)) from None

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.webhook import WebhookUplink

        return WebhookUplink(self)


def _texts(path: tuple[str | int, ...], node: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """All texts in a body, and where they stand."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _texts((*path, key), value)
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from _texts((*path, at), value)
