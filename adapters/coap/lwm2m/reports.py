"""What is said of one client to the gateway: its samples, its link, its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from adapters.base import Context
from adapters.coap.asking.exchange import ExchangeError
from adapters.coap.lwm2m.contents import Item
from adapters.coap.lwm2m.watch import Sample, Watch, identity
from adapters.coap.outbox import Outbox
from adapters.coap.points import PointTable, Row
from gateway.errors import TooManyPointsError
from gateway.quality import Reason


class Reports:
    """The device that a client is."""

    def __init__(self, device: str, ctx: Context, table: PointTable, outbox: Outbox) -> None:
        self.device = device
        self._ctx = ctx
        self._table = table
        self._outbox = outbox
        self._up: bool | None = None
        self._period_s = -1.0

    def up(self) -> None:
        """Something was heard of it."""
        if self._up is not True:
            self._up = True
            self._ctx.link(self.device, up=True)

    def down(self, error: ExchangeError, watches: Sequence[Watch]) -> None:
        """It does not answer."""
        self._ctx.stats.reasons[error.reason.text] += 1
        self.gone(str(error), watches, error.reason)

    def gone(self, detail: str, watches: Sequence[Watch], reason: Reason = Reason.LINK_DOWN) -> None:
        """It is not there (any more)."""
        if self._up is not False:
            self._up = False
            self._ctx.link(self.device, up=False, detail=detail)
        self.bad(watches, reason)

    def failed(self, error: ExchangeError, watches: Sequence[Watch]) -> None:
        """It answers, but not with values."""
        self._ctx.stats.reasons[error.reason.text] += 1
        self.bad(watches, error.reason)

    def bad(self, watches: Iterable[Watch], reason: Reason) -> None:
        """The points of some watches have no value."""
        now_ns = self._ctx.now_ns()
        for watch in watches:
            for name, options in watch.points.items():
                row = self._row(Sample(name, options, reason, "", None, 0))
                if row is not None:
                    self._outbox.add(row, now_ns)

    def take(self, watch: Watch, items: Sequence[Item], now_ns: int) -> None:
        """The values of a payload."""
        self._ctx.stats.messages += 1
        for row, time_ns in self.rows(watch, items, now_ns):
            self._outbox.add(row, time_ns)

    def rows(self, watch: Watch, items: Sequence[Item], now_ns: int) -> list[tuple[Row, int]]:
        """The values of a payload as rows, each with its time, UTC ns."""
        if watch.path[0] == 3 and (who := identity(items)):
            self.state(**who)
        found = []
        for sample in watch.samples(items):
            row = self._row(sample)
            if row is not None:
                found.append((row, now_ns if sample.time_ns is None else sample.time_ns))
        return found

    def _row(self, sample: Sample) -> Row | None:
        """The row of a sample; None, counted, if the gateway takes no more points."""
        try:
            row = self._table.row(f"{self.device}/{sample.name}", sample.options, sample.value, sample.unit)
        except TooManyPointsError as error:
            if not self._ctx.stats.reasons["too-many-points"]:
                self._ctx.log.warning("%s", error)
            self._ctx.stats.reasons["too-many-points"] += 1
            return None
        return row._replace(quality=row.quality | sample.flags) if sample.flags else row

    def state(self, **facts: Any) -> None:
        """Show in ``status``."""
        self._ctx.stats.devices.setdefault(self.device, {}).update(facts)

    def expect(self, period_s: float) -> None:
        """Say how often values are to come."""
        if period_s != self._period_s:
            self._period_s = period_s
            self._ctx.expect(self.device, period_s)
