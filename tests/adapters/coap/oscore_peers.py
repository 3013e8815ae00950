"""Devices that speak OSCORE by aiocoap's own security contexts, which keep their state in files of their own."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiocoap
from aiocoap import interfaces, oscore, resource
from aiocoap.pipe import IterablePipe, run_driving_pipe

from tests.adapters.coap.peers import free_port

SECRET = "0102030405060708090a0b0c0d0e0f10"
SALT = "9e7ca92223786340"
KEY = {"secret": SECRET, "salt": SALT, "sender": "01", "recipient": "02"}


@contextmanager
def peer_context(folder: Path, *, secret=SECRET, salt=SALT, sender="02", recipient="01", **settings):
    """The other side of KEY. ``lost=True``: its replay window was lost."""
    folder.mkdir(exist_ok=True)
    lost = settings.pop("lost", False)
    facts = {"secret_hex": secret, "salt_hex": salt, "sender-id_hex": sender, "recipient-id_hex": recipient}
    (folder / "settings.json").write_text(json.dumps(facts | settings))
    if lost:
        (folder / "sequence.json").write_text(json.dumps({"next-to-send": 1000, "received": "unknown"}))
    context = oscore.FilesystemSecurityContext(str(folder))
    try:
        yield context
    finally:
        context._destroy()


class OscoreDevice(interfaces.Resource):
    """Opens requests, lets a site answer them, and protects the answers; keeps what came in."""

    def __init__(self, site, context):
        self.site = site
        self.context = context
        self.outer = []
        self.plain_answer = None

    async def needs_blockwise_assembly(self, request):
        return False

    async def render(self, request):
        raise NotImplementedError

    async def render_to_pipe(self, pipe):
        request = pipe.request
        self.outer.append(request)
        if self.plain_answer is not None:
            pipe.add_response(self.plain_answer.copy(), is_last=True)
            return
        if request.opt.oscore is None:
            pipe.add_response(aiocoap.Message(code=aiocoap.UNAUTHORIZED), is_last=True)
            return
        try:
            plain, request_id = self.context.unprotect(request)
        except oscore.ReplayErrorWithEcho as challenge:
            pipe.add_response(challenge.to_message(), is_last=True)
            return
        except oscore.ProtectionInvalid:
            text = b"Decryption failed"
            pipe.add_response(aiocoap.Message(code=aiocoap.BAD_REQUEST, payload=text), is_last=True)
            return
        plain.remote = request.remote
        inner = IterablePipe(plain)
        run_driving_pipe(inner, self.site.render_to_pipe(inner))
        async for event in inner:
            message = event.message
            if not event.is_last:
                message.opt.observe = 0
            outer, _ = self.context.protect(message, request_id)
            if message.opt.observe is not None:
                outer.opt.observe = self.context.sender_sequence_number & 0xFFFFFF
            pipe.add_response(outer, is_last=event.is_last)
            if event.is_last:
                break


@asynccontextmanager
async def device(context, resources, port=None):
    """A device; gives it and its port."""
    site = resource.Site()
    for path, item in resources.items():
        site.add_resource(path.strip("/").split("/"), item)
    port = port or free_port()
    wrapped = OscoreDevice(site, context)
    server = await aiocoap.Context.create_server_context(wrapped, bind=("127.0.0.1", port), transports=["udp6"])
    try:
        yield wrapped, port
    finally:
        await server.shutdown()


@asynccontextmanager
async def protected_pushing(port, context):
    """As ``pushing``, under a security context; answers of an Echo challenge is up to the test."""
    client = await aiocoap.Context.create_client_context(transports=["udp6"])

    async def push(path, payload=b"", **options):
        message = aiocoap.Message(code=aiocoap.POST, payload=payload, **options)
        message.opt.uri_path = path.strip("/").split("/")
        outer, request_id = context.protect(message)
        outer.set_request_uri(f"coap://127.0.0.1:{port}/")
        push.last = outer
        response = await client.request(outer, handle_blockwise=False).response
        if response.opt.oscore is None:
            return response
        plain, _ = context.unprotect(response, request_id)
        return plain

    try:
        yield push
    finally:
        await client.shutdown()
