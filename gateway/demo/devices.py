"""MQTT devices that publish with QoS 1, and the log of what the broker acknowledged to them.

Each message carries ``seq``, which counts from 1 for each device without gaps. The log is the oracle's
first half: a line ``d07 42`` stands for the message 42 of device d07, written after its PUBACK came.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aiomqtt
import msgspec

from gateway.demo.replay import Plugs

if TYPE_CHECKING:
    from types import TracebackType

    from gateway.demo.replay import Floats

TOPIC = "demo/{device}/telemetry"
_SYNC_S = 0.5


class AckLog:
    """The log file: each line reaches the system at once, and the disk by :meth:`sync`."""

    def __init__(self, path: Path) -> None:
        self.counts: dict[str, int] = {}
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fdatasync(self._file)
        os.close(self._file)

    def acknowledged(self, device: str, seq: int) -> None:
        """The broker has taken message ``seq`` of ``device``."""
        os.write(self._file, f"{device} {seq}\n".encode())
        self.counts[device] = self.counts.get(device, 0) + 1

    async def sync(self) -> None:
        """Bring everything to the disk."""
        await asyncio.to_thread(os.fdatasync, self._file)


class Devices:
    """``n`` devices, each with its own connection and ``rate`` messages a second."""

    def __init__(self, n: int, *, rate: float, seed: int, speed: float, log: AckLog) -> None:
        self._plugs = Plugs(n, seed=seed, speed=speed)
        self._readings = self._plugs.step(0.0)
        self._n = n
        self._period_s = 1 / rate
        self._log = log
        self._stop = asyncio.Event()
        self.published = 0

    async def run(self, host: str, port: int) -> None:
        """Publish until :meth:`stop`; returns when every message sent is acknowledged.

        Raises:
            aiomqtt.MqttError: a connection is gone; what was under way is not in the log then.
        """
        async with asyncio.TaskGroup() as group:
            senders = [
                group.create_task(self._send(index, host, port), name=device_name(index)) for index in range(self._n)
            ]
            background = group.create_task(self._measure(), name="measure")
            try:
                await asyncio.wait(senders, return_when=asyncio.ALL_COMPLETED)
            finally:
                self.stop()  # wait_for of Python 3.11, inside aiomqtt, loses a cancellation that meets an answer
            background.cancel()

    def stop(self) -> None:
        """Publish nothing more."""
        self._stop.set()

    async def _measure(self) -> None:
        """New readings every half second; the log synced as often."""
        while True:
            await asyncio.sleep(_SYNC_S)
            self._readings = self._plugs.step(_SYNC_S)
            await self._log.sync()

    async def _send(self, index: int, host: str, port: int) -> None:
        device = device_name(index)
        topic = TOPIC.format(device=device)
        loop = asyncio.get_running_loop()
        async with aiomqtt.Client(host, port, identifier=f"demo-{device}") as client:
            due = loop.time() + self._period_s * index / self._n  # spread over one period
            seq = 0
            while not await self._stopped_before(due):
                seq += 1
                self.published += 1
                await client.publish(topic, message(self._readings, index, seq), qos=1)
                self._log.acknowledged(device, seq)
                due += self._period_s

    async def _stopped_before(self, due: float) -> bool:
        """Wait until ``due`` on the loop's clock or the end, whichever is first; whether it is the end."""
        wait = due - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(wait, 0)):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True


def message(readings: dict[str, Floats], index: int, seq: int) -> bytes:
    """The JSON of one message: ``ts`` in ms since 1970, ``seq``, and the readings."""
    values = {name: float(column[index]) for name, column in readings.items()}
    return msgspec.json.encode({"ts": time.time_ns() // 1_000_000, "seq": seq, **values})


def device_name(index: int) -> str:
    """``d01`` for the first."""
    return f"d{index + 1:02}"
