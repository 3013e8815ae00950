"""An adapter that is connected to a peer and may write."""

from __future__ import annotations

from contextlib import asynccontextmanager

import msgspec

from adapters.modbus.config import ModbusPoint
from adapters.modbus.write_options import Write
from gateway.units import decode_quantity
from tests.adapters.modbus.peers import device, modbus
from tests.support.context import RecordingContext, running


def writable(at, as_=None, order="ABCD", *, settle=0.01, every=None, **more):
    """A point that may be written, from what a user writes; ``more`` are options of the point or of ``write``."""
    write = {key: more.pop(key) for key in list(more) if key in Write.__struct_fields__}
    options = {"at": at, "order": order, "write": {"settle": f"{settle * 1000:g}ms", **write}, **more}
    options |= ({"as": as_} if as_ else {}) | ({"every": f"{every}s"} if every else {})
    return msgspec.convert(options, ModbusPoint, dec_hook=decode_quantity)


@asynccontextmanager
async def connected(url, points, *, timeout_s=0.1, every=0.05, unit=1, retries=0, **more):
    """A running adapter with one device ``m``, and its context."""
    ctx = RecordingContext()
    config = modbus(url, {"m": device(unit, every, points, retries=retries)}, timeout=timeout_s, **more)
    adapter = config.create()
    async with running(adapter, ctx):
        await ctx.until(lambda: ("", True, "") in ctx.links)
        yield adapter, ctx


def writes_in(peer):
    """The PDUs of the requests that write, in the order they came."""
    return [pdu for _, pdu in peer.requests if pdu[0] in {5, 6, 15, 16, 22}]
