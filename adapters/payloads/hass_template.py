"""The templates of Home Assistant's discovery that only pick a value out of a payload. Pure functions.

    {{ value }}    {{ value_json.a.b }}    {{ value_json['a'][0] | float(0) | round(1) }}

Home Assistant renders Jinja2. Here a template is a path and a few filters, and nothing is ever evaluated; any
other one is refused.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from adapters.payloads.pointer import Pointer, resolve
from gateway.errors import PayloadError

MAX_LENGTH = 1000
_WHOLE = re.compile(r"\s*\{\{-?\s*(value_json|value)((?:[.\[][^|{}]*)?)\s*((?:\|[^{}]*)?)-?\}\}\s*", re.ASCII)
_STEP = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_]*)|\[\s*(?:'([^'\\]*)'|"([^"\\]*)"|(\d{1,9}))\s*\]""", re.ASCII)
_FILTER = re.compile(
    r"\|\s*(float|int|round|is_defined|string|trim)\s*(?:\(\s*(-?\d{1,15}(?:\.\d{0,15})?)?\s*\))?\s*", re.ASCII
)


class Template(NamedTuple):
    """A parsed template."""

    path: Pointer | None
    """Where the value stands in a JSON payload; None: the payload is the value."""
    filters: tuple[tuple[str, float | None], ...] = ()
    """Name and argument of each."""


PLAIN = Template(None)


def parse_template(text: str) -> Template:
    """The template that ``text`` writes; an empty one is the payload itself.

    Raises:
        PayloadError: ``template``, if it does more than to pick a value.
    """
    if not text.strip():
        return PLAIN
    found = _WHOLE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    steps = found[2].strip().removesuffix("-").strip() if found else ""
    if found is None or (found[1] == "value" and steps):
        raise PayloadError("template", f"not supported: {text[:200]}")
    path = _all(_STEP, steps, text)
    filters = _all(_FILTER, found[3].strip().removesuffix("-").strip(), text)
    tokens = tuple(next(group for group in step.groups() if group is not None) for step in path)
    made = tuple((one[1], float(one[2]) if one[2] else None) for one in filters)
    return Template(tokens if found[1] == "value_json" else None, made)


def _all(pattern: re.Pattern[str], part: str, whole: str) -> list[re.Match[str]]:
    """All that stands in a part of a template."""
    found, at = [], 0
    while at < len(part):
        match = pattern.match(part, at)
        if match is None:
            raise PayloadError("template", f"not supported: {whole[:200]}")
        found.append(match)
        at = match.end()
    return found


def render(template: Template, text: str, document: Any) -> Any:
    """The value: of the payload as text, or of what it is as JSON.

    Raises:
        PayloadError: ``missing``, if nothing stands there.
    """
    value = text.strip() if template.path is None else resolve(document, template.path)
    for name, argument in template.filters:
        value = _filtered(name, argument, value)
    return value


def _filtered(name: str, argument: float | None, value: Any) -> Any:
    if name in {"is_defined", "trim", "string"}:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return value if argument is None or name == "round" else argument
    if not math.isfinite(number):
        return value
    if name == "round":
        digits = int(max(-15, min(15, argument or 0)))
        return round(number, digits)
    return float(int(number)) if name == "int" else number
