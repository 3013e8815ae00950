"""The registers of a scripted unit, and what it answers when nothing is wrong with it. Bytes in, bytes out.

The functions 1 to 6, 15, 16, 22 and 43/14 are written out here by the standard, without any code of ours
or of pymodbus, so that a mistake in one of those shows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
MOST = {"coil": 2000, "discrete": 2000, "holding": 125, "input": 125}


class RefusalError(Exception):
    """The unit answers with this exception code."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


@dataclass
class Bank:
    """One unit. A register that was not set reads as its own address (so that a shifted answer shows).

    ``holes``       (table, address) pairs that are refused with exception 2, alone or within a longer read
    ``values``      (table, address, width): a read or write that cuts one is refused with exception 2
    ``max_count``   addresses a read may have; above it exception ``max_code``
    ``poison``      (table, address) pairs: reading one answers, and spoils the answer behind it
    ``functions``   function codes the unit knows; others get exception 1
    ``objects``     device identification (function 43/14): number to text
    ``writes``      every write that was asked for: (function, address, values), also those not carried out
    """

    tables: dict = field(default_factory=lambda: {table: {} for table in MOST})
    holes: set = field(default_factory=set)
    values: list = field(default_factory=list)
    max_count: int = 2000
    max_code: int = 2
    poison: set = field(default_factory=set)
    functions: set = field(default_factory=lambda: {1, 2, 3, 4, 5, 6, 15, 16, 22, 43})
    objects: dict = field(default_factory=dict)
    writes: list = field(default_factory=list)

    @property
    def holding(self):
        return self.tables["holding"]

    @property
    def input(self):
        return self.tables["input"]

    @property
    def coil(self):
        return self.tables["coil"]

    def float32(self, table, address, *numbers):
        """Put numbers there, most significant word first; each is one value that cannot be cut."""
        for i, number in enumerate(numbers):
            high, low = struct.unpack(">HH", struct.pack(">f", number))
            self.tables[table] |= {address + 2 * i: high, address + 2 * i + 1: low}
            self.values.append((table, address + 2 * i, 2))

    def get(self, table, address):
        default = address & 1 if table in {"coil", "discrete"} else address
        return self.tables[table].get(address, default)

    def check(self, table, address, count):
        if not 1 <= count <= MOST[table]:
            raise RefusalError(3)
        if count > self.max_count:
            raise RefusalError(self.max_code)
        end = address + count
        if end > 0x1_0000 or any(name == table and address <= hole < end for name, hole in self.holes):
            raise RefusalError(2)
        for name, at, width in self.values:
            if name == table and any(at < edge < at + width for edge in (address, end)):
                raise RefusalError(2)

    def poisoned(self, pdu):
        """Whether a read touches a register that spoils what follows."""
        if pdu[0] not in TABLES or len(pdu) != 5:
            return False
        address, count = struct.unpack_from(">HH", pdu, 1)
        return any((TABLES[pdu[0]], at) in self.poison for at in range(address, address + count))

    def read(self, table, address, count):
        self.check(table, address, count)
        return [self.get(table, at) for at in range(address, address + count)]

    def write(self, function, table, address, values, store=None):
        """``store``: what is kept instead of the values, as a function; None keeps them."""
        self.writes.append((function, address, list(values)))
        self.check(table, address, len(values))
        kept = values if store is None else store(values)
        self.tables[table].update({address + i: value for i, value in enumerate(kept)})

    def answer(self, pdu, store=None):
        """The answer's PDU; the truth that faults are made of."""
        try:
            return self._answer(pdu, store)
        except RefusalError as refusal:
            return bytes([pdu[0] | 0x80, refusal.code])
        except (struct.error, IndexError):
            return bytes([pdu[0] | 0x80, 3])

    def _answer(self, pdu, store):
        function = pdu[0]
        if function not in self.functions:
            raise RefusalError(1)
        if function in TABLES:
            address, count = struct.unpack(">HH", pdu[1:])
            values = self.read(TABLES[function], address, count)
            data = bits(values) if function <= 2 else words(values)
            return bytes([function, len(data)]) + data
        if function == 43:
            return self._identify(pdu)
        address, number = struct.unpack_from(">HH", pdu, 1)
        if function == 5:
            if number not in {0, 0xFF00}:
                raise RefusalError(3)
            self.write(5, "coil", address, [number >> 8 & 1], store)
        elif function == 6:
            self.write(6, "holding", address, [number], store)
        elif function == 15:
            values = [pdu[6 + i // 8] >> i % 8 & 1 for i in range(number)]
            self.write(15, "coil", address, values, store)
        elif function == 16:
            self.write(16, "holding", address, list(struct.unpack(f">{number}H", pdu[6:])), store)
        elif function == 22:
            keep, new = struct.unpack_from(">HH", pdu, 3)
            old = self.read("holding", address, 1)[0]
            self.write(22, "holding", address, [old & keep | new & ~keep & 0xFFFF], store)
        else:
            raise RefusalError(1)
        return pdu[:5] if function in {15, 16} else pdu

    def _identify(self, pdu):
        if not self.objects or pdu[1] != 0x0E:
            raise RefusalError(1)
        code, first = pdu[2], pdu[3]
        last = {1: 2, 2: 0x7F, 3: 0xFF, 4: first}[code]
        chosen = {key: text for key, text in sorted(self.objects.items()) if first <= key <= last}
        if not chosen:
            raise RefusalError(2)
        out, more = b"", 0
        for key, text in chosen.items():
            item = bytes([key, len(text)]) + text.encode()
            if len(out) + len(item) > 240:
                more = key
                break
            out += item
            count = list(chosen).index(key) + 1
        return bytes([43, 0x0E, code, 0x83, 0xFF if more else 0, more, count]) + out


def bits(values):
    out = bytearray((len(values) + 7) // 8)
    for i, value in enumerate(values):
        out[i // 8] |= bool(value) << i % 8
    return bytes(out)


def words(values):
    return struct.pack(f">{len(values)}H", *values)


def crc(frame):
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)
