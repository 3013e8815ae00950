"""What the tests of the operators that shape a stream share."""

from __future__ import annotations

import msgspec

from gateway.units import decode_quantity
from pipelines.registry import OPERATORS
from tests.pipelines.scripts import directory

LABELS = {"m1/voltage": {"area": "north"}, "m1/power": {"area": "no/rth 1"}, "m2/voltage": {"area": "south"}}


def labelled():
    points = directory()
    for name, labels in LABELS.items():
        points.add(msgspec.structs.replace(points.point(points.find(name)), labels=labels))
    return points


def config_of(kind, options):
    return msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)
