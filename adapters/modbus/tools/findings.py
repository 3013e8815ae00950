"""What a scan of a bus found, as findings with a device block each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gateway.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adapters.modbus.tools.scanning import Found

_MAKERS_OWN = re.compile(r"[^a-z0-9]")


def finding_of(url: str, adapter: str, found: Found, profiles: Iterable[str]) -> Finding:
    """The finding of one unit; its block is empty if nobody knows the map of the device."""
    told = (found.identity.get(key) for key in ("vendor", "product", "model", "revision"))
    identity = " ".join(filter(None, told))
    profile = "sunspec" if found.sunspec else profile_for(identity, profiles)
    device = _name(found)
    block: dict[str, Any] = {"unit": found.unit, "profile": profile}
    if found.sunspec and found.sunspec["base"] != 40000:
        block["base"] = found.sunspec["base"]
    models = [f"SunSpec {number}" for number, _ in found.sunspec.get("models", [])]
    return Finding(
        kind="sunspec" if found.sunspec else "modbus-identity",
        address=f"{url}{'&' if '?' in url else '?'}unit={found.unit}",
        identity=identity,
        device=device,
        offers=tuple(models) or tuple(filter(None, (profile,))) or (found.said,),
        config={"adapters": {adapter: {"type": "modbus", "url": url, "devices": {device: block}}}} if profile else {},
    )


def profile_for(identity: str, profiles: Iterable[str]) -> str:
    """The profile whose model stands in what the device says of itself, the longest such; else nothing.

    A profile is called ``maker-model``; ``eastron-sdm630`` fits "Eastron SDM630-Modbus V2".
    """
    said = _bare(identity)
    fitting = [name for name in profiles if (model := _bare(name.partition("-")[2])) and model in said]
    return max(fitting, key=len, default="")


def _bare(text: str) -> str:
    return _MAKERS_OWN.sub("", text.lower())


def _name(found: Found) -> str:
    words = found.identity.get("model") or found.identity.get("product") or ""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()[:40] or "unit"
    return f"{stem}-{found.unit}"
