"""What the scripted peer of faulty.py can do wrong: one function, one row of the table of the field.

A behaviour is a generator over a :class:`Call` that yields what the peer does: bytes to write, seconds to
wait, ``CLOSE``. Its docstring says what a device of that kind does.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

from tests.adapters.modbus.bank import crc

CLOSE = object()
EXCEPTIONS = (1, 2, 3, 4, 5, 6, 8, 0x0A, 0x0B)


@dataclass
class Call:
    """One request that a behaviour answers."""

    peer: object
    transaction: int
    unit: int
    pdu: bytes
    raw: bytes

    def good(self, store=None):
        return self.peer.bank(self.unit).answer(self.pdu, store)

    def frame(self, pdu, *, unit=None, transaction=None, protocol=0, length=None, bad_crc=False):
        unit = self.unit if unit is None else unit & 0xFF
        if self.peer.framing == "rtu":
            body = bytes([unit]) + pdu
            check = crc(body)
            return body + (bytes([check[0] ^ 0x55, check[1]]) if bad_crc else check)
        transaction = self.transaction if transaction is None else transaction & 0xFFFF
        return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1 if length is None else length, unit) + pdu

    @property
    def address(self):
        return int.from_bytes(self.pdu[1:3], "big")

    @property
    def wrong(self):
        """An answer of the right form whose registers are not this place's: each is 0x6363 (25,443)."""
        good = self.good()
        return good[:2] + b"\x63" * len(good[2:]) if self.pdu[0] <= 4 else good


BEHAVIOURS = {}
"""Name to behaviour. One for each row of the table of the field, and for each exception code."""


def behaviour(function):
    BEHAVIOURS[function.__name__.replace("_", "-")] = function
    return function


# --- silence and lateness


@behaviour
def silent(call):
    """A dead unit, or one behind a dead wire: never an answer, and nothing is carried out."""
    return iter(())


@behaviour
def asleep(call):
    """A sleeping device: the request that wakes it is lost (narrow with ``nth=1`` or ``times=1``)."""
    return iter(())


@behaviour
def late(call, after=0.3):
    """The answer comes ``after`` seconds; the peer goes on reading meanwhile."""
    call.peer.later(after, call.frame(call.good()))
    return iter(())


@behaviour
def late_wrong(call, after=0.3):
    """As ``late``, and its registers are all 0x6363, so that a value attributed wrongly shows."""
    call.peer.later(after, call.frame(call.wrong))
    return iter(())


@behaviour
def held(call):
    """No answer now; it comes right before the next one does (its registers are all 0x6363)."""
    call.peer.held.append(call.frame(call.wrong))
    return iter(())


@behaviour
def slow(call, after=0.05):
    """Answers well, but takes its time: nothing else is read meanwhile."""
    yield after
    yield call.frame(call.good())


@behaviour
def twice(call):
    """The answer comes twice, at once."""
    yield call.frame(call.good()) * 2


@behaviour
def closes(call):
    """Closes the connection instead of answering."""
    yield CLOSE


