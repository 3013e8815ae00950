"""The other side of the step ``python``: a process of its own that holds the user's object. Imports nothing of ours.

Run as a file by :mod:`pipelines.operators.own.python_pipe`, with two descriptors as arguments: requests, answers. Each
message is a header (``onpw``, the number of the request, the length of the body; little endian) and a body in msgpack:

==========================  =============================================
request                     answer
==========================  =============================================
start, facts                ok, added names, methods, trouble with the state
process, names, 4 columns   ok, added names, 4 columns
tick, now_ns                ok, added names, 4 columns
snapshot                    ok, added names, state
any                         error, added names, text
==========================  =============================================

Columns are the bytes of point (int32), time (int64), value (float64) and quality (uint16).
"""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import signal
import struct
import sys
import traceback
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

HEADER: Final = struct.Struct("<4sII")
MAGIC: Final = b"onpw"
COLUMNS: Final = (("point", np.int32), ("time", np.int64), ("value", np.float64), ("quality", np.uint16))
ARRAY: Final = 1
"""Code of the msgpack extension for arrays: [dtype, shape, bytes]."""
NAME: Final = re.compile(r"[^\x00-\x20\x7f+*?/]+(?:/[^\x00-\x20\x7f+*?/]+)*\Z")
MAX_NAME: Final = 512
GRACE_S: Final = 2.0
"""How much longer than its time limit a call may take until this process ends itself: should the gateway be gone."""


class Names(list[str]):
    """The names of points by their number; ``add`` makes new ones."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {}
        self.added: list[tuple[str, str]] = []

    def learn(self, names: list[str]) -> None:
        """Take names that the gateway gave."""
        for name in names:
            self.numbers[name] = len(self)
            self.append(name)

    def add(self, name: str, unit: str = "") -> int:
        """The number of a point of the class's own, made when new."""
        if name in self.numbers:
            return self.numbers[name]
        if not isinstance(name, str) or len(name) > MAX_NAME or not NAME.match(name):
            raise ValueError(f"{name!r} is no name of a point")
        self.learn([name])
        self.added.append((name, str(unit)))
        return self.numbers[name]


class Worker:
    """What is loaded, and the answers."""

    def __init__(self) -> None:
        self.names = Names()
        self.target: Any = None
        self.limit_s = 0.0

    def answer(self, request: list[Any]) -> list[Any]:
        """The answer to a request."""
        kind, *arguments = request
        limit_s = arguments[0]["start_timeout"] if kind == "start" else self.limit_s
        signal.setitimer(signal.ITIMER_REAL, limit_s + GRACE_S)  # nobody handles the signal: it ends the process
        try:
            found = getattr(self, f"_{kind}")(*arguments)
        # Broad on purpose: this is another's code, and whatever it raises is told to the gateway, which counts it.
        except Exception as error:  # noqa: BLE001
            found = ["error", _told(error)]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        added, self.names.added = self.names.added, []
        return [found[0], added, *found[1:]]

    def _start(self, facts: dict[str, Any]) -> list[Any]:
        self.names.learn(facts["names"])
        self.limit_s = facts["timeout"]
        _limit(facts["memory"])
        file = Path(facts["file"])
        sys.path.append(str(file.parent))  # for what the file imports from beside it
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is no Python file (.py)")
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        spec.loader.exec_module(module)
        make = getattr(module, facts["class"])
        self.target = make(**facts["options"])
        if not callable(getattr(self.target, "process", None)):
            raise TypeError(f"{facts['class']} has no method process(columns, names)")
        trouble = ""
        if facts["state"] is not None and hasattr(self.target, "restore"):
            try:
                self.target.restore(unpacked(facts["state"]))
            # Broad for the same reason; the class begins afresh.
            except Exception as error:  # noqa: BLE001
                trouble, self.target = _told(error), make(**facts["options"])
        methods = [name for name in ("tick", "snapshot", "restore") if callable(getattr(self.target, name, None))]
        return ["ok", methods, trouble]

    def _process(self, names: list[str], *columns: bytes) -> list[Any]:
        self.names.learn(names)
        given = {name: np.frombuffer(raw, dtype) for (name, dtype), raw in zip(COLUMNS, columns, strict=True)}
        return ["ok", *self._columns(self.target.process(given, self.names))]

    def _tick(self, now_ns: int) -> list[Any]:
        return ["ok", *self._columns(self.target.tick(now_ns, self.names))]

    def _snapshot(self) -> list[Any]:
        return ["ok", packed(self.target.snapshot())]

    def _columns(self, given: Any) -> list[bytes]:
        if given is None:
            return [b""] * len(COLUMNS)
        columns = [_column(given, name, np.dtype(dtype)) for name, dtype in COLUMNS]
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"columns differ in length: {', '.join(str(len(column)) for column in columns)}")
        point = columns[0]
        if len(point) and not 0 <= int(point.min()) <= int(point.max()) < len(self.names):
            raise ValueError(
                f"column point: there are {len(self.names)} names; names.add(...) gives the number of more"
            )
        return [column.tobytes() for column in columns]


