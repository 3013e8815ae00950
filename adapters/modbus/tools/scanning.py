"""``onpath modbus scan``: who is on a bus, and what each says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from adapters.modbus.layout import text_of
from adapters.modbus.pdu import AnswerError
from adapters.modbus.place import Table
from adapters.modbus.sunspec import Chain, SunSpecError, scan
from adapters.modbus.tools.identity import identify
from adapters.modbus.tools.ranges import Ranges, find_ranges
from adapters.modbus.tools.session import UsageError
from adapters.modbus.unit_ranges import parse_units
from gateway.quality import Reason

if TYPE_CHECKING:
    from adapters.modbus.pdu import Request

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


def units_of(text: str) -> list[int]:
    """``1-247`` or ``1,3,100-110``.

    Raises:
        UsageError: it is not such a list.
    """
    try:
        return parse_units(text)
    except ValueError as error:
        raise UsageError(f"--units: {error}") from None


class Talk(Protocol):
    """What a scan needs of a connection."""

    async def ask(self, request: Request, *, tries: int = 1) -> bytes:
        """See :meth:`adapters.modbus.tools.session.Session.ask`."""

    async def read(self, unit: int, table: Table, address: int, count: int, *, tries: int = 2) -> bytes:
        """See :meth:`adapters.modbus.tools.session.Session.read`."""


async def find_units(session: Talk, units: Sequence[int], progress: Progress) -> list[Found]:
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


async def _first_word(session: Talk, unit: int) -> str:
    """What a unit answers, or nothing. A malformed answer is somebody, too."""
    try:
        await session.read(unit, Table.HOLDING, 0, 1, tries=1)
    except AnswerError as error:
        return "" if error.code in _NOBODY else error.code.text
    return "data"


async def describe(session: Talk, found: Found) -> None:
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
        if not found.identity:
            found.identity = await _common_model(session, found.unit, chain)


_COMMON = {"vendor": (0, 16), "model": (16, 16), "revision": (40, 8), "serial": (48, 16)}
"""Texts of the common model: offset and length in registers (SunSpec Information Model Reference, model 1)."""


async def _common_model(session: Talk, unit: int, chain: Chain) -> dict[str, str]:
    """What the common model says of the device; it stands first in every chain."""
    if not chain.models or chain.models[0].id != 1:
        return {}
    try:
        data = await session.read(unit, Table.HOLDING, chain.base + 4, 64)
    except AnswerError:
        return {}
    texts = {key: text_of(data[2 * at : 2 * (at + length)]) for key, (at, length) in _COMMON.items()}
    return {key: text for key, text in texts.items() if text}


async def sunspec_chain(session: Talk, unit: int) -> Chain:
    """The models of a device: see :func:`adapters.modbus.sunspec.scan`."""

    async def read(address: int, count: int) -> bytes:
        return await session.read(unit, Table.HOLDING, address, count)

    return await scan(read)


async def map_ranges(
    session: Talk, found: Found, tables: Sequence[Table], first: int, last: int, progress: Progress
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

    def __init__(self, session: Talk, unit: int, table: Table, first: int, last: int, progress: Progress) -> None:
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