@behaviour
def half_and_close(call):
    """Half an answer, then the connection closes."""
    whole = call.frame(call.good())
    yield whole[: len(whole) // 2]
    yield CLOSE


# --- answers that are not what was asked


@behaviour
def wrong_unit(call):
    """A whole answer in another unit's name."""
    yield call.frame(call.wrong, unit=call.unit + 1)


@behaviour
def wrong_function(call):
    """A whole answer of the neighbouring function."""
    yield call.frame(bytes([call.pdu[0] ^ 7]) + call.wrong[1:])


@behaviour
def wrong_count(call):
    """A whole answer with one register too many, and the byte count that belongs to it."""
    data = call.wrong[2:] + b"\x63\x63"
    yield call.frame(bytes([call.pdu[0], len(data)]) + data)


@behaviour
def short_count(call):
    """A whole answer with one register too few, and the byte count that belongs to it."""
    data = call.wrong[2:-2]
    yield call.frame(bytes([call.pdu[0], len(data)]) + data)


@behaviour
def wrong_byte_count(call):
    """The byte count does not say how many bytes there are."""
    wrong = call.wrong
    yield call.frame(bytes([wrong[0], wrong[1] + 1 & 0xFF]) + wrong[2:])


@behaviour
def wrong_transaction(call):
    """Another transaction id (on RTU there is none: another's answer, wrong in unit)."""
    other = call.unit + 1 if call.peer.framing == "rtu" else call.unit
    yield call.frame(call.wrong, transaction=call.transaction + 1, unit=other)


@behaviour
def wrong_protocol(call):
    """A protocol id that is not zero (on RTU: a wrong CRC)."""
    yield call.frame(call.wrong, protocol=1, bad_crc=True)


@behaviour
def wrong_length(call):
    """A length that no frame has (on RTU: a wrong CRC)."""
    yield call.frame(call.wrong, length=9000, bad_crc=True)


@behaviour
def wrong_crc(call):
    """A wrong check sum (on MBAP, which has none: a length of zero)."""
    yield call.frame(call.wrong, length=0, bad_crc=True)


@behaviour
def empty(call):
    """Only the function code."""
    yield call.frame(call.pdu[:1])


@behaviour
def half(call):
    """Half a frame, and nothing more."""
    whole = call.frame(call.good())
    yield whole[: len(whole) // 2]


@behaviour
def echo(call):
    """A line that echoes: the request comes back, then the answer."""
    yield call.raw + call.frame(call.good())


@behaviour
def only_echo(call):
    """The request comes back, and nothing else."""
    yield call.raw


@behaviour
def noise(call, count=20):
    """Bytes that mean nothing instead of an answer."""
    yield b"\xff" * count


@behaviour
def noise_before(call, junk=b"\x00\xff\x55"):
    """Noise on the line before a good answer (on MBAP that ruins the frame)."""
    yield junk + call.frame(call.good())


@behaviour
def noise_after(call, junk=b"\x00\xff\x55"):
    """Noise on the line behind a good answer."""
    yield call.frame(call.good()) + junk


@behaviour
def crumbs(call, pause=0.001):
    """A good answer, byte by byte."""
    for byte in call.frame(call.good()):
        yield bytes([byte])
        yield pause


@behaviour
def merged(call):
    """Another's stale answer and the good one in one piece."""
    stale = call.frame(call.wrong, transaction=call.transaction - 1, unit=call.unit + 1)
    yield stale + call.frame(call.good())


@behaviour
def poison_now(call):
    """Answers well; the next answer is spoiled, as after reading an undefined register."""
    call.peer.spoiled = True
    yield call.frame(call.good())


# --- values that are not to be trusted


@behaviour
def zeros(call):
    """Good in form, all registers zero: a lifetime counter at night."""
    good = call.good()
    yield call.frame(good[:2] + bytes(len(good) - 2))


@behaviour
def sentinels(call):
    """Good in form, all registers 0xFFFF: not implemented."""
    good = call.good()
    yield call.frame(good[:2] + b"\xff" * (len(good) - 2))


# --- writes


@behaviour
def write_dropped(call):
    """Confirmed, and not carried out."""
    yield call.frame(call.good(store=lambda _: []))


@behaviour
def write_clamped(call, to=1):
    """Confirmed, and another value is kept."""
    yield call.frame(call.good(store=lambda values: [to] * len(values)))


@behaviour
def write_settles(call, after=0.1):
    """Confirmed at once, in effect only ``after`` seconds."""
    done = call.good(store=lambda _: [])
    asyncio.get_running_loop().call_later(after, call.good)
    yield call.frame(done)


@behaviour
def write_unheard(call):
    """Carried out, and never confirmed."""
    call.good()
    return iter(())


@behaviour
def write_wrong_echo(call):
    """Carried out, confirmed with another address or value."""
    done = call.good()
    yield call.frame(done[:-1] + bytes([done[-1] ^ 1]))


@behaviour
def exception_other(call, code=0x55):
    """An exception code that no standard knows."""
    yield call.frame(bytes([call.pdu[0] | 0x80, code]))


@behaviour
def exception_of_other_function(call):
    """An exception to a function that was not asked."""
    yield call.frame(bytes([call.pdu[0] ^ 7 | 0x80, 2]))


@behaviour
def exception_long(call):
    """An exception with a byte too many."""
    yield call.frame(bytes([call.pdu[0] | 0x80, 2, 2]))


def _exception(code):
    def refuse(call):
        """The standard's exception of this code; nothing is carried out."""
        yield call.frame(bytes([call.pdu[0] | 0x80, code]))

    return refuse


BEHAVIOURS |= {f"exception-{code:02x}": _exception(code) for code in EXCEPTIONS}
