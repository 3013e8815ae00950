"""Asks a broker for topics, and gives them up, on a session that is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from adapters.mqtt import packets
from gateway.errors import LinkError, PayloadError

if TYPE_CHECKING:
    from adapters.mqtt.packets import Wanted
    from adapters.mqtt.session import Session

T = TypeVar("T")

AT_ONCE: Final = 8
"""Filters in one SUBSCRIBE or UNSUBSCRIBE; there are brokers that allow no more."""


async def subscribe(
    session: Session, wanted: Sequence[Wanted], optional: Container[str] = (), refused_too: list[str] | None = None
) -> list[str]:
    """Ask for topics. Returns what the broker grants with QoS 0 though 1 was asked for.

    ``refused_too`` takes what it refuses of those that are ``optional``: devices have named them, not the user.

    Raises:
        LinkError: the broker refuses one of them, or does not answer.
    """
    if not session.shares and any(one.filter.startswith("$share/") for one in wanted):
        raise LinkError("the broker has no shared subscriptions; leave share out")
    less: list[str] = []
    refused: list[str] = []
    for body, part in await _ask(session, packets.SUBACK, packets.subscribe_packet, wanted):
        codes = _parsed(packets.parse_suback, body, session)
        if len(codes) != len(part):
            raise LinkError(f"the broker answered {len(codes)} of {len(part)} subscriptions")
        for one, code in zip(part, codes, strict=True):
            if code > 2 and refused_too is not None and one.filter in optional:
                refused_too.append(f"{one.filter} ({packets.refused_filter(code)})")
            elif code > 2:
                refused.append(f"{one.filter} ({packets.refused_filter(code)})")
            elif code < one.qos:
                less.append(one.filter)
    if refused:
        raise LinkError(f"the broker refused to subscribe to {', '.join(refused)}")
    return less


async def unsubscribe(session: Session, filters: Sequence[str]) -> None:
    """Give topics up. That the broker did not know one does not matter.

    Raises:
        LinkError: the broker refuses, or does not answer.
    """
    for body, part in await _ask(session, packets.UNSUBACK, packets.unsubscribe_packet, filters):
        codes = _parsed(packets.parse_unsuback, body, session)
        refused = [packets.refused_filter(code) for code in codes if code >= 0x80]
        if refused:
            raise LinkError(f"the broker refused to unsubscribe from one of {', '.join(part)} ({refused[0]})")


async def _ask(
    session: Session, kind: int, build: Callable[[int, list[T], int], bytes], entries: Sequence[T]
) -> list[tuple[bytes, list[T]]]:
    """Send all packets at once; each answer with the entries that it is about."""
    parts = [list(entries[at : at + AT_ONCE]) for at in range(0, len(entries), AT_ONCE)]
    ids = [session.outbox.next_id() for _ in parts]
    asked = [
        session.ask(kind, packet_id, build(session.version, part, packet_id))
        for packet_id, part in zip(ids, parts, strict=True)
    ]
    return list(zip(await asyncio.gather(*asked), parts, strict=True))


def _parsed(parse: Callable[[bytes, int], bytes], body: bytes, session: Session) -> bytes:
    try:
        return parse(body, session.version)
    except PayloadError as error:
        raise LinkError(f"answer to a subscription: {error}") from error
