"""The devices that are asked, each under a task of its own, so that one can begin or end while others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from adapters.base import Context
from adapters.coap.asking.client import Device
from adapters.coap.options.device import DeviceOptions

STAGGER_S: Final = 0.005
"""Between the first questions to two devices, so that a start is no burst."""
STAGGER_MAX_S: Final = 1.0

Make = Callable[[str, DeviceOptions], Awaitable[Device]]


class _Running(NamedTuple):
    options: DeviceOptions
    device: Device
    task: asyncio.Task[None]


class Fleet:
    """What is asked now; ``make`` builds a device of its name and options."""

    def __init__(self, ctx: Context, group: asyncio.TaskGroup, make: Make) -> None:
        self._ctx = ctx
        self._group = group
        self._make = make
        self._running: dict[str, _Running] = {}
        self._lock = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._running)

    async def settle(self, wanted: Mapping[str, DeviceOptions]) -> None:
        """Ask these devices and no others; those whose options are the same do not notice.

        Raises:
            OSError: a socket cannot be had.
        """
        async with self._lock:
            differ = [name for name, running in self._running.items() if wanted.get(name) != running.options]
            for name in differ:
                await self._stop(name, gone=name not in wanted)
            new = [name for name in wanted if name not in self._running]
            for at, name in enumerate(new):
                await self._start(name, wanted[name], min(at * STAGGER_S, STAGGER_MAX_S))

    async def _start(self, name: str, options: DeviceOptions, delay_s: float) -> None:
        device = await self._make(name, options)

        async def ask() -> None:
            async with asyncio.TaskGroup() as tasks:
                device.start(tasks, delay_s)

        task = self._group.create_task(ask(), name=f"coap {self._ctx.name} device {name}")
        self._running[name] = _Running(options, device, task)

    async def _stop(self, name: str, *, gone: bool) -> None:
        running = self._running.pop(name)
        running.task.cancel()
        await asyncio.wait({running.task})
        self._ctx.expect(name, 0)
        if gone:
            running.device.gone("not asked any more")
