"""A scene as a user starts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path


async def start(tmp_path: Path, *arguments: str) -> asyncio.subprocess.Process:
    """``onpath demo ...`` with its temporary folder below ``tmp_path``."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "demo", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )


async def run(tmp_path: Path, *arguments: str) -> tuple[dict, int]:
    """The object of the last line, and the exit code; nothing may be left behind."""
    process = await start(tmp_path, *arguments, "--json")
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out, err.decode()
    assert left_behind(tmp_path) == []
    return json.loads(out.splitlines()[-1]), process.returncode


async def interrupted(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Ctrl-C as soon as gateways start; the exit code, and what it said of it."""
    process = await start(tmp_path, *arguments)
    try:
        first = await process.stdout.readline()
        assert b"gateways" in first
        await asyncio.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, err.decode()


def left_behind(tmp_path: Path) -> list:
    """Folders and processes that still know the scene's folder."""
    found: list = [path for path in tmp_path.iterdir() if path.name.startswith("onpath-demo-")]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{tmp_path}/onpath-demo-".encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found
