"""Batches as notes for people: what changed, written as each service wants it. No I/O."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

from gateway import quality
from gateway.alerts.text import Change, changes_in, fill, shown
from gateway.batch import Batch, record_id
from gateway.directory import Directory
from gateway.uplinks.options import TimeFormat
from gateway.uplinks.webhook_config import Style, WebhookUplinkConfig
from gateway.wire.record import samples
from pipelines.operators.judge.alert_told import LEVELS, PREFIX

_RANK: Final = {level: rank for rank, level in enumerate(LEVELS)}
_RETRY: Final = {
    Style.FEISHU: frozenset({9499, 11232, 11233, 99991400}),  # too many requests
    Style.DINGTALK: frozenset({130101, 660026, 410100, -1}),
    Style.WECOM: frozenset({45009, -1}),
}
"""Codes of these services that mean: later."""


@dataclass(frozen=True, slots=True)
class Note:
    """One request."""

    key: str
    """What tells it from all others."""
    fields: dict[str, str]
    facts: dict[str, Any]
    """The same as JSON types, for the style ``json``."""


class Notes:
    """Makes notes of batches."""

    def __init__(self, config: WebhookUplinkConfig, gateway: str, uplink: str, directory: Directory) -> None:
        self._config = config
        self._gateway = gateway
        self._uplink = uplink
        self._directory = directory

    def of(self, batch: Batch) -> list[Note]:
        """Those of a batch, in order; always the same for the same batch."""
        record = record_id(self._gateway, batch.epoch, batch.seq)
        if batch.loss is not None:
            return [self._loss(batch, f"{record}/0")]
        return [*self._alerts(batch, record), *self._samples(batch, record)]

    def _alerts(self, batch: Batch, record: str) -> Iterator[Note]:
        least = _RANK[self._config.severity.value]
        changes = sorted(changes_in(batch.frame, self._directory), key=lambda change: change.time_ns)
        for number, change in enumerate(changes):
            if _RANK[change.severity] >= least and (change.raised or self._config.cleared):
                yield self._alert(change, f"{record}/{number}")

    def _alert(self, change: Change, key: str) -> Note:
        facts = change.as_dict(self._gateway)
        fields = change.fields(self._gateway) | {"text": facts["text"], "quality": ""}
        return self._note(key, fields, {"kind": "alert", **facts})

    def _samples(self, batch: Batch, record: str) -> Iterator[Note]:
        rows = samples(batch.frame, self._directory, TimeFormat.RFC3339)
        rows = [row for row in rows if not row["point"].startswith(PREFIX)]
        for number, row in enumerate(rows):
            unit = self._unit(row["point"])
            value = shown(row["value"], row.get("reason", ""))
            text = fill("{point} is {value} {unit}", {"point": row["point"], "value": value, "unit": unit})
            fields = {
                "rule": "", "severity": "info", "state": "sample", "point": row["point"], "value": value, "unit": unit,
                "quality": row["quality"], "time": row["time"], "text": text,
            }  # fmt: skip
            yield self._note(f"{record}/s{number}", fields, {"kind": "sample", "unit": unit, "text": text, **row})

    def _unit(self, name: str) -> str:
        point = self._directory.find(name)
        return "" if point is None else self._directory.point(point).unit

    def _loss(self, batch: Batch, key: str) -> Note:
        assert batch.loss is not None
        text = f"{batch.loss.count} samples for {self._uplink} were lost: {batch.loss.reason}"
        fields = {
            "rule": "", "severity": "warning", "state": "lost", "point": "", "value": str(batch.loss.count), "unit": "",
            "quality": quality.to_text(quality.INVALID), "time": "", "text": text,
        }  # fmt: skip
        facts = {"kind": "loss", "count": batch.loss.count, "reason": batch.loss.reason, "text": text}
        return self._note(key, fields, facts)

    def _note(self, key: str, fields: dict[str, str], facts: dict[str, Any]) -> Note:
        fields = fields | {"gateway": self._gateway, "uplink": self._uplink, "id": key}
        message = fill(self._config.message, fields)
        return Note(
            key, fields | {"message": message}, {"id": key, "gateway": self._gateway, **facts, "message": message}
        )


def body_of(note: Note, config: WebhookUplinkConfig, now_s: float) -> bytes:
    """What is posted."""
    if config.body:
        return _encoded(_filled(config.body, note.fields))
    body = _styled(note, config.style)
    if config.secret and config.style is Style.FEISHU:
        stamp = str(int(now_s))
        digest = hmac.new(f"{stamp}\n{config.secret}".encode(), b"", hashlib.sha256).digest()
        body = {"timestamp": stamp, "sign": base64.b64encode(digest).decode(), **body}
    return _encoded(body)


def url_of(url: str, config: WebhookUplinkConfig, now_s: float) -> str:
    """Where it is posted; robots of DingTalk want their signature there."""
    if not config.secret or config.style is not Style.DINGTALK:
        return url
    stamp = str(int(now_s * 1000))
    digest = hmac.new(config.secret.encode(), f"{stamp}\n{config.secret}".encode(), hashlib.sha256).digest()
    sign = quote_plus(base64.b64encode(digest))
    return f"{url}{'&' if '?' in url else '?'}timestamp={stamp}&sign={sign}"


def _styled(note: Note, style: Style) -> dict[str, Any]:
    message = note.fields["message"]
    match style:
        case Style.SLACK:
            return {"text": message}
        case Style.FEISHU:
            return {"msg_type": "text", "content": {"text": message}}
        case Style.DINGTALK | Style.WECOM:
            return {"msgtype": "text", "text": {"content": message}}
        case Style.TEAMS:
            text = {"type": "TextBlock", "text": message, "wrap": True}
            card = {"type": "AdaptiveCard", "version": "1.4", "body": [text]}
            attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
            return {"type": "message", "attachments": [attachment]}
        case _:
            return note.facts


def _filled(node: Any, fields: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return fill(node, fields)
    if isinstance(node, dict):
        return {key: _filled(value, fields) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, fields) for value in node]
    return node


def _encoded(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


def refusal(style: Style, text: str) -> tuple[int, str, bool]:
    """What a service says in an answer with 2xx: its code (0: taken), in words, and whether to try again later."""
    if style not in _RETRY:
        return 0, "", False
    try:
        said = json.loads(text)
    except ValueError:
        return 0, "", False
    if not isinstance(said, dict):
        return 0, "", False
    code = next((said[key] for key in ("code", "errcode", "StatusCode") if isinstance(said.get(key), int)), 0)
    words = next((said[key] for key in ("msg", "errmsg", "StatusMessage") if isinstance(said.get(key), str)), "")
    return code, words, code in _RETRY[style]
