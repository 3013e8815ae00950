"""What the plain operators of reference_judge.py share."""

from __future__ import annotations

INVALID, QUESTIONABLE = 1, 3
MAX_INT = (1 << 63) - 1
MIN_INT = -MAX_INT - 1


def worse(quality, flags):
    return (quality if quality & 3 else quality | QUESTIONABLE) | flags


class Plain:
    """What they share."""

    def __init__(self, config, points):
        self.config = config
        self.points = points
        self.dropped = 0
        self.queued = 0
        self.drop = getattr(config, "action", None) == "drop"

    def suspect(self, sample, flags, out):
        if self.drop:
            self.dropped += 1
        else:
            p, t, v, q = sample
            out.append((p, t, v, worse(q, flags)))

    def tick(self, now):
        return []

    def clock_stepped(self):
        return []
