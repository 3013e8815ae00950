"""Requests and the check of their answers, without I/O.

A request PDU is a function code (1 byte) and its data; the answer repeats the function code, or says it
with the top bit set and an exception code behind it:

    read      01-04 | address 2 | count 2           ->  function | bytes 1 | data

(Those that write are in :mod:`adapters.modbus.write_pdu`.)
What a good answer begins with and how long it is, is known from the request. Everything else is named by
a reason and never decoded: pymodbus itself does not compare an answer's length with what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from adapters.modbus.place import Table
from gateway import quality as q
from gateway.errors import PayloadError
from gateway.quality import Reason

if TYPE_CHECKING:
    from pymodbus.pdu import ModbusPDU

_READS: dict[Table, type[ReadCoilsRequest | ReadHoldingRegistersRequest]] = {
    Table.COIL: ReadCoilsRequest,
    Table.DISCRETE: ReadDiscreteInputsRequest,
    Table.HOLDING: ReadHoldingRegistersRequest,
    Table.INPUT: ReadInputRegistersRequest,
}
_EXCEPTIONS = {
    1: Reason.ILLEGAL_FUNCTION,
    2: Reason.ILLEGAL_DATA_ADDRESS,
    3: Reason.ILLEGAL_DATA_VALUE,
    4: Reason.DEVICE_FAILURE,
    5: Reason.DEVICE_BUSY,  # "acknowledge": a long job was begun
    6: Reason.DEVICE_BUSY,
    8: Reason.DEVICE_FAILURE,  # memory parity
    0x0A: Reason.GATEWAY_PATH_UNAVAILABLE,
    0x0B: Reason.GATEWAY_TARGET_FAILED,
}
_REFERENCE = {Reason.ILLEGAL_FUNCTION, Reason.ILLEGAL_DATA_ADDRESS, Reason.ILLEGAL_DATA_VALUE}


class AnswerError(PayloadError):
    """There is no usable answer; ``code`` says why, as samples carry it.

    ``exception``: the code in the answer, if it was an exception.
    ``silent``: nothing came within the time, or a gateway says so of its target: the unit may be dead.
    """

    def __init__(self, code: Reason, detail: str = "", *, silent: bool = False, exception: int = 0) -> None:
        self.code = code
        self.exception = exception
        self.silent = silent or code is Reason.GATEWAY_TARGET_FAILED
        super().__init__(code.text, detail)


def quality_of(code: Reason) -> int:
    """The quality word of a sample that has no value because of ``code``."""
    if code in _REFERENCE:
        return q.INVALID | q.BAD_REFERENCE
    if code is Reason.LINK_DOWN:
        return q.INVALID | q.FAILURE | q.OLD_DATA
    return q.INVALID | q.FAILURE


@dataclass(frozen=True)
class Request:
    """One request and what its good answer looks like: ``length`` bytes that begin with ``head``."""

    unit: int
    pdu: bytes
    head: bytes
    length: int

    def length_of(self, start: bytes) -> int | None:
        """How long the good answer is that begins so, or None while that cannot be told."""
        del start
        return self.length

    def data_of(self, answer: bytes) -> bytes:
        """The data of an answer's PDU, behind function code and byte count.

        Raises:
            AnswerError: it is an exception, or not the answer to this request.
        """
        if len(answer) == self.length and answer.startswith(self.head):
            return answer[len(self.head) :]
        function = self.pdu[0]
        if len(answer) == 2 and answer[0] == function | 0x80:
            code = answer[1]
            raise AnswerError(_EXCEPTIONS.get(code, Reason.OTHER_EXCEPTION), f"exception {code}", exception=code)
        if answer[:1] != self.pdu[:1]:
            raise AnswerError(Reason.MALFORMED_ANSWER, f"function {answer[:1].hex()}, asked {function:02x}")
        raise AnswerError(Reason.MALFORMED_ANSWER, f"{len(answer)} bytes, expected {self.length}")


def _pdu(message: ModbusPDU) -> bytes:
    return bytes([message.function_code]) + message.encode()


def read_request(unit: int, table: Table, address: int, count: int) -> Request:
    """Read ``count`` registers or bits.

    Raises:
        ValueError: if address or count are not those of a read.
    """
    pdu = _pdu(_READS[table](address=address, count=count))
    size = (count + 7) // 8 if table.is_bits else 2 * count
    return Request(unit, pdu, bytes([pdu[0], size]), 2 + size)
