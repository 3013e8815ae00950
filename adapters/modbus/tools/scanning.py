"""``onpath modbus scan``: who is on a bus, and what each says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.modbus.pdu import AnswerError
from adapters.modbus.place import Table
from adapters.modbus.sunspec import Chain, SunSpecError, scan
from adapters.modbus.tools.identity import identify
from adapters.modbus.tools.ranges import Ranges, find_ranges
from adapters.modbus.tools.session import UsageError
from gateway.quality import Reason

if TYPE_CHECKING:
    from adapters.modbus.tools.session import Session

Progress = Callable[[str, int, int], None]
"""Told what is done: (what, done, of how many)."""

_NOBODY = {Reason.TIMEOUT, Reason.GATEWAY_PATH_UNAVAILABLE, Reason.GATEWAY_TARGET_FAILED}
_PATIENCE = 3  # requests in a row without an answer after which a search for ranges ends


@dataclass
class Found:
    """One unit."""

    unit: int
    said: str
    """What it answered to the first request: ``data``, or the reason of an exception."""
    identity: dict[str, str] = field(default_factory=dict)
    sunspec: dict[str, Any] = field(default_factory=dict)
    """``base``, and ``models``: [id, length] each."""
    ranges: dict[str, Ranges] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def parse_units(text: str) -> list[int]:
    """``1-247`` or ``1,3,100-110``.

    Raises:
        UsageError: it is not such a list.
    """
    units: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"--units: {part.strip()!r} is not a unit or a range such as 1-247")
        low, high = int(first), int(last) if dash else int(first)
        if high > 255 or low > high:
            raise UsageError(f"--units: {part.strip()!r} is not within 0 to 255, the lower first")
        units += range(low, high + 1)
    return list(dict.fromkeys(units))


async def find_units(session: Session, units: Sequence[int], progress: Progress) -> list[Found]:
    """Ask every unit for one register; whoever answers, if only with an exception, is there.

    Raises:
        LinkError: the connection is gone.
    """
    found = []
    for done, unit in enumerate(units):
        progress("units", done, len(units))
        said = await _first_word(session, unit)
        if said:
            found.append(Found(unit, said))
    progress("units", len(units), len(units))
    return found


async def _first_word(session: Session, unit: int) -> str:
    """What a unit answers, or nothing. A malformed answer is somebody, too."""
    try:
        await session.read(unit, Table.HOLDING, 0, 1, tries=1)
    except AnswerError as error:
        return "" if error.code in _NOBODY else error.code.text
    return "data"


async def describe(session: Session, found: Found) -> None:
    """Ask for the device identification and a SunSpec chain.

    Raises:
        LinkError: the connection is gone.
    """
    try:
        found.identity = await identify(session, found.unit)
    except AnswerError as error:
        found.notes.append(f"no identification ({error.code.text})")
    try:
        chain = await sunspec_chain(session, found.unit)
    except SunSpecError as error:
        if error.reason != "no-sunspec-map":
            found.notes.append(f"SunSpec: {error}")
    except AnswerError as error:
        found.notes.append(f"SunSpec: the chain breaks off ({error.code.text})")
    else:
        models = [[model.id, model.length] for model in chain.models]
        found.sunspec = {"base": chain.base, "models": models}


async def sunspec_chain(session: Session, unit: int) -> Chain:
    """The models of a device: see :func:`adapters.modbus.sunspec.scan`."""

    async def read(address: int, count: int) -> bytes:
        return await session.read(unit, Table.HOLDING, address, count)

    return await scan(read)


async def map_ranges(
    session: Session, found: Found, tables: Sequence[Table], first: int, last: int, progress: Progress
) -> None:
    """Find the readable addresses of some tables.

    Raises:
        LinkError: the connection is gone.
    """
    for table in tables:
        asker = _Asker(session, found.unit, table, first, last, progress)
        try:
            ranges = await find_ranges(asker.ask, first, last)
        except AnswerError as error:
            found.notes.append(f"{table}: the search ended ({error.code.text})")
        else:
            if ranges.readable:
                found.ranges[str(table)] = ranges


class _Asker:
    """Asks whether a part of a table is readable; gives up on a unit that has fallen silent."""

    def __init__(self, session: Session, unit: int, table: Table, first: int, last: int, progress: Progress) -> None:
        self._session, self._unit, self._table = session, unit, table
        self._first, self._last, self._progress = first, last, progress
        self._silent = 0

    async def ask(self, start: int, count: int) -> bool:
        """Whether a read is answered with data; an unknown function or lasting silence ends the search."""
        self._progress(f"unit {self._unit} {self._table}", start - self._first, self._last + 1 - self._first)
        try:
            await self._session.read(self._unit, self._table, start, count)
        except AnswerError as error:
            self._silent = self._silent + 1 if error.silent else 0
            if error.code is Reason.ILLEGAL_FUNCTION or self._silent >= _PATIENCE:
                raise
            return False
        self._silent = 0
        return True
