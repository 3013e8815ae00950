"""A device by aiocoap's own means: ``oscore_device.py CREDENTIALS PORT``; counts up at /t, for those with a key."""

import asyncio
import json
import sys
from pathlib import Path

import aiocoap
from aiocoap import resource
from aiocoap.credentials import CredentialsMap
from aiocoap.oscore_sitewrapper import OscoreSiteWrapper


class Counter(resource.ObservableResource):
    value = 0

    async def render_get(self, request):
        if not request.remote.authenticated_claims:
            raise aiocoap.error.Unauthorized
        return aiocoap.Message(payload=b"%d" % self.value, content_format=0)


async def main(facts: dict, port: str) -> None:
    credentials, site, counter = CredentialsMap(), resource.Site(), Counter()
    credentials.load_from_dict(facts)
    site.add_resource(["t"], counter)
    wrapped = OscoreSiteWrapper(site, credentials)
    bind = ("127.0.0.1", int(port))
    await aiocoap.Context.create_server_context(wrapped, bind=bind, server_credentials=credentials)
    while True:
        await asyncio.sleep(0.1)
        counter.value += 1
        counter.updated_state()


asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]))
