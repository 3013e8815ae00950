"""What is raised now, and what was raised and cleared: for the console, ``onpath status`` and the log.

The truth is in the engine: the step of each rule knows what it has raised, also after a restart. The board follows
what commits tell, and asks the engine where it cannot know: at a start, after a reload, and when the store has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.alerts.config import AlertConfig, Severity
from gateway.alerts.text import Change, changes_in, fill, shown
from gateway.errors import OnpathError, StoreError
from gateway.point import ALERT
from pipelines.operators.judge.alert import Alert, Open

if TYPE_CHECKING:
    from gateway.frame import Frame
    from gateway.inside import Inside

log = logging.getLogger(__name__)

RECENT: Final = 500
"""Changes that are kept for who looks."""
MANY: Final = 20
"""More changes than that in one commit share one line of the log."""
MEMORY: Final = ("own alerts", "acknowledged")
"""Where acknowledgements are remembered; no adapter can have this name."""
_LOGGED: Final = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}
Key = tuple[str, str]
"""Rule and point."""


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody has seen an alert."""

    by: str
    time_ms: int


@dataclass(slots=True)
class _Raised:
    """An alert that is raised."""

    severity: str
    since_ns: int
    value: float | str | None
    text: str


class Board:
    """Lives on the event loop."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._raised: dict[Key, _Raised] = {}
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._seen: dict[Key, Acknowledged] = {}
        self.raised_total: Counter[str] = Counter()
        """How often each rule was raised since the daemon began."""

    async def begin(self) -> None:
        """Take up what was raised and acknowledged before a restart."""
        self._recall()
        await self.ask()

    def doubt(self) -> None:
        """The store has failed, and works again: what was told meanwhile came to nobody here."""
        self._asking = asyncio.create_task(self._ask_quietly(), name="alerts")

    async def _ask_quietly(self) -> None:
        with contextlib.suppress(StoreError):  # then it fails again, and this is called again
            await self.ask()

    def _recall(self) -> None:
        saved = self._inside.intake.memory.get(MEMORY)
        rows: list[tuple[str, str, Acknowledged]] = []
        if saved is not None:
            try:
                rows = msgspec.json.decode(saved, type=list[tuple[str, str, Acknowledged]])
            except msgspec.DecodeError:
                log.warning("what was acknowledged of alerts cannot be read, and is forgotten")
        self._seen = {(rule, point): one for rule, point, one in rows}

    def take(self, told: Frame) -> None:
        """What a commit has told."""
        if not len(told):
            return
        changes = changes_in(told, self._inside.directory)
        gateway = self._inside.config.gateway
        before = len(self._seen)
        for change in changes:
            self._note(change, gateway)
        if len(self._seen) != before:
            self._save()
        self._log(changes, gateway)

    def _note(self, change: Change, gateway: str) -> None:
        key = change.rule, change.point
        self._recent.append(change.as_dict(gateway))
        if change.raised:
            self._raised[key] = _Raised(change.severity, change.time_ns, change.value, change.text(gateway))
            self.raised_total[change.rule] += 1
        else:
            self._raised.pop(key, None)
            self._seen.pop(key, None)

    @staticmethod
    def _log(changes: list[Change], gateway: str) -> None:
        if len(changes) > MANY:
            rules = Counter(f"{change.rule} {change.state}" for change in changes)
            log.warning("alerts: %s", ", ".join(f"{count} times {what}" for what, count in rules.most_common(MANY)))
            return
        for change in changes:
            facts = {"alert": change.rule, "point": change.point, "severity": change.severity, "state": change.state}
            if change.raised:
                level = _LOGGED.get(change.severity, logging.WARNING)
                log.log(level, "alert %s, %s: %s", change.rule, change.severity, change.text(gateway), extra=facts)
            else:
                seen = f"{shown(change.value, change.reason)} {change.unit}".strip()
                log.info("alert %s: over: %s is %s", change.rule, change.point, seen, extra=facts)

    async def ask(self) -> None:
        """Take what the engine says for what is raised."""
        found = await self._inside.intake.on_store(self._open)
        raised = {key: one for key, one in found.items() if one.raised}
        fresh = {key: self._of(key, one) for key, one in raised.items() if key not in self._raised}
        over = [key for key in self._raised if key not in raised]
        self._raised = {key: one for key, one in self._raised.items() if key in raised} | fresh
        self._seen = {key: one for key, one in self._seen.items() if key in raised}
        self._save()
        for (rule, _), one in list(fresh.items())[:MANY]:
            log.log(_LOGGED.get(one.severity, logging.WARNING), "alert %s, %s: %s", rule, one.severity, one.text)
        for rule, point in over[:MANY]:
            log.info("alert %s: over: %s", rule, point)

    def _open(self) -> dict[Key, Open]:
        directory = self._inside.directory
        return {(rule, directory.name(one.point)): one for rule, step in self._steps().items() for one in step.open()}

    def _steps(self) -> dict[str, Alert]:
        """The running step of each rule."""
        pipelines = self._inside.intake.engine.graph.pipelines
        found = {name.removeprefix(ALERT): one for name, one in pipelines.items() if name.startswith(ALERT)}
        operators = ((rule, pipeline.steps[0].operator) for rule, pipeline in found.items())
        return {rule: operator for rule, operator in operators if isinstance(operator, Alert)}

    def _of(self, key: Key, one: Open) -> _Raised:
        value = self._value(one)
        severity = self._inside.config.alerts[key[0]].severity if key[0] in self._inside.config.alerts else "warning"
        return _Raised(str(severity), one.told_ns, value, self._text(key, value))

    def _value(self, one: Open) -> float | str | None:
        texts = self._inside.directory.states(one.point)
        if texts and one.value.is_integer() and 0 <= one.value < len(texts):
            return texts[int(one.value)]
        return one.value if one.value - one.value == 0 else None

    def _text(self, key: Key, value: float | str | None) -> str:
        rule, name = key
        options, point = self._inside.config.alerts.get(rule), self._inside.directory.find(name)
        fields = {
            "gateway": self._inside.config.gateway,
            "rule": rule,
            "point": name,
            "severity": str(options.severity) if options else "",
            "state": "raised",
            "unit": self._inside.directory.point(point).unit if point is not None and value is not None else "",
            "value": shown(value),
        }
        return fill(options.template if options else "{rule}: {point}", fields)

    async def acknowledge(self, rule: str, point: str, by: str) -> dict[str, Any]:
        """Somebody has seen an alert: it stays raised, and is shown so, also after a restart.

        Raises:
            OnpathError: it is not raised.
        """
        key = rule, point
        if key not in self._raised:
            raise OnpathError(f"the alert {rule} is not raised for {point}")
        if key not in self._seen:
            self._seen[key] = Acknowledged(by=by, time_ms=self._inside.clock.now_ns() // 1_000_000)
            self._save()
            log.info("alert %s: %s: acknowledged by %s", rule, point, by)
        return {"rule": rule, "point": point, **msgspec.structs.asdict(self._seen[key])}

    def _save(self) -> None:
        rows = [(rule, point, one) for (rule, point), one in self._seen.items()]
        if rows or MEMORY in self._inside.intake.memory:
            self._inside.intake.remember(*MEMORY, msgspec.json.encode(rows))

    @property
    def counts(self) -> dict[str, int]:
        """How many are raised, by severity."""
        found = Counter(one.severity for one in self._raised.values())
        return {severity.value: found[severity.value] for severity in Severity}

    @property
    def pending(self) -> int:
        """How many points are on and not raised yet."""
        return sum(len(step.pending) for step in self._steps().values())

    def active(self) -> list[dict[str, Any]]:
        """What is raised and what is about to be, the gravest first: plain JSON types."""
        rows = [self._row(key, one) for key, one in self._raised.items()]
        for rule, step in self._steps().items():
            for one in step.pending:
                key = rule, self._inside.directory.name(one.point)
                found = self._of(key, one)
                found.since_ns = one.turned_ns
                rows.append(self._row(key, found) | {"state": "pending"})
        order = {severity.value: rank for rank, severity in enumerate(Severity)}
        return sorted(rows, key=lambda row: (row["state"], order.get(row["severity"], 0)), reverse=True)

    def _row(self, key: Key, one: _Raised) -> dict[str, Any]:
        seen = self._seen.get(key)
        return {
            "rule": key[0],
            "point": key[1],
            "severity": one.severity,
            "state": "raised",
            "since_ms": one.since_ns // 1_000_000,
            "value": one.value,
            "text": one.text,
            "acknowledged": None if seen is None else msgspec.to_builtins(seen),
        }

    def view(self) -> dict[str, Any]:
        """Rules, what they say now, and what they said, the newest first."""
        rules = self._inside.config.alerts
        return {
            "rules": [_rule(name, rule) for name, rule in rules.items()],
            "active": self.active(),
            "recent": list(reversed(self._recent)),
        }

    def status(self) -> dict[str, Any]:
        """For ``onpath status``."""
        return {
            **self.counts,
            "pending": self.pending,
            "rules": len(self._inside.config.alerts),
            "active": self.active(),
        }


def _rule(name: str, rule: AlertConfig) -> dict[str, Any]:
    return {
        "name": name,
        "severity": rule.severity.value,
        "text": rule.template,
        "points": list(rule.globs),
        "of": list(rule.of),
        "condition": rule.condition,
        "to": list(rule.to),
    }


def acknowledging(request: Mapping[str, Any]) -> tuple[str, str, str]:
    """Rule, point and who, of a request.

    Raises:
        OnpathError: something is missing.
    """
    rule, point, by = (request.get(key, "") for key in ("rule", "point", "by"))
    if not (isinstance(rule, str) and isinstance(point, str) and isinstance(by, str) and rule and point):
        raise OnpathError("name the rule and the point of the alert")
    return rule, point, by or "somebody"
