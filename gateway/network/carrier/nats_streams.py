"""The streams and buckets of the network in JetStream: what they are like, and made where they are missing.

Sequence numbers begin at the time at which a stream is made, so that a server that was set up anew never gives a number
twice: what a reader knows of before is below all that comes.
"""

from __future__ import annotations

import time
from typing import Any, Final

from gateway.network.carrier.base import BUCKETS, DUPLICATES_S, OUT, OUT_S, UP
from gateway.network.carrier.nats_link import Line, RefusedError
from gateway.network.carrier.subjects import BLOB, PREFIX

FIRST_SHIFT: Final = 20
"""The first number is the time in s, so many bits up."""
NAME: Final = "onpath"
"""What the names of all streams begin with."""
BLOBS: Final = f"{NAME}-blobs"
NAMES_S: Final = 2.5
"""A cluster that has lost its leader does not answer; the next attempt may find one."""
_NS: Final = 10**9
_NAME_IN_USE: Final = 10058
_KEY_DUPLICATES_S: Final = 120.0


def stream_name(first: str) -> str:
    """The stream of a first word."""
    return f"{NAME}-{first}"


def bucket_stream(bucket: str) -> str:
    """The stream of a bucket, which other clients of NATS know as the key-value store ``onpath-<bucket>``."""
    return f"KV_{NAME}-{bucket}"


def bucket_prefix(bucket: str) -> str:
    """What stands before the keys of a bucket in its stream."""
    return f"$KV.{NAME}-{bucket}"


def wanted(replicas: int, now_s: float) -> list[dict[str, Any]]:
    """All streams, as JetStream's API takes them."""
    common = {
        "storage": "file",
        "retention": "limits",
        "num_replicas": replicas,
        "first_seq": int(now_s) << FIRST_SHIFT,
        "allow_direct": False,  # a follower may not have yet what the leader has confirmed
    }
    window = round(DUPLICATES_S * _NS)
    up = {"name": stream_name(UP), "subjects": [f"{PREFIX}.{UP}.>"], "discard": "new", "duplicate_window": window}
    out = {
        "name": stream_name(OUT), "subjects": [f"{PREFIX}.{OUT}.>"], "discard": "old", "duplicate_window": window,
        "max_age": round(OUT_S * _NS),
    }  # fmt: skip
    blobs = {"name": BLOBS, "subjects": [f"{BLOB}.>"], "discard": "new", "allow_rollup_hdrs": True}
    return [common | one for one in (up, out, blobs, *(_bucket(name, age_s) for name, age_s in BUCKETS.items()))]


def _bucket(name: str, age_s: float) -> dict[str, Any]:
    """As clients of NATS make a key-value store."""
    return {
        "name": bucket_stream(name),
        "subjects": [f"{bucket_prefix(name)}.>"],
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "max_age": round(age_s * _NS),
        "duplicate_window": round(min(age_s or _KEY_DUPLICATES_S, _KEY_DUPLICATES_S) * _NS),
    }


async def make_missing(line: Line, replicas: int) -> None:
    """Make what is not there; what is there stays as it is.

    Raises:
        CarrierError: it cannot be.
    """
    there = await _names(line)
    for stream in wanted(replicas, time.time()):
        if stream["name"] in there:
            continue
        try:
            await line.api(f"STREAM.CREATE.{stream['name']}", stream)
        except RefusedError as error:
            if error.code != _NAME_IN_USE:  # another node was quicker
                raise


async def _names(line: Line) -> set[str]:
    found = set[str]()
    while True:
        answer = await line.api("STREAM.NAMES", {"offset": len(found)}, min(line.timeout_s, NAMES_S))
        names = answer.get("streams") or []
        found |= set(names)
        if not names or len(found) >= answer["total"]:
            return found
