"""A scripted LwM2M client on aiocoap: registers, lets itself be observed, and misbehaves where it is told to."""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import asynccontextmanager

import aiocoap
import cbor2
from aiocoap import resource

from adapters.coap.lwm2m.tlv import Tag, encode
from tests.adapters.coap.peers import free_port

TLV, SENML_JSON, SENML_CBOR, OLD_JSON, LINKS = 11542, 110, 112, 11543, 40


def tlv_of(value) -> bytes:
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return value.to_bytes(4, signed=True)
    return struct.pack(">d", value) if isinstance(value, float) else str(value).encode()


class Instance(resource.ObservableResource):
    """An object instance; its resources by identifier, a dictionary for one with several values."""

    def __init__(self, client, path, resources):
        super().__init__()
        self.client = client
        self.path = path
        self.resources = resources
        self.attributes = []
        self.gets = []
        """(Observe, Accept) of each request."""
        self.formats = {TLV, SENML_JSON, SENML_CBOR, OLD_JSON}
        self.refuse = None
        self.refuse_attributes = False
        self.observable = True
        self.payload = None

    def set(self, **resources):
        """Change values (``r5700=21.5``) and notify."""
        self.resources |= {int(name[1:]): value for name, value in resources.items()}
        self.updated_state()

    async def add_observation(self, request, serverobservation):
        if self.observable and self.refuse is None:
            await super().add_observation(request, serverobservation)

    async def render_put(self, request):
        if self.refuse_attributes:
            return aiocoap.Message(code=aiocoap.BAD_REQUEST)
        self.attributes.append(request.opt.uri_query)
        return aiocoap.Message(code=aiocoap.CHANGED)

    async def render_get(self, request):
        self.gets.append((request.opt.observe, request.opt.accept))
        accept = request.opt.accept
        if accept == LINKS:
            links = ",".join(f"<{self.path}/{key}>" for key in self.resources)
            return aiocoap.Message(payload=f"<{self.path}>,{links}".encode(), content_format=LINKS)
        if self.refuse is not None:
            return aiocoap.Message(code=self.refuse)
        if accept is not None and accept not in self.formats:
            return aiocoap.Message(code=aiocoap.NOT_ACCEPTABLE)
        form = accept if accept is not None else TLV
        return aiocoap.Message(payload=self.payload or self.encoded(form), content_format=form)

    def encoded(self, form) -> bytes:
        if form == TLV:
            return b"".join(self._tlv(key, value) for key, value in self.resources.items())
        records = [
            {"n": str(key), "vs" if isinstance(value, str) else "v": value}
            for key, value in self.resources.items()
            if not isinstance(value, dict)
        ]
        if form == OLD_JSON:
            entries = [{"n": it["n"]} | ({"sv": it["vs"]} if "vs" in it else {"v": it["v"]}) for it in records]
            return json.dumps({"bn": f"{self.path}/", "e": entries}).encode()
        records[0]["bn"] = f"{self.path}/"
        if form == SENML_JSON:
            return json.dumps(records).encode()
        labels = {"bn": -2, "n": 0, "v": 2, "vs": 3}
        return cbor2.dumps([{labels[key]: value for key, value in record.items()} for record in records])

    @staticmethod
    def _tlv(key, value) -> bytes:
        if isinstance(value, dict):
            inner = b"".join(encode(Tag.RESOURCE_INSTANCE, at, tlv_of(part)) for at, part in value.items())
            return encode(Tag.MULTIPLE, key, inner)
        return encode(Tag.RESOURCE, key, tlv_of(value))


class Single(resource.ObservableResource):
    """One resource by itself, as text."""

    def __init__(self, value, *, observable=True):
        super().__init__()
        self.value = value
        self.observable = observable

    async def add_observation(self, request, serverobservation):
        if self.observable:
            await super().add_observation(request, serverobservation)

    async def render_get(self, request):
        return aiocoap.Message(payload=str(self.value).encode(), content_format=0)

    async def render_put(self, request):
        return aiocoap.Message(code=aiocoap.CHANGED)

    def set(self, value):
        self.value = value
        self.updated_state()


class Client:
    """The client; ``objects`` by path."""

    def __init__(self, server_port, endpoint="urn:dev:os:7", version="1.0", lifetime=3600, extra=""):
        self.server = f"coap://127.0.0.1:{server_port}"
        self.endpoint = endpoint
        self.version = version
        self.lifetime = lifetime
        self.extra = extra
        self.site = resource.Site()
        self.objects = {}
        self.context = None
        self.location = ()
        self.port = free_port()

    def add(self, path, **resources) -> Instance:
        """An object instance with ``r5700=21.5``; gives it."""
        found = Instance(self, path, {int(name[1:]): value for name, value in resources.items()})
        self.place(path, found)
        return found

    def place(self, path, item):
        self.objects[path] = item
        self.site.add_resource(path.strip("/").split("/"), item)
        return item

    @property
    def links(self):
        return ",".join(f"<{path}>" for path in self.objects if path.count("/") == 2)

    async def open(self):
        self.context = await aiocoap.Context.create_server_context(
            self.site, bind=("127.0.0.1", self.port), transports=["udp6"]
        )

    async def close(self):
        if self.context is not None:
            context, self.context = self.context, None
            await context.shutdown()

    async def move(self):
        """Another port, as after a NAT has forgotten the first one."""
        await self.close()
        self.port = free_port()
        await self.open()

    async def ask(self, path, code=aiocoap.POST, payload=b"", content_format=None):
        message = aiocoap.Message(code=code, uri=self.server + path, payload=payload)
        message.opt.content_format = content_format
        async with asyncio.timeout(10):
            return await self.context.request(message).response

    async def register(self, links=None):
        """Register; the answer's code."""
        query = f"ep={self.endpoint}&lt={self.lifetime}&lwm2m={self.version}{self.extra}"
        answer = await self.ask(f"/rd?{query}", payload=(self.links if links is None else links).encode())
        if answer.code == aiocoap.CREATED:
            self.location = answer.opt.location_path
        return answer.code

    async def update(self, query="", links=None):
        path = "/" + "/".join(self.location) + (f"?{query}" if query else "")
        return (await self.ask(path, payload=(links or "").encode())).code

    async def leave(self):
        return (await self.ask("/" + "/".join(self.location), code=aiocoap.DELETE)).code


@asynccontextmanager
async def lwm2m_client(server_port, **options):
    """A client that listens; it registers when it is told to."""
    client = Client(server_port, **options)
    await client.open()
    try:
        yield client
    finally:
        await client.close()
