"""The stream that takes what the uplink publishes: looked at, or created, over JetStream's API.

Source: the server's API as of version 2.11, JSON over requests to ``$JS.API.>``; error codes from the server's list.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from gateway.errors import LinkError
from gateway.units import Duration
from gateway.uplinks.nats.config import CreateStream, NatsUplinkConfig
from gateway.uplinks.nats.connection import Connection
from gateway.uplinks.nats.subjects import all_subjects, covers

NO_STREAM: Final = 10059
"""Error code: there is no such stream."""
TOO_LARGE: Final = 10054
"""Error code: a message is larger than the stream allows."""
WRONG_STREAM: Final = 10060
"""Error code: another stream takes the subject."""
_NS: Final = 10**9


class ApiError(msgspec.Struct):
    """What JetStream says when it refuses."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    def __str__(self) -> str:
        return f"{self.description or 'no reason given'} ({self.err_code or self.code})"


class StreamOptions(msgspec.Struct):
    """Of a stream's configuration, what matters here. Durations are in ns."""

    subjects: list[str] = []
    retention: str = "limits"
    max_bytes: int = -1
    max_age: int = 0
    max_msg_size: int = -1
    discard: str = "old"
    storage: str = "file"
    num_replicas: int = 1
    duplicate_window: int = 0
    allow_rollup_hdrs: bool = False
    no_ack: bool = False
    sealed: bool = False
    persist_mode: str = "default"


class StreamState(msgspec.Struct):
    """What is in a stream now."""

    first_seq: int = 0
    last_seq: int = 0


class Stream(msgspec.Struct):
    """A stream as its server describes it."""

    config: StreamOptions
    state: StreamState
    created: str = ""


async def open_stream(connection: Connection, config: NatsUplinkConfig, subject: str) -> Stream:
    """The stream that ``config`` names, created if that is wanted and there is none.

    Args:
        connection: to one of its servers.
        config: the uplink's options.
        subject: one that will be published to.

    Raises:
        LinkError: there is none, or it is not one for us; with what to do about it.
    """
    name = config.stream
    answer = await connection.ask(f"STREAM.INFO.{name}")
    error = _error(answer)
    if error is not None and error.err_code == NO_STREAM:
        if config.create_stream is False:
            raise LinkError(f"there is no stream {name}, and create is false; make it, or let it be created")
        wanted = wish(config)
        answer = await connection.ask(f"STREAM.CREATE.{name}", wanted)
        error = _error(answer)
        if error is not None:
            raise LinkError(f"stream {name} cannot be created: {error}")
    elif error is not None:
        raise LinkError(f"stream {name}: {error}")
    stream = msgspec.convert(answer, Stream)
    _check(stream, name, subject)
    return stream


def wish(config: NatsUplinkConfig) -> dict[str, Any]:
    """The stream's configuration as the API wants it."""
    options = config.new_stream
    window = options.duplicate_window.ns
    if options.max_age.ns:
        window = min(window, options.max_age.ns)  # the server refuses one that is longer
    return {
        "name": config.stream,
        "subjects": list(options.subjects) or all_subjects(config.subject),
        "retention": "limits",
        "max_age": options.max_age.ns,
        "max_bytes": int(options.max_bytes) or -1,
        "discard": options.discard,
        "storage": options.storage,
        "num_replicas": options.replicas,
        "duplicate_window": window,
        "allow_rollup_hdrs": True,  # so that of a directory message only the last one stays
        "allow_direct": True,
    }


def _check(stream: Stream, name: str, subject: str) -> None:
    options = stream.config
    if not any(covers(pattern, subject) for pattern in options.subjects):
        raise LinkError(f"stream {name} takes {', '.join(options.subjects) or 'nothing'}, not {subject}")
    for wrong, what in ((options.no_ack, "acknowledges nothing (no_ack)"), (options.sealed, "is sealed")):
        if wrong:
            raise LinkError(f"stream {name} {what}")


def remarks(stream: Stream, config: NatsUplinkConfig) -> list[str]:
    """What somebody should know about the stream: how it may lose messages, and where it is not as was asked for."""
    options, name, found = stream.config, config.stream, list[str]()
    if options.storage == "memory":
        found.append(f"stream {name} is kept in memory: a restart of the server loses it")
    if options.persist_mode == "async":
        found.append(f"stream {name} acknowledges before it has written anything (persist_mode: async)")
    if options.discard == "old" and (options.max_bytes > 0 or options.max_age > 0):
        found.append(f"stream {name} drops old messages without a word when it is full (discard: old)")
    if options.duplicate_window <= 0:
        found.append(f"stream {name} does not remove repetitions (duplicate_window: 0)")
    if isinstance(config.create_stream, CreateStream):
        found += _differences(options, config)
    return found


def _differences(options: StreamOptions, config: NatsUplinkConfig) -> list[str]:
    """Where a stream that was there already is another one than would have been created."""
    words = {"max_age": _time, "duplicate_window": _time}
    found = []
    for key, value in wish(config).items():
        there = getattr(options, key, value)
        if key == "max_bytes":
            there = there if there > 0 else -1
        if key not in {"subjects", "allow_rollup_hdrs"} and there != value:
            say = words.get(key, str)
            found.append(f"stream {config.stream} has {key} {say(there)}, not {say(value)}; it is left as it is")
    return found


def _time(ns: int) -> str:
    return f"{Duration(ns / _NS):g}s"


async def id_at(connection: Connection, stream: str, seq: int) -> str | None:
    """The record id of the message with a sequence number, empty if it has none; None if there is no such message."""
    answer = await connection.ask(f"STREAM.MSG.GET.{stream}", {"seq": seq})
    if _error(answer) is not None:
        return None
    headers = base64.b64decode(answer.get("message", {}).get("hdrs", "")).decode("utf-8", "replace")
    for line in headers.split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "nats-msg-id":
            return value.strip()
    return ""


def _error(answer: dict[str, Any]) -> ApiError | None:
    return msgspec.convert(answer["error"], ApiError) if answer.get("error") else None
