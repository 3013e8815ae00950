"""What waits before the uplinks, and what was lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gateway.batch import Batch
from gateway.config.plugins import tag_of
from gateway.status import spools

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.view.shapes import LossRow, SpoolView

KEPT: Final = 200
"""Losses; the oldest give way."""


class Losses:
    """Losses that were told upstream, the newest of them."""

    def __init__(self) -> None:
        self._ring: deque[LossRow] = deque(maxlen=KEPT)

    def take(self, batches: Mapping[str, Sequence[Batch]]) -> None:
        """New rows of the spool, by uplink: some may be loss markers."""
        for uplink, rows in batches.items():
            for row in rows:
                if row.loss is not None:
                    self._ring.append(_row(uplink, row))

    def rows(self) -> list[LossRow]:
        """The newest first."""
        return list(reversed(self._ring))


def _row(uplink: str, batch: Batch) -> LossRow:
    loss = batch.loss
    assert loss is not None
    return {
        "uplink": uplink,
        "pipeline": batch.pipeline,
        "reason": loss.reason,
        "count": loss.count,
        "from_ms": loss.first_ns // 1_000_000,
        "until_ms": loss.last_ns // 1_000_000,
        "told_ms": batch.created_ns // 1_000_000,
    }


async def spool(inside: Inside, losses: Losses) -> SpoolView:
    """Now."""
    rows = spools(await inside.intake.status(), inside)
    uplinks = [
        {"name": name, "type": tag_of(type(uplink.config)), **uplink.status(), "spool": rows[name]}
        for name, uplink in inside.uplinks.items()
    ]
    return {"uplinks": uplinks, "losses": losses.rows()}
