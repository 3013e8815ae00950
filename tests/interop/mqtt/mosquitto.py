"""Debian's mosquitto on a free port, and its mosquitto_pub as the device."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

_CONFIG = """
listener {port} 127.0.0.1
set_tcp_nodelay true
persistence false
{options}
"""


def path_of(name: str) -> str | None:
    """Where a program is, if it is. Debian keeps servers in a folder that users' PATH may lack."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")


def program(name: str) -> str:
    """Its path."""
    found = path_of(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed: apt-get install mosquitto mosquitto-clients")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@asynccontextmanager
async def mosquitto(folder: Path, options: str = "allow_anonymous true"):
    """The port of a running broker."""
    port, config = free_port(), folder / "mosquitto.conf"
    config.write_text(_CONFIG.format(port=port, options=options))
    open_to_all(folder)
    process = _spawn(config, folder / "mosquitto.log")
    try:
        await _ready(folder / "mosquitto.log", process)
        yield port
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)


def _spawn(config: Path, log: Path) -> subprocess.Popen:
    with log.open("wb") as output:
        return subprocess.Popen([program("mosquitto"), "-c", str(config)], stdout=output, stderr=output)


def open_to_all(folder: Path) -> None:
    """Let mosquitto read what is in the folder: started as root, it goes on as another user."""
    for each in (folder, *list(folder.parents)[:2]):
        each.chmod(each.stat().st_mode | 0o055)
    for file in folder.iterdir():
        file.chmod(0o644)


async def _ready(log: Path, process: subprocess.Popen) -> None:
    """Wait until it says so: its WebSockets open later than its first port."""
    said = ""
    async with asyncio.timeout(15):
        while process.poll() is None:
            said = await asyncio.to_thread(log.read_text)
            if " running\n" in said:
                return
            await asyncio.sleep(0.01)
    raise RuntimeError(f"mosquitto ended at once: {said}")


async def publish(port: int, topic: str, *payloads: str, qos: int = 1, options: tuple[str, ...] = ()) -> None:
    """One mosquitto_pub that sends each line as a message."""
    command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", str(qos), "-l"]
    process = await asyncio.create_subprocess_exec(*command, *options, stdin=asyncio.subprocess.PIPE)
    await process.communicate("".join(f"{payload}\n" for payload in payloads).encode())
    assert process.returncode == 0