def _column(given: Any, name: str, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if not hasattr(given, "keys") or name not in given:
        raise TypeError(f"process and tick give a dict of point, time, value and quality; {name} is missing")
    array = np.asarray(given[name])
    if array.ndim != 1 or (array.dtype.kind not in ("biuf" if dtype.kind == "f" else "biu") and len(array)):
        raise TypeError(f"column {name} has to be {dtype}, in one dimension; got {array.dtype} of shape {array.shape}")
    if dtype.kind != "f" and array.dtype != dtype and len(array):
        bounds = np.iinfo(dtype)
        if not bounds.min <= int(array.min()) <= int(array.max()) <= bounds.max:
            raise ValueError(f"column {name} has numbers that {dtype} cannot hold")
    return array.astype(dtype)


def _limit(memory: int) -> None:
    """What may be allocated beyond what is there now, in bytes; and no core dumps."""
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    allowed = used + memory if most == resource.RLIM_INFINITY else min(used + memory, most)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _told(error: Exception) -> str:
    """The last lines of a traceback, the frames of this file left out."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    lines = traceback.format_list(frames[-3:]) + traceback.format_exception_only(error)
    return "".join(lines)[-1500:].strip()


def packed(state: Any) -> bytes:
    """A state as bytes: numbers, texts, bytes, lists, dicts, and arrays of numbers."""
    data: bytes = msgpack.packb(state, default=_pack, use_bin_type=True)
    return data


def _pack(given: Any) -> Any:
    if isinstance(given, np.generic):
        return given.item()
    if isinstance(given, np.ndarray) and given.dtype.kind in "biuf":
        return msgpack.ExtType(ARRAY, msgpack.packb([given.dtype.str, given.shape, given.tobytes()]))
    raise TypeError(f"a snapshot holds numbers, texts, lists, dicts and arrays of numbers, not {type(given).__name__}")


def unpacked(data: bytes) -> Any:
    """The inverse of :func:`packed`."""
    return msgpack.unpackb(data, ext_hook=_unpack, strict_map_key=False)


def _unpack(code: int, data: bytes) -> Any:
    if code != ARRAY:
        raise ValueError(f"unknown extension {code}")
    dtype, shape, raw = msgpack.unpackb(data)
    return np.frombuffer(raw, np.dtype(dtype)).reshape(shape).copy()


def _read(descriptor: int, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(descriptor, min(count - len(parts), 1 << 20))
        if not part:
            os._exit(0)  # the gateway is gone, or wants us gone; whatever threads there may be
        parts += part
    return bytes(parts)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def main(requests: int, answers: int) -> None:
    """Answer until there are no more requests."""
    worker = Worker()
    while True:
        _, number, length = HEADER.unpack(_read(requests, HEADER.size))
        body = msgpack.packb(worker.answer(msgpack.unpackb(_read(requests, length), strict_map_key=False)))
        _write(answers, HEADER.pack(MAGIC, number, len(body)) + body)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
