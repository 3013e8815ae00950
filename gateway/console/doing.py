"""What changes something, and signing in."""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
from starlette.responses import Response

from gateway.console.access import Role
from gateway.console.answers import ApiError, json
from gateway.console.table import Endpoint
from gateway.errors import OnpathError

if TYPE_CHECKING:
    from gateway.console.app import Console
    from gateway.console.asked import Asked

COOKIE = "onpath_session"
WAITING = 8
"""Sign-ins that may wait for their turn: hashing a password takes memory and time."""


class Login(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password, or a one-time code of ``onpath console url``."""

    password: str = ""
    code: str = ""


class Nothing(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is needed."""


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Findings."""

    keys: list[str]


class KeyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which finding."""

    key: str
    """Its key."""


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert that somebody has seen."""

    rule: str
    point: str


class BoundAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another error bound for a step."""

    pipeline: str
    step: str
    """Its name, or its number from 0."""
    bound: float | str
    """``0.2`` in the unit of the point, or ``"0.5%"``."""


class RoleRow(TypedDict):
    """Who has signed in."""

    role: str


class BoundRow(TypedDict):
    """The bound before, and the one in force now."""

    before: dict[str, Any]
    bound: dict[str, Any]


class AcceptedRow(TypedDict):
    """Keys of findings that have joined."""

    accepted: list[str]


class YamlRow(TypedDict):
    """A block of configuration."""

    yaml: str


class DoctorRow(TypedDict):
    """One thing that was looked at; ``remedy`` is a command line."""

    check: str
    kind: str
    severity: str
    subject: str
    what: str
    why: str
    remedy: str


class DoctorView(TypedDict):
    """What was looked at, and how it is."""

    doctor: list[DoctorRow]


async def login(asked: Asked) -> Response:
    """Begin a session."""
    console, given = asked.console, asked.body
    if bool(given.password) == bool(given.code):
        raise ApiError(400, "either a password or a code is wanted")
    address = asked.request.client.host if asked.request.client else ""
    wait_s = console.guessing.wait_s(address, time.monotonic())
    if wait_s:
        raise ApiError(429, "too many wrong passwords: wait", headers={"retry-after": str(int(wait_s) + 1)})
    if given.code:
        right = console.sessions.take_code(given.code)
    else:
        right = await _verify(console, given.password)
    if not right:
        console.guessing.wrong(address, time.monotonic())
        raise ApiError(401, await _why(console, code=bool(given.code)))
    console.guessing.right(address)
    secret = console.sessions.begin(Role.ADMIN, console.stamp())
    await console.sessions.save()
    answer = await json(asked.request, {"role": Role.ADMIN.value})
    answer.set_cookie(COOKIE, secret, path="/", secure=console.secure(asked.request), httponly=True, samesite="strict")
    return answer


async def _why(console: Console, *, code: bool) -> str:
    if code:
        return "the code is not valid any more: onpath console url gives another one"
    if not console.config.password and console.access.stored().password is None:
        return "no password is set yet: onpath console password makes one, onpath console url signs in without"
    return "wrong password"


async def _verify(console: Console, password: str) -> bool:
    """Compare in constant time, one at a time; whoever is wrong waits no less than who is right."""
    if console.verifying >= WAITING:
        raise ApiError(503, "too many are signing in just now", headers={"retry-after": "2"})
    console.verifying += 1
    try:
        async with console.turn:
            if console.config.password:
                await asyncio.sleep(0.1)
                return hmac.compare_digest(password.encode(), console.config.password.encode())
            return await asyncio.to_thread(console.access.verify, password)
    finally:
        console.verifying -= 1


async def logout(asked: Asked) -> Response:
    """End the session."""
    if asked.console.sessions.end(asked.request.cookies.get(COOKIE, "")):
        await asked.console.sessions.save()
    answer = await json(asked.request, {})
    answer.delete_cookie(COOKIE, path="/")
    return answer


async def accept(asked: Asked) -> AcceptedRow:
    """Let findings join."""
    return {"accepted": await asked.console.inside.joining.accept(asked.body.keys)}


async def as_block(asked: Asked) -> YamlRow:
    """A finding as YAML."""
    from gateway.cli.write_yaml import as_yaml

    known = asked.console.inside.joining.findings.find(asked.query.key)
    if known is None:
        raise ApiError(404, f"nothing was found under the key {asked.query.key!r}")
    if not known.finding.config:
        raise ApiError(409, "what it needs is not known; write its block by hand")
    return {"yaml": await asyncio.to_thread(as_yaml, known.finding.config)}


async def acknowledge(asked: Asked) -> dict[str, Any]:
    """An alert was seen."""
    given, who = asked.body, asked.request.state.who
    try:
        return await asked.console.inside.alerts.acknowledge(given.rule, given.point, who)
    except OnpathError as error:
        raise ApiError(404, str(error)) from None


async def bound(asked: Asked) -> dict[str, Any]:
    """Another error bound, over restarts too."""
    from gateway.verbs import set_bound

    return await set_bound(asked.console.inside, msgspec.structs.asdict(asked.body))


async def doctor(asked: Asked) -> dict[str, Any]:
    """Look at everything around the gateway."""
    from gateway.doctor.run import examine

    return {"doctor": await examine(asked.console.inside)}


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST", path="/api/login", role="open", handle=login, body=Login, answer=RoleRow,
        errors=(400, 401, 429, 503), summary="Sign in: sets the cookie of a session.",
    ),
    Endpoint(
        method="POST", path="/api/logout", role="open", handle=logout, body=Nothing, answer=dict[str, Any],
        summary="Sign out.",
    ),
    Endpoint(
        method="POST", path="/api/findings/accept", role="admin", changes=True, handle=accept, body=Keys,
        answer=AcceptedRow, summary="Let what was found join, now and after restarts.",
    ),
    Endpoint(
        method="GET", path="/api/findings/yaml", handle=as_block, query=KeyQuery, answer=YamlRow,
        errors=(400, 401, 404, 409), summary="What was found, as a block of configuration.",
    ),
    Endpoint(
        method="POST", path="/api/alerts/acknowledge", role="admin", changes=True, handle=acknowledge,
        body=Acknowledged, answer=dict[str, Any], errors=(400, 401, 403, 404),
        summary="Say that somebody has seen an alert.",
    ),
    Endpoint(
        method="POST", path="/api/bound", role="admin", changes=True, handle=bound, body=BoundAsked, answer=BoundRow,
        summary="Give a step another error bound.",
    ),
    Endpoint(
        method="GET", path="/api/doctor", handle=doctor, answer=DoctorView,
        summary="What is around the gateway: clock, disk, permissions, certificates; each finding with its remedy.",
    ),
)  # fmt: skip
