"""Small builders that many tests share: configurations from YAML text, stores and engines over folders."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gateway.config import GatewayConfig, load
from gateway.directory import Directory
from gateway.engine import Engine
from gateway.point import Point
from gateway.store.store import Store


def config_of(text: str) -> GatewayConfig:
    """A checked configuration from YAML text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "onpath.yaml"
        path.write_text(text)
        return load(path, {})


def directory_of(*names: str, **options) -> Directory:
    """A directory with these points, ids 0, 1, 2 ..."""
    directory = Directory()
    for name in names:
        directory.add(Point(name=name, **options))
    return directory


def engine_over(folder: Path, config: GatewayConfig, now_ns: int = 0) -> Engine:
    """An engine as the daemon opens it, recovered from what the folder holds."""
    store = Store(folder, config.store, now_ns)
    directory = Directory(config.max_points)
    store.load_directory(directory)
    engine = Engine(store, directory, config.pipelines)
    engine.recover(now_ns)
    return engine


def spooled(engine: Engine, uplink: str = "out") -> list:
    """(pipeline, frame or loss) of each row waiting for an uplink, in order."""
    rows, after = [], 0
    while batch := engine.store.spool.read(uplink, after, 1, 0):
        rows.append((batch[0].pipeline, batch[0].loss or batch[0].frame))
        after = batch[0].seq
    return rows
