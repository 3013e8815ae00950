"""Workers of the core, in this process or in ones of their own: ``python -m tests.gateway.network.core.working``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from gateway.network.advert import Advert, encode
from gateway.network.assignment import record_of
from gateway.network.carrier.local import LocalCarrier
from gateway.network.config import NetworkConfig, Tier
from gateway.network.core.workers import CoreWorkers
from gateway.units import decode_quantity

EVERY_S = 1.0
TTL_S = 2.0


def options(folder, **more):
    return msgspec.convert(
        {"carrier": {"url": f"local:{folder}"}, "tier": "core", "advert": "1s", "snapshot": "300ms", **more},
        NetworkConfig,
        dec_hook=decode_quantity,
    )


class Worker:
    """A node of the core but for its gateway."""

    def __init__(self, carrier, name, config, ttl_s=TTL_S):
        self.carrier, self.name = carrier, name
        self.services = {}
        self.core = CoreWorkers(carrier, name, config, lambda: self.services, ttl_s=ttl_s)

    async def _watch(self):
        async for entries in self.carrier.watch("services"):
            for entry in entries:
                record = record_of(entry.value)
                self.services.pop(entry.key, None)
                if not record.removed:
                    self.services[entry.key] = record.version, record.yaml

    async def _advertise(self):
        number, boot = 0, time.time_ns()
        while True:
            number += 1
            advert = Advert(
                node=self.name, tier=Tier.CORE, site="core", boot=boot, number=number, every_s=EVERY_S,
                partitions=self.core.held,
            )  # fmt: skip
            await self.carrier.put("nodes", self.name, encode(advert))
            await asyncio.sleep(EVERY_S / 3)

    async def run(self):
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._advertise())
            await asyncio.sleep(0.1)
            group.create_task(self.core.run())


@contextlib.asynccontextmanager
async def working(carrier, name, config, ttl_s=TTL_S):
    """A worker in this process, which leaves in order."""
    worker = Worker(carrier, name, config, ttl_s)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Process:
    """A worker in a process of its own."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.status = {}
        self.errors = folder / f"{name}.log"

    async def start(self):
        command = [sys.executable, "-m", "tests.gateway.network.core.working", str(self.folder), self.name]
        with self.errors.open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=errors, cwd=Path(__file__).parents[4]
            )
        self._reading = asyncio.create_task(self._read())
        return self

    async def _read(self):
        async for line in self.process.stdout:
            self.status = json.loads(line)

    @property
    def held(self):
        return self.status.get("held", [])

    async def end(self, how=signal.SIGTERM):
        if self.process.returncode is None:
            self.process.send_signal(how)
        await self.process.wait()
        await self._reading
        self.status = {}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    carrier = LocalCarrier(arguments.folder)
    await carrier.open()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with working(carrier, arguments.name, options(arguments.folder)) as worker:
        while not over.is_set():
            print(json.dumps(worker.core.status() | {"cpu_s": time.process_time()}), flush=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await over.wait()
    await carrier.close()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    asyncio.run(main())
