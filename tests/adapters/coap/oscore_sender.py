"""A process that sends under an OSCORE key until it is killed: ``oscore_sender.py FOLDER PORT``."""

import asyncio
import itertools
import socket
import sys
import time
from pathlib import Path

from aiocoap import GET, Message

from adapters.coap.options.credentials import OscoreOptions
from adapters.coap.security.oscore import OscoreKey
from tests.adapters.coap.oscore_peers import KEY


async def main(folder: str, port: str) -> None:
    key = await OscoreKey("plant", OscoreOptions(**KEY)).open(Path(folder), time.time_ns())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", int(port)))
        for mid in itertools.count():
            await key.ready()
            outer, _ = key.protect(Message(code=GET, uri="coap://127.0.0.1/temp"))
            outer.mid, outer.mtype = mid & 0xFFFF, 1
            out.send(outer.encode())
            await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
