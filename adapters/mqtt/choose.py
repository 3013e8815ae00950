"""Which plan serves a subscription. What few need is imported only where it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.mqtt.declared import Declared, DeclaredRecords
from adapters.mqtt.lines import NumberLines
from adapters.mqtt.plain import PlainText
from adapters.mqtt.raw import RawBytes
from adapters.mqtt.records import Documents
from adapters.mqtt.subscribe import Decimal, Payload
from adapters.payloads.pointer import parse_path
from gateway.point import Kind

if TYPE_CHECKING:
    from adapters.mqtt.plans import Plan
    from adapters.mqtt.subscribe import Subscribe


def plan_of(options: Subscribe) -> type[Plan]:
    """The class for a subscription; a fast one where that is possible."""
    chosen: type[Plan]
    match options.payload:
        case Payload.SPARKPLUG:
            from adapters.mqtt.sparkplug.plan import Sparkplug

            chosen = Sparkplug
        case Payload.HOME_ASSISTANT:
            from adapters.mqtt.hass import HomeAssistant

            chosen = HomeAssistant
        case Payload.TEXT:
            chosen = PlainText
        case Payload.BYTES:
            chosen = RawBytes
        case Payload.JSON | Payload.MSGPACK:
            chosen = _document(options)
        case Payload.CSV:
            chosen = _lines(options)
        case _:
            chosen = Documents
    return chosen


def _lines(options: Subscribe) -> type[Plan]:
    """For CSV."""
    if not options.points or options.device_from or options.point_from or options.decimal is Decimal.COMMA:
        return Documents
    states = any(point.kind is Kind.STATE for point in options.points.values())
    sign = options.separator in "+-.eE0123456789" or not options.separator.isascii()
    return Documents if states or sign else NumberLines


def _document(options: Subscribe) -> type[Plan]:
    """For the codecs that struct types can be made for."""
    if not options.points or options.device_from or options.point_from:
        return Documents
    paths = [parse_path(text) for text in (options.time, *(point.value for point in options.points.values()))]
    if any(path.each or (options.records and path.root) for path in paths):
        return Documents
    return DeclaredRecords if options.records else Declared
