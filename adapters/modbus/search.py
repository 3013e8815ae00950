"""Looks into a read that a device refuses or does not answer, and has its group plan around the cause."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from adapters.modbus.holes import Holes, find_holes
from adapters.modbus.pdu import AnswerError
from adapters.modbus.planner import atoms, hull
from gateway.quality import Reason

if TYPE_CHECKING:
    import logging

    from adapters.modbus.asker import Asker
    from adapters.modbus.group import Group
    from adapters.modbus.planner import Read

AGAIN_S = 600.0
"""How long a search for the cause of silence rests that found nothing; each costs time-outs."""
_REFUSALS = {Reason.ILLEGAL_DATA_ADDRESS, Reason.ILLEGAL_DATA_VALUE}


async def search(log: logging.LoggerAdapter[logging.Logger], asker: Asker, group: Group, read: Read) -> bool:
    """Find what is wrong with a read and plan around it; whether anything was found."""
    silent = read in group.quiet
    try:
        holes = await (_of_silence(asker, group, read) if silent else _of_refusal(asker, group, read))
    except AnswerError:
        holes = Holes()  # the device says something else now: search when it refuses again
    now = asyncio.get_running_loop().time()
    group.quiet.clear()
    if silent and not holes:
        group.search_at = now + AGAIN_S
    if holes:
        group.learn(holes, now)
        log.info(
            "%s: %s %s:%d to %d; %s",
            group.device.name,
            "does not answer" if silent else "refuses",
            read.table,
            read.address,
            read.address + read.count - 1,
            _said(group, holes),
        )
    return bool(holes)


def _said(group: Group, holes: Holes) -> str:
    if holes.most:
        return f"answers {holes.most} at most, and is read in parts"
    dead = ", ".join(f"{group.spans[i].table}:{group.spans[i].address}" for i in sorted(holes.dead))
    return f"left out: {dead}" if dead else "read in parts"


async def _of_refusal(asker: Asker, group: Group, read: Read) -> Holes:
    """The device says exception 2 or 3."""

    async def readable(part: Read) -> bool:
        refusal = await asker.refusal(group.device, group.request(part))
        if refusal is None or refusal in _REFUSALS:
            return refusal is None
        raise AnswerError(refusal)

    return await find_holes(group.spans, read, readable)


async def _of_silence(asker: Asker, group: Group, read: Read) -> Holes:
    """The device answers others, but not this read, or with nonsense: perhaps it is too long for it.

    What is found is believed only if the device still answers the longest read that it did before: a unit
    that went silent on the way must not be taken for one that bears short reads only.
    """
    longest: list[Read] = []

    async def readable(part: Read) -> bool:
        works = await asker.trial(group.device, group.request(part))
        if works and (not longest or part.count > longest[0].count):
            longest[:] = [part]
        return works

    if len(atoms(group.spans, read.members)) == 1:
        return Holes()
    holes = await find_holes(group.spans, read, readable)
    if not holes or not longest or not await asker.trial(group.device, group.request(longest[0])):
        return Holes()
    dead = atoms(group.spans, holes.dead)
    if dead and await asker.trial(group.device, group.request(hull(group.spans, dead[0]))):
        return Holes()
    return holes
