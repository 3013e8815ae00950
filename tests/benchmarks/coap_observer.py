"""A bare aiocoap client on uvloop: ``coap_observer RESOURCES PORT ...``; makes a number of each notification."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiocoap import GET, Context, Message

from tests.benchmarks.child import told


async def watch(context: Context, port: int, resource: int) -> None:
    question = Message(code=GET, uri=f"coap://127.0.0.1:{port}/r{resource}", observe=0)
    request = context.request(question, handle_blockwise=False)
    total = float((await request.response).payload)
    async for message in request.observation:
        total += float(message.payload)


async def main(resources: int, ports: list[int]) -> None:
    context = await Context.create_client_context(transports=["udp6"])
    tasks = [asyncio.create_task(watch(context, port, at)) for port in ports for at in range(resources)]
    await told()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await context.shutdown()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
