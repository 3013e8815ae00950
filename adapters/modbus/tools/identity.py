"""Device identification (function 43, MEI type 14): what a device says of itself. No I/O.

request   2B | 0E | code 1 | first object 1            code: 1 basic, 2 regular, 3 extended
answer    2B | 0E | code 1 | conformity 1 | more 1 (FF: go on) | next object 1 | count 1
          then count times: object 1 | length 1 | text
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.modbus.layout import text_of
from adapters.modbus.pdu import AnswerError, Request
from gateway.quality import Reason

if TYPE_CHECKING:
    from adapters.modbus.tools.scanning import Talk

NAMES = {0: "vendor", 1: "product", 2: "revision", 3: "url", 4: "name", 5: "model", 6: "application"}
"""Basic objects are 0 to 2, regular ones 3 to 6; from 128 on they are the maker's own."""
_HEAD = 7
_PAGES = 16  # answers that one device may take to tell everything


@dataclass(frozen=True)
class IdentityRequest(Request):
    """Its answer has no length that could be known before."""

    def length_of(self, start: bytes) -> int | None:
        """How long the answer's PDU is that begins so, or None while that cannot be told."""
        if len(start) < _HEAD:
            return None
        at = _HEAD
        for _ in range(start[6]):
            if len(start) < at + 2:
                return None
            at += 2 + start[at + 1]
        return at

    def data_of(self, answer: bytes) -> bytes:
        """See the base class; the data begins with the code."""
        if answer.startswith(self.head) and self.length_of(answer) == len(answer):
            return answer[len(self.head) :]
        return super().data_of(answer)


def identity_request(unit: int, code: int, first: int) -> IdentityRequest:
    """Ask for objects from ``first`` on."""
    return IdentityRequest(unit, bytes([0x2B, 0x0E, code, first]), b"\x2b\x0e", 0)


def objects_of(data: bytes) -> tuple[dict[int, str], int | None]:
    """The objects in an answer's data (from the code on), and where to go on, if there is more.

    Raises:
        AnswerError: it is not made as the standard says.
    """
    found: dict[int, str] = {}
    at = 5
    for _ in range(data[4] if len(data) > 4 else 0):
        if len(data) < at + 2 or len(data) < at + 2 + data[at + 1]:
            raise AnswerError(Reason.MALFORMED_ANSWER, "an object reaches beyond the answer")
        found[data[at]] = text_of(data[at + 2 : at + 2 + data[at + 1]])
        at += 2 + data[at + 1]
    more = data[3] if len(data) > 3 and data[2] == 0xFF else None
    return found, more


async def identify(session: Talk, unit: int) -> dict[str, str]:
    """All that the device says of itself: basic and regular objects, then what else it has.

    Raises:
        AnswerError: it does not know the function, or does not answer.
        LinkError: the connection is gone.
    """
    found = await _objects(session, unit, 1)
    for code in (2, 3):
        try:
            found |= await _objects(session, unit, code)
        except AnswerError as error:
            if error.silent:
                raise
            break
    return {NAMES.get(number, f"object {number}"): text for number, text in sorted(found.items()) if text}


async def _objects(session: Talk, unit: int, code: int) -> dict[int, str]:
    found: dict[int, str] = {}
    first: int | None = 0
    for _ in range(_PAGES):
        if first is None:
            break
        page, first = objects_of(await session.ask(identity_request(unit, code, first), tries=2))
        found |= page
    return found
