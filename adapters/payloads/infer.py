"""What an unknown payload probably is. A guess, to be shown to a person. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from adapters.payloads.documents import decode_cbor, decode_json, decode_msgpack
from adapters.payloads.formats import Encoding
from adapters.payloads.lines import decode_lines
from adapters.payloads.pointer import format_pointer
from adapters.payloads.senml import decode_senml
from adapters.payloads.text import decode_text
from adapters.payloads.times import parse_time
from gateway.errors import PayloadError

MAX_VALUES: Final = 32
"""Places of one payload that are told."""
MAX_DEPTH: Final = 4
LONGEST: Final = 65_536
"""A longer payload is not looked at."""
_TIMES: Final = ("ts", "time", "timestamp", "Time", "t", "datetime", "date")
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(?:[.,]\d{1,30})?", re.ASCII)
_EARLIEST_NS: Final = 946_684_800 * 10**9  # the year 2000: a smaller number is rather a value


class Guess(NamedTuple):
    """How a payload could be read."""

    payload: str
    """The option ``payload``."""
    options: dict[str, Any]
    """Further options of a subscription."""
    offers: tuple[str, ...]
    """What it has, a few words each."""


def infer(payload: bytes) -> Guess | None:
    """The most likely reading; None for an empty payload, or one that is too long to look at."""
    if not payload.strip() or len(payload) > LONGEST:
        return None
    for kind, decode in (("json", decode_json), ("cbor", decode_cbor), ("msgpack", decode_msgpack)):
        found = _document(kind, decode, payload)
        if found is not None:
            return found
    lines = _lines(payload)
    if lines is not None:
        return lines
    try:
        value = decode_text(payload)
    except PayloadError:
        return Guess("bytes", {}, (f"{len(payload)} bytes",))
    return Guess("text", {}, (f"text {value[:40]}",) if isinstance(value, str) else ("a value",))


def _document(kind: str, decode: Callable[[bytes], Any], payload: bytes) -> Guess | None:
    try:
        document = decode(payload)
    except PayloadError:
        return None
    if isinstance(document, list):
        return _senml(kind, payload) or _records(kind, "$[*]", document)
    if not isinstance(document, dict) or not document:
        return Guess("text", {}, ("a value",)) if kind == "json" and isinstance(document, (int, float, str)) else None
    for key, value in document.items():
        if isinstance(key, str) and isinstance(value, list) and value and isinstance(value[0], dict):
            return _records(kind, f"$[{json.dumps(key)}][*]" if '"' not in key else "", value)
    return Guess(kind, *_places(document))


def _records(kind: str, path: str, items: list[Any]) -> Guess | None:
    if not path or not items or not isinstance(items[0], dict):
        return None
    options, offers = _places(items[0])
    return Guess(kind, {"records": path, **options}, offers)


def _senml(kind: str, payload: bytes) -> Guess | None:
    if kind == "msgpack":
        return None
    try:
        encoding = Encoding.SENML_JSON if kind == "json" else Encoding.SENML_CBOR
        records = decode_senml(payload, encoding, 0)
    except PayloadError:
        return None
    names = {f"{record.local or record.name} {record.unit}".strip(): None for record in records[:MAX_VALUES]}
    return Guess("senml", {}, tuple(names)) if names else None


def _places(document: dict[Any, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Options for the values of an object; nested ones have to be declared, flat ones appear by themselves."""
    time = next((key for key in _TIMES if _is_time(document.get(key))), None)
    options: dict[str, Any] = {} if time is None else {"time": time}
    found = [(path, value) for path, value in _walk(document, ()) if path != (time,)][:MAX_VALUES]
    if any(len(path) > 1 for path, _ in found):
        options["points"] = {"-".join(map(_plain, path)): {"value": format_pointer(path)} for path, _ in found}
    return options, tuple(".".join(path)[:80] for path, _ in found)


def _walk(document: dict[Any, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in document.items():
        if not isinstance(key, (str, int)) or len(found) >= MAX_VALUES:
            continue
        here = (*path, str(key)[:128])
        if isinstance(value, dict) and len(here) < MAX_DEPTH:
            found += _walk(value, here)
        elif isinstance(value, (bool, int, float, str)):
            found.append((here, value))
    return found


def _is_time(found: Any) -> bool:
    try:
        return found is not None and parse_time(found) >= _EARLIEST_NS
    except PayloadError:
        return False


def _plain(text: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in text)


def _lines(payload: bytes) -> Guess | None:
    """Lines of values with separators between them, at least half of them numbers."""
    text = payload.decode(errors="replace").strip()
    first = text.partition("\n")[0].strip()
    for separator in (";", "\t", ","):
        cells = first.split(separator)
        numbers = sum(_NUMBER.fullmatch(cell.strip()) is not None for cell in cells)
        if not 2 <= len(cells) <= MAX_VALUES or 2 * numbers < len(cells) or not first.replace("\t", "").isprintable():
            continue
        columns = [f"c{number}" for number in range(1, len(cells) + 1)]
        comma = separator != "," and "," in first
        try:
            decode_lines(payload, columns, separator, comma=comma)
        except PayloadError:
            continue
        time = next((name for name, cell in zip(columns, cells, strict=True) if _is_time(cell)), None)
        told: dict[str, Any] = {"separator": separator, "decimal": "," if comma else ".", "time": time or ""}
        usual = {"separator": ",", "decimal": ".", "time": ""}
        options = {"columns": columns} | {key: value for key, value in told.items() if value != usual[key]}
        return Guess("csv", options, tuple(columns))
    return None
