"""Real CoAP servers to ask, a real CoAP client to push with, and the adapter beside them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import aiocoap
import msgspec
from aiocoap import resource

from adapters.coap.config import CoapConfig
from gateway.units import decode_quantity
from tests.support.context import RecordingContext, running


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Value(resource.ObservableResource):
    """A resource whose representation the test sets."""

    def __init__(self, payload: bytes, content_format: int | None = 0, *, max_age: int | None = None):
        super().__init__()
        self.payload = payload
        self.content_format = content_format
        self.max_age = max_age
        self.code = aiocoap.CONTENT
        self.gets = 0
        self.hold: asyncio.Event | None = None
        self.asked_by = None

    async def render_get(self, request):
        self.gets += 1
        self.asked_by = request.remote, request.token
        if self.hold is not None:
            await self.hold.wait()
        return self.message()

    def message(self):
        message = aiocoap.Message(code=self.code, payload=self.payload)
        message.opt.content_format = self.content_format
        message.opt.max_age = self.max_age
        return message

    def set(self, payload: bytes) -> None:
        self.payload = payload
        self.updated_state()

    @property
    def observers(self) -> int:
        return len(self._observations)


class Blocks(Value):
    """A resource that hands out its representation in blocks of 64 bytes, notifications too (RFC 7959)."""

    async def needs_blockwise_assembly(self, request):
        return False

    async def render_get(self, request):
        whole = await super().render_get(request)
        number = request.opt.block2.block_number if request.opt.block2 else 0
        return whole._extract_block(number, 2, 64)


class Fixed(resource.Resource):
    """A resource that cannot be observed."""

    def __init__(self, payload: bytes, content_format: int | None = 0):
        super().__init__()
        self.payload = payload
        self.content_format = content_format
        self.gets = 0

    async def render_get(self, request):
        self.gets += 1
        return aiocoap.Message(payload=self.payload, content_format=self.content_format)


@asynccontextmanager
async def serving(resources: dict[str, resource.Resource], port: int | None = None, host="127.0.0.1"):
    """A device: an aiocoap server with these paths; gives its port."""
    site = resource.Site()
    for path, item in resources.items():
        site.add_resource(path.strip("/").split("/"), item)
    port = port or free_port()
    context = await aiocoap.Context.create_server_context(site, bind=(host, port), transports=["udp6"])
    try:
        yield port
    finally:
        for _ in range(100):  # it takes what is still in its socket: the goodbyes of observers
            await asyncio.sleep(0)
        await context.shutdown()


@asynccontextmanager
async def pushing(port: int, host: str = "127.0.0.1"):
    """A device that pushes: a coroutine function that sends a payload to a path and gives the response."""
    client = await aiocoap.Context.create_client_context(transports=["udp6"])

    async def push(path, payload=b"", content_format=None, code=aiocoap.POST, **options):
        message = aiocoap.Message(code=code, uri=f"coap://{host}:{port}{path}", payload=payload, **options)
        message.opt.content_format = content_format
        return await client.request(message).response

    try:
        yield push
    finally:
        await client.shutdown()


def configured(**options) -> CoapConfig:
    """The options as the loader would build them from YAML."""
    return msgspec.convert({"type": "coap", **options}, CoapConfig, dec_hook=decode_quantity)


@asynccontextmanager
async def adapter_of(ctx: RecordingContext, **options):
    """The running adapter, once it has said that it is up."""
    adapter = configured(**options).create()
    async with running(adapter, ctx) as task:
        await ctx.until(lambda: task.done() or ("" in {device for device, _, _ in ctx.links}))
        if task.done():
            task.result()
        yield adapter
