"""The rung ``shed``: what has come of some pipelines since it was taken is given up, counted, and told upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.batch import RowKind
from gateway.store.database import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.intake import Intake

LINK_BUDGET: Final = "link-budget"
"""The reason in loss markers."""
AT_ONCE: Final = 2000
"""Rows given up a period and pipeline, at most."""
_QUERY: Final = (
    "SELECT seq, samples FROM spool WHERE uplink = ? AND pipeline = ? AND delivered_ns IS NULL AND seq > ? "
    "AND kind = ? ORDER BY seq LIMIT ?"
)


async def shed(intake: Intake, uplink: str, pipelines: Iterable[str], after: int) -> int:
    """Give up rows that wait behind a seq, of pipelines that are put aside; how many samples.

    Raises:
        StoreError: the store fails.
    """

    def rows() -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for pipeline in pipelines:
            asked = (uplink, pipeline, after, int(RowKind.SAMPLES), AT_ONCE)
            found += rows_of(intake.engine.store.spool.db, _QUERY, asked)
        return found

    found = await intake.on_store(rows)
    for seq, _ in found:
        intake.refused(uplink, seq, LINK_BUDGET)
    return sum(samples for _, samples in found)
