"""Asking the directory (RFC 9176, 6): endpoints and resources that fit a query, page by page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urljoin, urlsplit

from adapters.coap.directory.links import Link, fits
from adapters.coap.directory.registry import Registration
from gateway.errors import PayloadError

Filter = tuple[str, str]


def look_up(kind: str, registrations: Iterable[Registration], queries: Sequence[str]) -> list[Link]:
    """The answer to ``/rd-lookup/ep`` or ``/rd-lookup/res``.

    Args:
        kind: ``ep`` or ``res``.
        registrations: all there are.
        queries: filters such as ``rt=temp*`` or ``ep=node7``, and ``page`` and ``count``.

    Raises:
        PayloadError: ``bad-query``.
    """
    wanted = [(name, value) for name, equals, value in (query.partition("=") for query in queries) if equals]
    filters = [(name, value) for name, value in wanted if name not in {"page", "count"}]
    rows = _endpoints(registrations, filters) if kind == "ep" else _resources(registrations, filters)
    return _page(rows, dict(wanted))


def _endpoints(registrations: Iterable[Registration], filters: Sequence[Filter]) -> list[Link]:
    """Endpoints that have what is asked for, themselves or by one of their links."""
    found = []
    for one in registrations:
        own = endpoint_link(one)
        links = [resolved(one, link) for link in one.parsed]
        if all(fits(own, *wanted) or any(fits(link, *wanted) for link in links) for wanted in filters):
            found.append(own)
    return found


def _resources(registrations: Iterable[Registration], filters: Sequence[Filter]) -> list[Link]:
    """Links that have what is asked for, themselves or by their endpoint."""
    found = []
    for one in registrations:
        own = endpoint_link(one)
        rest = [wanted for wanted in filters if wanted[0] == "href" or not fits(own, *wanted)]
        links = (resolved(one, link) for link in one.parsed)
        found += [link for link in links if all(fits(link, *wanted) for wanted in rest)]
    return found


def endpoint_link(one: Registration) -> Link:
    """An endpoint as the lookup shows it."""
    sector = (("d", one.d),) if one.d else ()
    own = (("ep", one.ep), *sector, ("base", one.base), ("lt", str(one.lifetime_s)), ("rt", "core.rd-ep"))
    return Link(f"/rd/{one.location}", (*own, *one.extra))


def resolved(one: Registration, link: Link) -> Link:
    """A link with its target, and its anchor if it has one, as whole URIs."""
    attributes = tuple(
        (name, absolute(one.base, value)) if name == "anchor" and value is not None else (name, value)
        for name, value in link.attributes
    )
    return Link(absolute(one.base, link.target), attributes)


def absolute(base: str, target: str) -> str:
    """A reference against the base of an endpoint; one that cannot be resolved as it is."""
    try:
        if urlsplit(target).scheme:
            return target
        # urljoin knows http and the like only
        return "coap" + urljoin("http" + base.removeprefix("coap") + "/", target).removeprefix("http")
    except ValueError:
        return target


def _page(rows: list[Link], wanted: dict[str, str]) -> list[Link]:
    page, count = _number(wanted, "page", 0), _number(wanted, "count", len(rows))
    if "page" in wanted and "count" not in wanted:
        raise PayloadError("bad-query", "page wants count")
    return rows[page * count : (page + 1) * count]


def _number(wanted: dict[str, str], name: str, default: int) -> int:
    text = wanted.get(name, "")
    if name not in wanted:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise PayloadError("bad-query", f"{name} is a number")
    return int(text)
