"""The verbs of ``onpath coap``."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from adapters.coap.asking.discovery import Found, TargetError, look, options_for, url_of
from adapters.coap.asking.exchange import Endpoint, ExchangeError
from adapters.coap.asking.observation import Observation
from adapters.coap.asking.proposals import finding_of, point_name
from adapters.coap.asking.turns import Turns
from adapters.coap.transport import client_context
from adapters.payloads.formats import Format, encoding_of
from adapters.payloads.readings import NO_CLOCK, Place, Reading, read
from gateway.cli import coap_show as show
from gateway.cli.write_yaml import as_yaml as yaml_of
from gateway.errors import OnpathError, PayloadError
from gateway.units import Duration

ACCEPTED = {"text": 0, "link": 40, "json": 50, "cbor": 60, "senml": 110, "senml+json": 110, "senml+cbor": 112}
REFRESH_S = 600.0


class AskedInVainError(OnpathError):
    """The device did not give what was asked for."""


def duration(option: str, text: str) -> float:
    """An option's duration in seconds, more than zero.

    Raises:
        TargetError: it is none.
    """
    try:
        seconds = float(Duration.parse(text))
    except ValueError as error:
        raise TargetError(f"{option}: {error}") from None
    if seconds <= 0:
        raise TargetError(f"{option}: must be longer than zero")
    return seconds


@dataclass(frozen=True)
class Resource:
    """What a URL names, and how its payloads are read."""

    url: str
    base: str
    path: str
    payload: Format

    @classmethod
    def parse(cls, url: str, payload: str) -> Resource:
        """From the command line.

        Raises:
            TargetError: the URL or the format is none.
        """
        whole = url if "://" in url else f"coap://{url}"
        try:
            parts = urlsplit(whole)
            form = Format(payload)
        except ValueError as error:
            raise TargetError(str(error)) from None
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(url, url_of(f"{parts.scheme}://{parts.netloc}"), path, form)

    def readings(self, message: Any) -> list[Reading]:
        """The values of a representation, named by itself or by the path.

        Raises:
            PayloadError: there are none.
        """
        encoding = encoding_of(self.payload, message.opt.content_format, message.payload)
        now_ns = time.time_ns()
        try:
            return read(message.payload, encoding, now_ns, base_names=True)
        except PayloadError as error:
            if error.reason != "no-place":
                raise
        name = point_name(self.path.partition("?")[0]).rpartition(".")[2]
        return read(message.payload, encoding, now_ns, [Place.parse(name, "", NO_CLOCK)])


@asynccontextmanager
async def asking(resource: Resource, timeout_s: float) -> AsyncIterator[Endpoint]:
    """Its device; what goes wrong there is one line.

    Raises:
        AskedInVainError: the device refused, or did not answer.
    """
    options = options_for(resource.base, timeout_s)
    context = await client_context({"device": options}, _ignored, f"{__name__}.aiocoap")
    try:
        yield Endpoint(context, options, Turns())
    except ExchangeError as error:
        raise AskedInVainError(f"{resource.url}: {error}") from None
    finally:
        await context.shutdown()


def _ignored(_reason: str, _where: str, _payload: bytes) -> None:
    """Whoever asks one device once hears that it did not answer."""


def run_get(url: str, *, payload: str, accept: str | None, timeout: str, as_json: bool) -> None:
    """Print what a resource is."""
    resource, wanted = Resource.parse(url, payload), _format(accept)
    timeout_s = duration("--timeout", timeout)

    async def got() -> Any:
        async with asking(resource, timeout_s) as endpoint:
            return await endpoint.get(resource.path, accept=wanted)

    answer = _answer(resource, asyncio.run(got()))
    if as_json:
        show.line(answer.as_dict())
    else:
        show.answer(answer)


def _format(accept: str | None) -> int | None:
    if accept is None:
        return None
    if accept.isdecimal() and int(accept) <= 0xFFFF:
        return int(accept)
    if accept not in ACCEPTED:
        raise TargetError(f"--accept: {accept!r} is none of {', '.join(ACCEPTED)} and no number up to 65535")
    return ACCEPTED[accept]


def _answer(resource: Resource, message: Any) -> show.Answer:
    try:
        readings, why = resource.readings(message), ""
    except PayloadError as error:
        readings, why = [], str(error)
    return show.Answer(message, readings, why)


def run_observe(url: str, *, payload: str, for_: str | None, count: int | None, timeout: str, as_json: bool) -> None:
    """Print a resource each time it changes."""
    resource = Resource.parse(url, payload)
    for_s = duration("--for", for_) if for_ else None
    shown = show.each_as_json if as_json else show.each
    asyncio.run(_observe(resource, duration("--timeout", timeout), for_s, count, shown))


async def _observe(resource: Resource, timeout_s: float, for_s: float | None, count: int | None, shown: Any) -> None:
    enough = asyncio.get_running_loop().create_future()
    seen = 0

    def deliver(message: Any) -> None:
        nonlocal seen
        seen += 1
        if count is None or seen <= count:
            shown(_answer(resource, message))
        if seen == count:
            enough.set_result(None)

    async with asking(resource, timeout_s) as endpoint:
        watching = asyncio.ensure_future(Observation(endpoint, resource.path, deliver, REFRESH_S).run())
        try:
            await asyncio.wait({watching, enough}, timeout=for_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = watching.done()
            watching.cancel()
            await asyncio.wait({watching})
        if ended and not enough.done():
            watching.result()
            raise AskedInVainError(f"{resource.url}: the device does not let it be observed")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What to look for, as the options say."""

    targets: Sequence[str]
    rt: str
    if_: str
    interface: str
    timeout: str


def run_discover(wanted: Look, *, as_yaml: bool, as_json: bool) -> None:
    """Print hosts and their resources; exit 1 if there are none."""
    timeout_s = duration("--timeout", wanted.timeout)
    found = asyncio.run(
        look(wanted.targets, timeout_s=timeout_s, interface=wanted.interface, rt=wanted.rt, if_=wanted.if_)
    )
    if as_json:
        show.line([_plain(one) for one in found])
    elif as_yaml:
        for one in found:
            proposal = finding_of(one.url, one.links).config
            print(yaml_of(proposal) if proposal else f"# {one.url}: {one.failed or 'nothing to ask'}")
    else:
        show.hosts(found)
    if not any(one.links for one in found):
        sys.exit(1)


def _plain(found: Found) -> dict[str, Any]:
    """A host with its resources, and the finding that it is."""
    return {
        "url": found.url,
        "failed": found.failed,
        "resources": [{"target": link.target, **dict(link.attributes)} for link in found.links],
        "finding": msgspec.to_builtins(finding_of(found.url, found.links)) if found.links else None,
    }
