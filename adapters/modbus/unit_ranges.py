"""Lists of unit ids as users write them: ``1-247`` or ``1,3,100-110``. Light."""

from __future__ import annotations


def parse_units(text: str) -> list[int]:
    """The units, each once, in the order written.

    Raises:
        ValueError: it is not such a list.
    """
    units: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{part.strip()!r} is not a unit or a range such as 1-247")
        low, high = int(first), int(last) if dash else int(first)
        if high > 255 or low > high:
            raise ValueError(f"{part.strip()!r} is not within 0 to 255, the lower first")
        units += range(low, high + 1)
    return list(dict.fromkeys(units))
