"""The test vectors of the frame wire format: ``python -m tests.support.wire_vectors`` writes docs/wire/vectors anew.

``NAME.bin`` holds messages back to back, ``NAME.jsonl`` what they say: a line for each batch, as docs/wire/decode.py
prints it. What JSON cannot write (NaN, infinities, -0.0) stands there as the 64 bits of the value in hexadecimal.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.batch import Batch, Loss
from gateway.directory import Directory
from gateway.frame import EMPTY, Frame, by_point
from gateway.point import Kind, Merge, Point
from gateway.quality import INVALID, Reason, no_value
from gateway.wire.message import FrameDecoder, FrameEncoder, Received
from gateway.wire.stream import messages

FOLDER = Path(__file__).parents[2] / "docs" / "wire" / "vectors"
EPOCH = 68_039_415_757_729
T0 = 1_769_860_800_000_000_000
SECOND = 1_000_000_000
_PRIME = 1_000_003


Item = Batch | Callable[[], object]
"""A batch, or something that is done to the directory before the next one."""


def vectors() -> dict[str, tuple[bytes, str]]:
    """By name: the messages, and the lines that they say."""
    return {name: written(*made) for name, made in _made()}


def written(directory: Directory, items: Sequence[Item]) -> tuple[bytes, str]:
    """A stream of messages, and the lines that it says."""
    encoder = FrameEncoder("feeder-7", directory)
    stream, lines = b"", ""
    for item in items:
        if isinstance(item, Batch):
            message, announced = encoder.encode(item)
            stream += b"".join([*(raw for _, raw in announced), message])
            lines += json.dumps(line(directory, item)) + "\n"
        else:
            item()
    return stream, lines


def read_all(stream: bytes) -> list[tuple[Received, list[str]]]:
    """The batches of a stream, each with the names of its samples' points."""
    decoder = FrameDecoder()
    found = [decoder.received(message) for message in messages(io.BytesIO(stream))]
    return [
        (one, [one.points[point]["name"] for point in one.batch.frame.point.tolist()])
        for one in found
        if one is not None
    ]


