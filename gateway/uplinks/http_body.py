"""Batches as bodies of HTTP requests: written, joined, compressed. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.batch import Batch, record_id
from gateway.directory import Directory
from gateway.uplinks.http_config import HttpFormat, HttpUplinkConfig, Precision
from gateway.uplinks.influx import LineEncoder
from gateway.wire.message import FrameEncoder
from gateway.wire.record import encode_json

CONTENT_TYPE: Final = {
    HttpFormat.JSON: "application/x-ndjson",
    HttpFormat.FRAME: "application/vnd.onpath.frame",
    HttpFormat.INFLUX: "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One batch as it stands in a body."""

    batch: Batch
    body: bytes
    left_out: int = 0
    """Samples that the format cannot carry."""


@dataclass(frozen=True, slots=True)
class Request:
    """One body, before compression."""

    url: str
    key: str
    """What tells this content from any other."""
    parts: tuple[Part, ...] = ()
    prelude: bytes = b""
    """Directory messages; such a request has no parts."""

    @property
    def raw(self) -> bytes:
        """The body before compression."""
        return self.prelude or b"".join(part.body for part in self.parts)


class Bodies:
    """Requests for batches; remembers which points the other side knows, so one for each run of a link."""

    def __init__(self, config: HttpUplinkConfig, gateway: str, uplink: str, directory: Directory) -> None:
        self._config = config
        self._gateway = gateway
        self._uplink = uplink
        self._directory = directory
        self._frames: dict[str, FrameEncoder] = {}
        """By URL: each may be another receiver."""
        self._lines = LineEncoder(config.influx, gateway, directory)
        self.size = int(config.batch.size)
        """Bytes that are joined, at most; smaller once the server has said that it was too much."""

    def build(self, batches: Iterable[Batch]) -> list[Request]:
        """Requests in the order in which they must go; one with a prelude must be taken before those behind it."""
        requests: list[Request] = []
        open_: dict[str, list[Part]] = {}
        for batch in batches:
            url = self._url(batch)
            part, prelude = self._part(batch, url)
            if prelude:
                digest = hashlib.sha256(prelude).hexdigest()[:16]
                requests.append(Request(url, f"{self._gateway}/{batch.epoch}/directory/{digest}", prelude=prelude))
            parts = open_.setdefault(url, [])
            if parts and sum(len(other.body) for other in parts) + len(part.body) > self.size:
                requests.append(self.request(url, parts))
                parts = open_[url] = []
            parts.append(part)
        return requests + [self.request(url, parts) for url, parts in open_.items()]

    def request(self, url: str, parts: Iterable[Part]) -> Request:
        """Parts as one request.

        Alone, a batch goes under its record id; joined ones under that of the first, the seq of the last, and a digest
        of all seqs in between: one key never has two contents.
        """
        parts = tuple(parts)
        first, last = parts[0].batch, parts[-1].batch
        name = record_id(self._gateway, first.epoch, first.seq)
        if len(parts) > 1:
            seqs = ",".join(f"{part.batch.epoch}/{part.batch.seq}" for part in parts)
            name += f"..{last.seq}/{hashlib.sha256(seqs.encode()).hexdigest()[:16]}"
        return Request(url, name, parts)

    def halves(self, request: Request) -> list[Request]:
        """A joined request as two."""
        middle = (len(request.parts) + 1) // 2
        return [self.request(request.url, parts) for parts in (request.parts[:middle], request.parts[middle:])]

    def _url(self, batch: Batch) -> str:
        config = self._config
        url = config.url.format(gateway=self._gateway, pipeline=batch.pipeline, uplink=self._uplink)
        return url if config.format is not HttpFormat.INFLUX else with_precision(url, config.influx.precision)

    def _part(self, batch: Batch, url: str) -> tuple[Part, bytes]:
        match self._config.format:
            case HttpFormat.JSON:
                return Part(batch, encode_json(batch, self._gateway, self._directory, self._config.time) + b"\n"), b""
            case HttpFormat.INFLUX:
                return Part(batch, *self._lines.encode(batch)), b""
        if url not in self._frames:
            self._frames[url] = FrameEncoder(self._gateway, self._directory)
        message, announced = self._frames[url].encode(batch)
        return Part(batch, message), b"".join(directory for _, directory in announced)


def with_precision(url: str, precision: Precision) -> str:
    """The URL with the unit of times in its query, as InfluxDB 1 (``/write``) or 2 spells it; not if it has one."""
    parts = urlsplit(url)
    if any(pair.partition("=")[0] == "precision" for pair in parts.query.split("&")):
        return url
    first = parts.path.endswith("/write") and "/api/v2/" not in parts.path
    unit = {"ns": "n", "us": "u"}.get(precision.value, precision.value) if first else precision.value
    return _with_pair(url, f"precision={unit}")


def _with_pair(url: str, pair: str) -> str:
    """The URL with one more pair in its query."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{pair}"
