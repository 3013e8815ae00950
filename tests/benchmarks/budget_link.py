"""A real daemon, a real broker, and between them a link that carries 100, 50, 20, 10 and 80 % of the bytes it needs.

See :mod:`tests.support.throttled`. What the link carries has to be found out.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from tests.benchmarks.rows import Row
from tests.support.throttled import BACKLOG_S, STATED, Phase, Shown, throttled

if TYPE_CHECKING:
    from pathlib import Path

LEAST: Final = 0.75
MOST: Final = 0.90
DRAINED_S: Final = 30
PHASES: Final = ((1.0, 13.0), (0.5, 15.0), (0.2, 15.0), (0.1, 16.0), (0.8, 46.0))
"""What the link carries, by what is made at the configured bounds, and seconds: room to spare is taken slowly."""
TINY_PHASES: Final = ((0.4, 3.0),)


async def rows(folder: Path, *, tiny: bool) -> list[Row]:
    """A row for each phase, and one for the totals."""
    shown = await throttled(folder, TINY_PHASES if tiny else PHASES)
    worse = {after.part for before, after in itertools.pairwise(shown.phases) if after.part < before.part}
    return [*(_row(phase, halving=phase.part in worse) for phase in shown.phases), _totals(shown)]


def _row(phase: Phase, *, halving: bool) -> Row:
    return Row(
        name=f"link-budget-real-{phase.part:.0%}",
        measured=phase.use,
        unit="use",
        bar=f"{LEAST} to {MOST}" + (f", drained in {DRAINED_S} s" if halving else ""),
        ok=LEAST <= phase.use <= MOST and (not halving or phase.drained_s <= DRAINED_S),
        notes=f"link {phase.carries:.0f} B/s, found {phase.adapt['carried'] or 0:.0f} B/s of payload; bound up to "
        f"{phase.widest:.3g} % (stated {STATED:g} %); backlog of {BACKLOG_S} s gone after {phase.drained_s:.1f} s",
        details={"use": phase.use, "drained_s": phase.drained_s, "widest_percent": phase.widest},
    )


def _totals(shown: Shown) -> Row:
    widest = max(shown.told)
    return Row(
        name="link-budget-real-totals",
        measured=float(shown.total),
        unit="samples",
        bar="counts exact, stated bound kept",
        ok=shown.total == shown.emitted and widest <= STATED and not shown.violations,
        notes=f"of {shown.emitted}; widest bound that came with a batch {widest:.3g} %, largest error "
        f"{shown.worst:.3g} %, {shown.violations} values farther off than the stated {STATED:g} %",
        details={"emitted": shown.emitted, "violations": shown.violations, "largest_error_percent": shown.worst},
    )
