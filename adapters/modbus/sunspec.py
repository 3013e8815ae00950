"""The SunSpec chain of a device: a marker, and behind it models with id and length. No I/O of its own.

    base    "SunS"                       at 40000, 0 or 50000
    base+2  id 1 | length L | L registers
            id 1 | length L | L registers ...
            0xFFFF                       (its length of 0 is missing on some devices)

A scan reads ids and lengths only. Whatever a device answers, it ends: addresses only grow, and the number of
models is bounded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapters.modbus.pdu import AnswerError
from gateway.errors import PayloadError
from gateway.quality import Reason

BASES = (40000, 0, 50000)
"""Where the marker may lie, in this order."""
MARKER = b"SunS"
MAX_MODELS = 128
_END = 0xFFFF

Read = Callable[[int, int], Awaitable[bytes]]
"""Reads registers, (address, count): their bytes, or :class:`AnswerError`."""


class Model(msgspec.Struct, frozen=True, array_like=True):
    """One model: ``address`` is that of its id, ``length`` counts what follows id and length."""

    id: int
    address: int
    length: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + 2 + self.length


class Chain(msgspec.Struct, frozen=True):
    """What a device has."""

    base: int
    models: tuple[Model, ...]


class SunSpecError(PayloadError):
    """There is no usable chain; ``reason`` says why.

    ``no-sunspec-map``, ``truncated-chain``, ``absurd-model``, ``absurd-length`` or ``endless-chain``.
    """


async def scan(read: Read, bases: Sequence[int] = BASES) -> Chain:
    """Find the marker and follow the chain.

    Raises:
        SunSpecError: there is none, or it makes no sense.
        AnswerError: the device stopped answering in the middle of it.
    """
    told = []
    for base in bases:
        try:
            found = await read(base, 2)
        except AnswerError as error:
            told.append(f"{base}: {error.reason}")
            continue
        if found == MARKER:
            return Chain(base, await _models(read, base + 2))
        told.append(f"{base}: {found.hex()}")
    raise SunSpecError("no-sunspec-map", ", ".join(told))


async def _models(read: Read, address: int) -> tuple[Model, ...]:
    models: list[Model] = []
    while (header := await _header(read, address)) is not None:
        model = Model(header[0], address, header[1])
        if model.id == 0 or model.length == 0:
            raise SunSpecError("absurd-model", f"id {model.id}, length {model.length} at {address}")
        if model.end > _END:
            raise SunSpecError("absurd-length", f"model {model.id} at {address} has {model.length} registers")
        models.append(model)
        if len(models) > MAX_MODELS:
            raise SunSpecError("endless-chain", f"more than {MAX_MODELS} models")
        address = model.end
    return tuple(models)


async def _header(read: Read, address: int) -> tuple[int, int] | None:
    """Id and length at an address; None at the end of the chain."""
    try:
        found = await read(address, 2)
    except AnswerError as error:
        if error.code is not Reason.ILLEGAL_DATA_ADDRESS:
            raise
        found = await _lone(read, address)
    ident = int.from_bytes(found[:2], "big")
    return None if ident == _END else (ident, int.from_bytes(found[2:4], "big"))


async def _lone(read: Read, address: int) -> bytes:
    """The end mark of a device that has no length behind it."""
    try:
        found = await read(address, 1)
    except AnswerError as error:
        if error.code is not Reason.ILLEGAL_DATA_ADDRESS:
            raise
        found = b""
    if found != b"\xff\xff":
        raise SunSpecError("truncated-chain", f"a model was expected at {address}")
    return found


async def holds(read: Read, chain: Chain) -> bool:
    """Whether a device still has what was found earlier: marker, and id and length of each model.

    Raises:
        AnswerError: the device does not answer (a refused address is an answer: it has not).
    """
    try:
        if await read(chain.base, 2) != MARKER:
            return False
        for model in chain.models:
            if await _header(read, model.address) != (model.id, model.length):
                return False
        return await _header(read, chain.models[-1].end if chain.models else chain.base + 2) is None
    except SunSpecError:
        return False
    except AnswerError as error:
        if error.code is Reason.ILLEGAL_DATA_ADDRESS:
            return False
        raise
