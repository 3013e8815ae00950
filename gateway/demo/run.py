"""The demo from start to end: broker, feeder, gateway and receiver, in order, and back again."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from gateway.broker import EmbeddedBroker
from gateway.control import NotRunningError, ask
from gateway.demo.children import FeederChild, GatewayChild
from gateway.demo.oracle import Verdict, judge
from gateway.demo.receiver import Receiver
from gateway.demo.report import Live, Report, adapters_of, report
from gateway.errors import OnpathError

UPSTREAM = "upstream/#"
"""What the receiver subscribes to, see the uplink in site.yaml."""
SITE = Path(__file__).with_name("site.yaml")
_READY_S = 20.0
_SETTLE_S = 5.0
_LOOK_S = 0.5
_POLL_S = 0.02


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen."""

    for_s: float | None = None
    """End by itself after so many seconds; None: only when told."""
    rate: float = 5.0
    """Messages a second of each of the 20 MQTT devices."""
    seed: int = 1
    config: Path = SITE
    """The gateway's configuration; says by ``DEMO_...`` variables what the shipped one says by them."""


class Demo:
    """One run. :meth:`run` may be called once."""

    def __init__(self, options: Options, *, watch: Callable[[Live, Receiver], None] | None = None) -> None:
        self.ended = asyncio.Event()
        """Set it to end the run."""
        self._options = options
        self._watch = watch
        self._live = Live()

    async def run(self) -> tuple[Report, Verdict]:
        """Start everything, run, stop everything; nothing stays behind.

        Raises:
            OnpathError: a part does not start, or ends before its time.
        """
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onpath-demo-")))
            broker = await stack.enter_async_context(EmbeddedBroker(folder / "broker"))
            receiver = stack.enter_context(Receiver(folder / "receiver.log"))
            taking = await self._subscribe(stack, receiver, broker)
            feeder = await stack.enter_async_context(
                FeederChild(folder, mqtt_port=broker.mqtt_port, rate=self._options.rate, seed=self._options.seed)
            )
            gateway = await stack.enter_async_context(GatewayChild(folder, self._options.config))
            await self._start(broker, feeder, gateway)
            began = time.monotonic()
            await self._watch_until_ended(feeder, gateway, receiver, taking)
            duration_s = time.monotonic() - began
            status, usage = await self._finish(feeder, gateway, receiver)
            with feeder.ack_log.open() as acks, (folder / "receiver.log").open() as arrivals:
                verdict = judge(acks, arrivals)
        final = report(duration_s=duration_s, status=status, receiver=receiver, verdict=verdict, usage=usage)
        return final, verdict

    @staticmethod
    async def _subscribe(stack: AsyncExitStack, receiver: Receiver, broker: EmbeddedBroker) -> asyncio.Task[None]:
        """Have the receiver listen before anything can be sent to it."""
        task = asyncio.create_task(receiver.run(broker.host, broker.mqtt_port, UPSTREAM), name="demo receiver")

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        stack.push_async_callback(end)
        subscribed = asyncio.create_task(receiver.subscribed.wait(), name="demo subscribed")
        await asyncio.wait({task, subscribed}, return_when=asyncio.FIRST_COMPLETED)
        subscribed.cancel()
        if task.done():
            task.result()
        return task

    async def _start(self, broker: EmbeddedBroker, feeder: FeederChild, gateway: GatewayChild) -> None:
        """Devices first, then the gateway; the MQTT devices publish when somebody listens."""
        await feeder.start()
        ports = await feeder.answer()
        await gateway.start(
            {
                "DEMO_STATE": str(gateway.state),
                "DEMO_MQTT_PORT": str(broker.mqtt_port),
                "DEMO_MODBUS_PORT": str(ports["modbus"]),
                "DEMO_COAP_PORT": str(ports["coap"]),
            }
        )
        try:
            async with asyncio.timeout(_READY_S):
                while not self._all_up(await self._status(gateway)):
                    gateway.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            links = {name: part.link for name, part in adapters_of(self._live.status).items()}
            why = f"has no links after {_READY_S:g} s: {links}"
            raise OnpathError(gateway.failure(why)) from None
        await feeder.tell("go")

    @staticmethod
    def _all_up(status: dict[str, Any]) -> bool:
        adapters = adapters_of(status)
        return bool(adapters) and all(part.link == "up" for part in adapters.values())

    async def _status(self, gateway: GatewayChild) -> dict[str, Any]:
        """The gateway's status; empty as long as it does not answer."""
        try:
            answer = await ask(gateway.state, "status")
        except NotRunningError:
            return {}
        status: dict[str, Any] = answer.get("status", {})
        self._live.status = status
        return status

    async def _watch_until_ended(
        self, feeder: FeederChild, gateway: GatewayChild, receiver: Receiver, taking: asyncio.Task[None]
    ) -> None:
        began = before = time.monotonic()
        adapters, size = adapters_of(self._live.status), receiver.bytes
        while not await self._ended_within(began):
            feeder.check()
            gateway.check()
            if taking.done():
                taking.result()
            now = time.monotonic()
            latest = adapters_of(await self._status(gateway))
            self._live.elapsed_s = now - began
            self._live.rates = {
                name: (part.samples - adapters[name].samples) / (now - before)
                for name, part in latest.items()
                if name in adapters
            }
            self._live.bytes_rate = (receiver.bytes - size) / (now - before)
            adapters, size, before = latest, receiver.bytes, now
            if self._watch is not None:
                self._watch(self._live, receiver)

    async def _ended_within(self, began: float) -> bool:
        """Wait until the next look or the end; whether it is the end."""
        wait = _LOOK_S
        if self._options.for_s is not None:
            wait = min(wait, began + self._options.for_s - time.monotonic())
        try:
            async with asyncio.timeout(max(wait, 0)):
                await self.ended.wait()
        except TimeoutError:
            return wait < _LOOK_S
        return True

    async def _finish(
        self, feeder: FeederChild, gateway: GatewayChild, receiver: Receiver
    ) -> tuple[dict[str, Any], tuple[float, float]]:
        """Silence the devices, let everything through, stop the gateway; its last status and usage."""
        await feeder.tell("stop")
        acknowledged: dict[str, int] = (await feeder.answer())["acknowledged"]
        await receiver.settle(acknowledged, _SETTLE_S)
        status = await self._status(gateway) or self._live.status
        usage = gateway.usage()
        code = await gateway.stop()
        if code:
            raise OnpathError(gateway.failure(f"ended with code {code} when it was told to stop"))
        await receiver.settle(acknowledged, _SETTLE_S / 5)  # all that is left is on its way already
        return status, usage
