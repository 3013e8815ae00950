"""What an import makes: a configuration in the making, and what there is to say about it."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.units import Duration

_UNFIT = re.compile(r"[^A-Za-z0-9_.\-]+")
_LONGEST: Final = 128


class Fate(enum.StrEnum):
    """What became of a part of the other configuration."""

    CHANGED = "changed"
    """It is there and means something a little different."""
    LEFT = "left out"
    """It is not there; somebody has to look."""


@dataclass(frozen=True, slots=True)
class Note:
    """One remark: where in the other file, and what about it."""

    fate: Fate
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.fate}: {self.where}: {self.text}"


@dataclass(slots=True)
class Draft:
    """The configuration so far, section by section, and the remarks."""

    adapters: dict[str, dict[str, Any]] = field(default_factory=dict)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    uplinks: dict[str, dict[str, Any]] = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def changed(self, where: str, text: str) -> None:
        """Something means a little different from now on."""
        self._note(Note(Fate.CHANGED, where, text))

    def left(self, where: str, text: str) -> None:
        """Something could not be carried over."""
        self._note(Note(Fate.LEFT, where, text))

    def _note(self, note: Note) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def secret(self, where: str, value: str, variable: str) -> str:
        """A variable in place of a secret, which is not copied; a variable stays what it is."""
        if value.startswith("${"):
            return value
        self.changed(where, f"is not copied: set {variable}, or use ${{credential:name}}")
        return f"${{{variable}:?as it was in {where}}}"

    def document(self) -> dict[str, Any]:
        """The configuration, as it is written to YAML."""
        sections = {"adapters": self.adapters, "pipelines": self.pipelines, "uplinks": self.uplinks}
        return self.top | {name: section for name, section in sections.items() if section}


def fit(name: str, fallback: str = "unnamed") -> str:
    """A text as the name of an adapter, device, point, pipeline or uplink."""
    return _UNFIT.sub("-", name.strip()).strip("-")[:_LONGEST] or fallback


def free(name: str, taken: Mapping[str, object]) -> str:
    """The name, with a number behind it if it is taken."""
    if name not in taken:
        return name
    return next(fresh for number in range(2, len(taken) + 3) if (fresh := f"{name}-{number}") not in taken)


def span(value_s: float) -> str:
    """A duration as YAML has it."""
    return f"{value_s:g}s" if value_s >= 1 or not value_s else f"{value_s * 1000:g}ms"


def seconds(value: Any, default: float = 0.0) -> float:
    """A duration of another program, ``10s``, ``1h30m`` or a number of seconds, in s; the default if it is none."""
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(Duration.parse(str(value).replace("\N{MICRO SIGN}s", "us")))
    except ValueError:
        return default


class Table:
    """A table of the other file that remembers which of its keys were understood."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.where = where
        self._values = dict(values)
        self._seen: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, which counts as understood."""
        self._seen.add(key)
        return self._values.get(key, default)

    def text(self, key: str, default: str = "") -> str:
        """The same as text."""
        value = self.take(key, default)
        return default if value is None else str(value)

    def number(self, key: str, default: float = 0.0) -> float:
        """The same as a number; the default if it is none."""
        value = self.take(key, default)
        try:
            return float(value)
        except (TypeError, ValueError):
            return default

    def tables(self, key: str) -> list[Table]:
        """The tables of a list of tables (or a single one)."""
        found = self.take(key, [])
        many = found if isinstance(found, list) else [found]
        return [Table(one, f"{self.where}.{key}[{n}]") for n, one in enumerate(many) if isinstance(one, Mapping)]

    def ignore(self, *keys: str) -> None:
        """These need no counterpart."""
        self._seen.update(keys)

    def rest(self) -> Iterator[tuple[str, Any]]:
        """Keys that nobody understood, with their values."""
        return ((key, value) for key, value in self._values.items() if key not in self._seen)

    def leave_rest(self, draft: Draft) -> None:
        """Say of all of them that they are left out."""
        for key, value in self.rest():
            shown = "" if isinstance(value, dict | list) or _secret(key) else f" = {value}"
            draft.left(f"{self.where}.{key}", f"has no counterpart{shown}")


def _secret(key: str) -> bool:
    return any(word in key.lower() for word in ("password", "token", "secret", "key"))
