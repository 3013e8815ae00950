"""NATS servers: JetStream, the stream, and their limits. Creates and publishes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.doctor import reach
from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.links import Target
from gateway.doctor.patient import Patient, is_known
from gateway.errors import LinkError
from gateway.units import Duration
from gateway.uplinks.nats.config import NatsUplinkConfig

ANSWER_S: Final = 2.0
NO_STREAM: Final = 10059
SHORT_S: Final = 600
"""A duplicate window below ``keep`` of an uplink by default."""
SMALL: Final = 1 << 20
_NS: Final = 10**9


def check_nats(patient: Patient, targets: list[Target]) -> Iterator[Diagnosis]:
    """The servers of one uplink of type ``nats``."""
    target = targets[0]
    options = target.options
    assert isinstance(options, NatsUplinkConfig)
    words = {**patient.words, "path": target.path, "stream": options.stream}
    if not (is_known(options.password) and is_known(options.token)):
        yield fine("brokers", "not logged in: its password or token cannot be read from here", target.owner)
        return
    quick = msgspec.structs.replace(options, timeout=Duration(ANSWER_S))
    if not any(map(reach.answers, targets)):
        return  # which is told by itself
    try:
        payload, answers = asyncio.run(_asked(quick))
    except LinkError as error:
        yield found("nats-refuses", str(error), target.owner, **words)
        return
    if payload < SMALL:
        yield found("nats-payload", f"the server takes messages of {payload} bytes at most", target.owner, **words)
    if answers is None:
        yield found("nats-no-jetstream", "JetStream is not enabled for us", target.owner, **words)
        return
    yield fine("brokers", f"lets us in, JetStream is enabled, messages of {payload} bytes at most", target.owner)
    if options.stream:
        yield from _stream(options, answers, target.owner, words)


async def _asked(options: NatsUplinkConfig) -> tuple[int, dict[str, Any] | None]:
    """The largest message, and what JetStream says of the stream; None if it does not answer."""
    from gateway.uplinks.nats.connection import connected

    async with connected(options, "onpath-doctor") as connection:
        try:
            await connection.ask("INFO")
            answer = await connection.ask(f"STREAM.INFO.{options.stream}") if options.stream else {}
        except LinkError:
            return connection.max_payload, None
        return connection.max_payload, answer


def _stream(
    options: NatsUplinkConfig, answer: dict[str, Any], owner: str, words: dict[str, object]
) -> Iterator[Diagnosis]:
    error = answer.get("error")
    if error and error.get("err_code") == NO_STREAM:
        kind = "nats-no-stream" if options.create_stream is False else "nats-new-stream"
        yield found(kind, f"there is no stream {options.stream} yet", owner, **words)
        return
    if error:
        yield found("nats-refuses", f"stream {options.stream}: {error.get('description', 'refused')}", owner, **words)
        return
    config = answer.get("config", {})
    window_s = config.get("duplicate_window", 0) / _NS
    if window_s < SHORT_S:
        what = f"stream {options.stream} knows record ids for {window_s:g} s only"
        yield found("nats-duplicates", what, owner, **words)
    else:
        yield fine("brokers", f"stream {options.stream} is there, and knows record ids for {window_s:g} s", owner)
