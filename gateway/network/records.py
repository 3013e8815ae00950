"""Services in the carrier: apply and remove, by compare-and-set, so that nobody's change is lost unseen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import OnpathError
from gateway.network.assignment import EARLIER, ServiceRecord, encode, record_of
from gateway.network.carrier.base import ConflictError

if TYPE_CHECKING:
    from gateway.network.carrier.base import Carrier

BUCKET: Final = "services"


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of it."""

    record: ServiceRecord
    changed: bool
    """Whether anything was written: the same text again changes nothing."""
    before: int = 0
    """The version that was there before; 0: none."""


async def apply_text(carrier: Carrier, name: str, text: str, by: str) -> Applied:
    """Make a text the newest version of a service.

    Raises:
        OnpathError: somebody else changed it at the same moment.
        CarrierError: the carrier cannot be reached.
    """
    found, revision = await _found(carrier, name)
    if found is not None and not found.removed and found.yaml == text:
        return Applied(found, changed=False, before=found.version)
    before = 0 if found is None else found.version
    record = ServiceRecord(yaml=text, version=before + 1, applied_ms=_now_ms(), by=by, earlier=_earlier(found))
    await _put(carrier, name, record, revision)
    return Applied(record, changed=True, before=before)


def _earlier(found: ServiceRecord | None) -> dict[int, str]:
    if found is None or found.removed:
        return {}
    return dict([*found.earlier.items(), (found.version, found.yaml)][-EARLIER:])


async def remove(carrier: Carrier, name: str, by: str) -> Applied:
    """Mark a service as removed; its record stays, so that a version never comes twice.

    Raises:
        OnpathError: there is none of this name; somebody else changed it at the same moment.
        CarrierError: the carrier cannot be reached.
    """
    found, revision = await _found(carrier, name)
    if found is None:
        raise OnpathError(f'no service is named "{name}"')
    if found.removed:
        return Applied(found, changed=False, before=found.version)
    record = ServiceRecord(yaml=found.yaml, version=found.version + 1, applied_ms=_now_ms(), by=by, removed=True)
    await _put(carrier, name, record, revision)
    return Applied(record, changed=True, before=found.version)


async def _found(carrier: Carrier, name: str) -> tuple[ServiceRecord | None, int]:
    """The record as it stands, and the revision to be expected."""
    entry = await carrier.get(BUCKET, name)
    if entry is None or entry.value is None:
        return None, 0
    try:
        return record_of(entry.value), entry.revision
    except msgspec.DecodeError as error:
        raise OnpathError(f"service {name}: its record cannot be read ({error}); is a newer onpath at work?") from error


async def _put(carrier: Carrier, name: str, record: ServiceRecord, revision: int) -> None:
    try:
        await carrier.put(BUCKET, name, encode(record), revision)
    except ConflictError as error:
        raise OnpathError(
            f"service {name}: somebody else has changed it at this moment; look at it, then do it again"
        ) from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
