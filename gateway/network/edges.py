"""Where the windows of a service begin and end, whichever steps have them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.units import Duration
from pipelines.operators.aggregate.window import WindowConfig
from pipelines.operators.aggregate.window_calendar import DAY_NS, UtcWindows, Windows, windows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.network.service import ServiceConfig
    from pipelines.base import OperatorConfig

MONTH_NS: Final = 31 * DAY_NS
FARTHEST_NS: Final = 40 * DAY_NS
"""There is no longer window, so that an edge of one is nearer."""
TRIES: Final = 3_000
_PERIODS: Final = ("every", "block")
"""Options that say how long something is that a step measures and that lies on the clock."""


def windows_in(service: ServiceConfig) -> list[Windows]:
    """Of all steps; overlapping ones as if they did not. Those that end by what comes (sessions, counts) are none."""
    found = (_windows_of(step.operator[1]) for step in service.steps)
    return [one for one in found if one is not None]


def _windows_of(options: OperatorConfig) -> Windows | None:
    zone = getattr(options, "timezone", "") or "UTC"
    if isinstance(options, WindowConfig):
        return None if options.runs else windows_of(zone, options.every.ns, options.months or 0)
    periods = [getattr(options, name, None) for name in _PERIODS]
    period_ns = next((one.ns for one in periods if isinstance(one, Duration)), 0)
    if period_ns <= 0:
        return None
    daily = DAY_NS % period_ns == 0 or period_ns % DAY_NS == 0
    return windows_of(zone, period_ns) if daily else UtcWindows(period_ns)


def longest_ns(service: ServiceConfig) -> int:
    """Length of the longest window; 0 without."""
    lengths = [0]
    for step in service.steps:
        options = step.operator[1]
        if isinstance(options, WindowConfig) and options.months:
            lengths.append(options.months * MONTH_NS)
        elif isinstance(options, WindowConfig) and options.session is not None:
            lengths.append(DAY_NS)  # as long as somebody says something
        else:
            lengths += [one.ns for name in _PERIODS if isinstance(one := getattr(options, name, None), Duration)]
    return max(lengths)


def next_edge(windows: Sequence[Windows], soonest_ns: int) -> int:
    """The first moment from ``soonest_ns`` on at which all these windows begin anew, UTC in ns.

    Where they never do, or not soon, it is the next one of the first of them.
    """
    at = soonest_ns
    for _ in range(TRIES):
        later = _latest(windows, at)
        if later == at:
            return at
        if later - soonest_ns > FARTHEST_NS:
            break
        at = later
    return _latest(windows[:1], soonest_ns)


def _latest(windows: Iterable[Windows], at_ns: int) -> int:
    """The last of the edges that are next, or the time itself where all have one."""
    return max((_edge(one, at_ns) for one in windows), default=at_ns)


def _edge(windows: Windows, at_ns: int) -> int:
    number = windows.number(np.array([at_ns]))
    start = int(windows.start(number)[0])
    return at_ns if start == at_ns else int(windows.end(number)[0])