def line(directory: Directory, batch: Batch) -> dict[str, Any]:
    """What a batch says, in plain Python, one sample after the other."""
    frame = batch.frame.take(by_point(batch.frame.point))
    columns = (frame.point, frame.time, frame.value, frame.quality)
    record: dict[str, Any] = {
        "gateway": "feeder-7", "epoch": batch.epoch, "seq": batch.seq, "pipeline": batch.pipeline,
        "historical": batch.historical,
    }  # fmt: skip
    if batch.bounds:
        record["bounds"] = list(batch.bounds)
    if batch.loss:
        told = batch.loss
        record["loss"] = {"from": told.first_ns, "to": told.last_ns, "count": told.count, "reason": told.reason}
        if told.first_seq is not None:
            record["loss"] |= {"first_seq": told.first_seq, "last_seq": told.last_seq}
    if batch.chain:
        record["chain"], record["prev"] = batch.chain
    record["samples"] = [
        {"point": directory.name(p), "time": t, "value": value_of(directory.states(p), v), "quality": q}
        for p, t, v, q in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return record


def value_of(texts: list[str] | None, value: float) -> float | str:
    """A value as a line tells it."""
    if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
        return f"0x{np.array([value]).view(np.uint64)[0]:016x}"
    if texts and value.is_integer() and 0 <= value < len(texts):
        return texts[int(value)]
    return value


def _of(*names: str, **facts: Any) -> Directory:
    directory = Directory()
    for name in names:
        directory.add(Point(name=name, **facts))
    return directory


def _batch(frame: Frame, seq: int = 42, **more: Any) -> Batch:
    return Batch(seq, "live", 0, frame, epoch=EPOCH, **more)


def _wander(n: int, spread: int, start: int = 0) -> np.ndarray:
    """Integers that wander, the same on every machine."""
    steps = (np.arange(1, n + 1, dtype=np.int64) * _PRIME * (np.arange(n) % 7 + 1)) % (2 * spread + 1) - spread
    return start + np.cumsum(steps)


def _made() -> Iterator[tuple[str, tuple[Directory, Sequence[Item]]]]:
    three = _of("m1/voltage", "m1/current", "m1/energy")
    one_time = Frame.of([0, 1, 2], T0, [230.1, 5.25, 123456789])
    yield "one-time", (three, [_batch(one_time), _batch(one_time.replace(time=one_time.time + SECOND), 43)])
    yield "one-sample", (three, [_batch(Frame.of([1], -1, [-0.1], 0x41))])
    yield "empty", (three, [_batch(EMPTY)])
    yield "regular", (three, [_batch(_regular(3, 40))])
    yield "large", (_of(*(f"m{n}/power" for n in range(20))), [_batch(_regular(20, 40))])
    yield "times", (_of("a", "b", "c", "d", "e"), [_batch(frame, 50 + k) for k, frame in enumerate(_times())])
    yield "integers", (_of("a", "b"), [_batch(frame, 60 + k) for k, frame in enumerate(_integers())])
    yield "floats", (_of(*"abcdefg"), [_batch(frame, 90 + k) for k, frame in enumerate(_floats())])
    yield "specials", (_of("a", "b"), [_batch(frame, 110 + k) for k, frame in enumerate(_specials())])
    yield "huge", (_of("a", "b", "c"), [_batch(_huge())])
    words = [0, 1, 3, 0x41, 0x2000, 0xFFFF, *(1 << bit for bit in range(16))]
    yield "quality", (_of("a"), [_batch(Frame.of([0] * len(words), T0, [1.5] * len(words), words))])
    yield "states", _states()
    yield "losses", (three, _losses())
    bounds = (
        {"step": "deadband", "points": ["**"], "percent": 0.5},
        {"step": "swinging-door", "points": ["m1/*"], "absolute": 2.0},
    )
    yield "bounds", (three, [_batch(one_time, bounds=bounds, historical=True)])
    chained = [_batch(one_time, seq, chain=link) for seq, link in ((7, (3, 0)), (8, (3, 7)), (2**40, (3, 8)))]
    yield "chain", (three, chained)


def _regular(points: int, times: int) -> Frame:
    ids = np.tile(np.arange(points, dtype=np.int32), times)
    value = np.stack([_wander(times, 9 + k, 1000 * k) / 10 ** (k % 4) for k in range(points)], axis=1)
    return Frame.of(ids, np.repeat(T0 + np.arange(times) * 900 * SECOND, points), value.ravel())


def _times() -> Iterator[Frame]:
    uneven = T0 + np.cumsum(np.array([0, 3, 1, 7, 2, 9, 4]) * 1_000_000)
    yield Frame.of([0] * 7 + [1] * 7, np.tile(uneven, 2), np.arange(14.0))
    yield Frame.of([0] * 7 + [1] * 7 + [2] * 3, np.concatenate([uneven, uneven + 1, uneven[:3]]), np.arange(17.0))
    some = [uneven[:4], uneven[:4], uneven[2:4], uneven[2:4], uneven[:5]]
    ids = np.repeat(np.arange(5, dtype=np.int32), list(map(len, some)))
    yield Frame.of(ids, np.concatenate(some), np.arange(float(len(ids))))
    yield Frame.of([0, 0, 1, 1], [2**63 - 1, -(2**63), -1, 0], np.arange(4.0))
    yield Frame.of([0, 1, 2, 3, 4], [T0, T0, T0 + 5, T0 + 5, T0], np.arange(5.0))
    yield Frame.of([0] * 300, T0 + np.arange(300) ** 2 * 1000, np.zeros(300))


def _integers() -> Iterator[Frame]:
    """Every form, width and step of a column of integers."""
    for n in (2, 3, 20, 150):
        for spread in (3, 100, 30_000, 2_000_000_000, 3_000_000_000_000):
            yield Frame.of([0] * n, T0, _wander(n, spread).astype(np.float64))
    yield Frame.of([0] * 200, T0, np.arange(200) ** 2 * 500.0)
    yield Frame.of([0] * 200, T0, (np.arange(200) * _PRIME % 1000) * 250.0)
    yield Frame.of([0] * 3 + [1] * 200, T0, np.append([1e6, 1e6 + 1, 1e6 - 1], _wander(200, 5)))
    yield Frame.of([0, 0, 0, 1], T0, [7, 7, 7, 7])


def _floats() -> Iterator[Frame]:
    n = np.arange(30)
    of_decimals = (_wander(30, 50) / 10).astype(np.float32).astype(np.float64)
    singles = (1 / (n + 3)).astype(np.float32).astype(np.float64)
    doubles = 1 / (n + 3)
    yield Frame.of([0] * 30, T0, of_decimals)
    yield Frame.of([0] * 30, T0, singles)
    yield Frame.of([0] * 30, T0, doubles)
    parts = [n * 1.0, of_decimals, singles, doubles, n / 1e9, (n / 1e7).astype(np.float32).astype(np.float64), -doubles]
    yield Frame.of(np.repeat(np.arange(7, dtype=np.int32), 30), T0, np.concatenate(parts))
    yield Frame.of([0, 1, 2, 3], T0, [5e-324, 1.7976931348623157e308, 3.4028234663852886e38, 1.401298464324817e-45])


def _specials() -> Iterator[Frame]:
    every = [no_value(reason) for reason in Reason]
    yield Frame.of([0] * len(every), T0, every, INVALID)
    mixed = [1.5, math.inf, 2.5, -math.inf, -0.0, 0.0, no_value(Reason.TIMEOUT), 3.5, math.nan]
    yield Frame.of([0] * 9 + [1] * 9, T0, [*mixed, *mixed[::-1]])
    yield Frame.of([0, 1], T0, [-0.0, 1 / 3])
    long = _wander(400, 20) / 10
    long[100:110] = no_value(Reason.LINK_DOWN)
    yield Frame.of([0] * 400, T0, long)


def _huge() -> Frame:
    whole = [2.0**53, -(2.0**53), 2.0**53 - 1, 2.0**60 + 2.0**10, -(2.0**63), 2.0**62, 0.0]
    return Frame.of([0] * 7 + [1, 1, 2], T0, [*whole, 2.0**63, 1.0, 1e300])


def _states() -> tuple[Directory, Sequence[Item]]:
    """Directories that build on each other: more points, more texts, other facts."""
    directory = _of("m1/mode", kind=Kind.STATE)
    directory.state(0, "off")
    directory.state(0, "störung")
    second = Point(name="m1/power", unit="kW", kind=Kind.GAUGE, limits=(0.0, 50.0), resolution=0.1, merge=Merge.ADD,
                   labels={"phase": "L1"})  # fmt: skip
    return directory, [
        _batch(Frame.of([0, 0, 0, 0], T0, [1, 0, 2, 0.5]), 70),
        lambda: directory.add(second),
        _batch(Frame.of([0, 1], T0, [1, 2.5]), 71),
        lambda: directory.state(0, "auto"),
        _batch(Frame.of([0, 0], T0, [2, 3]), 72),
    ]


def _losses() -> list[Item]:
    return [
        _batch(EMPTY, loss=Loss(T0, T0 + SECOND, 48_210, "spool-full")),
        _batch(EMPTY, 43, loss=Loss(-5, 2**62, 2**40, "thinned", 12, 40), historical=True, chain=(2, 40)),
    ]


def main() -> None:
    """Write all vectors."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (stream, lines) in vectors().items():
        (FOLDER / f"{name}.bin").write_bytes(stream)
        (FOLDER / f"{name}.jsonl").write_text(lines, "utf-8")


if __name__ == "__main__":
    main()
