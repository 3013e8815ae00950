"""The rung ``shed``: what has come of some pipelines since it was taken is given up, counted, and told upstream.

The loss marker waits with the pipeline, and goes when that goes again. One is enough: that of the period before is
given up as well, which adds it to the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.batch import RowKind
from gateway.store.database import rows_of

if TYPE_CHECKING:
    from gateway.intake import Intake

LINK_BUDGET: Final = "link-budget"
"""The reason in loss markers."""
AT_ONCE: Final = 2000
"""Rows given up a period and pipeline, at most."""
_QUERY: Final = (
    "SELECT seq, samples, kind FROM spool WHERE uplink = ? AND pipeline = ? AND delivered_ns IS NULL AND seq > ? "
    "ORDER BY seq LIMIT ?"
)


async def shed(intake: Intake, uplink: str, pipeline: str, after: int) -> int:
    """Give up rows that wait behind a seq, of a pipeline that is put aside; how many samples.

    Raises:
        StoreError: the store fails.
    """
    found = await intake.on_store(_waiting, intake, uplink, pipeline, after)
    if all(kind != RowKind.SAMPLES for _, _, kind in found):
        return 0
    for seq, _, _ in found:
        intake.refused(uplink, seq, LINK_BUDGET)
    return sum(samples for _, samples, _ in found)


def _waiting(intake: Intake, uplink: str, pipeline: str, after: int) -> list[tuple[int, int, int]]:
    return list(rows_of(intake.engine.store.spool.db, _QUERY, (uplink, pipeline, after, AT_ONCE)))
