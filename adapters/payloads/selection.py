"""From a decoded document, whatever its codec, to records: a device, a time, and values by name. Pure functions.

A document is one record, or has an array of them. A record has its values at the places that were declared, or
names one point and its value (``{"name": "power", "value": 512}``), or each of its members is one. A document in
columns (``{"ts": [...], "v": [...]}``) has a record for each index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from adapters.payloads.pointer import Path, parse_path, resolve
from adapters.payloads.times import parse_time
from gateway.errors import PayloadError

MAX_MEMBERS: Final = 4096
"""Members of one record that are looked at where no points are declared."""


class Record(NamedTuple):
    """What one record says."""

    device: str | None
    """Its name, where the payload says it."""
    time_ns: int | None
    """None: the time of arrival."""
    values: list[tuple[str, Any]]
    """Names and values as they were decoded: numbers, booleans, texts, None."""
    unit: str = ""
    """What the payload says of their unit; only SenML does."""


class Selection:
    """Where a document has what is wanted of it."""

    def __init__(
        self,
        points: Mapping[str, Path],
        *,
        records: str = "",
        time: str = "",
        device: str = "",
        point: str = "",
        value: str = "",
    ) -> None:
        """Paths as users write them, empty: not there.

        Args:
            points: where each declared point's value stands in a record; none: all its members.
            records: the array of records.
            time: the source time.
            device: the device's name.
            point: the name of a record's only point ...
            value: ... and where its value stands. ``points``, if any, are then the names that are wanted.
        """
        self._points = points
        self._records = parse_path(records) if records else None
        self._time, self._device = _path(time), _path(device)
        self._point, self._value = _path(point), _path(value)
        self._columns = self._time is not None and self._time.each
        plain = [(name, path.tokens[0]) for name, path in points.items() if len(path.tokens) == 1 and not path.root]
        self._keys = plain if len(plain) == len(points) and not any(key.isdecimal() for _, key in plain) else []
        """Point and member, where all of them are members of a record; digits may stand for a number as well."""
        own = (self._time, self._device)
        self._no_values = {path.tokens[0] for path in own if path and len(path.tokens) == 1 and not path.root}
        if self._records is None:
            self._no_values |= {path.tokens[0] for path in own if path and len(path.tokens) == 1}

    def read(self, document: Any) -> Iterable[Record | PayloadError]:
        """The records of a document, and what is wrong with those that are of no use.

        Raises:
            PayloadError: the document as a whole is of no use: ``missing``, ``not-records``, ``uneven-columns``.
        """
        if self._columns:
            return self._read_columns(document)
        if self._records is None:
            return (self._record(as_object(document), document),)
        return self._each(as_array(resolve(document, self._records.tokens)), document)

    def _each(self, items: list[Any], document: Any) -> Iterator[Record | PayloadError]:
        for item in items:
            try:
                yield self._record(as_record(item), document)
            except PayloadError as error:
                yield error

    def _record(self, item: dict[Any, Any] | list[Any], document: Any) -> Record:
        time_ns = None if self._time is None else _time(_find(self._time, item, document))
        device = None if self._device is None else self._name(self._device, item, document)
        if self._point is not None:
            name = self._name(self._point, item, document)
            if self._points and name not in self._points:
                return Record(device, time_ns, [])
            return Record(device, time_ns, [(name, _plain(_find(self._value, item, document)))])
        if not self._points:
            return Record(device, time_ns, self._members(item))
        if self._keys and isinstance(item, dict):
            return Record(device, time_ns, [(name, item[key]) for name, key in self._keys if key in item])
        found = ((name, _find(path, item, document)) for name, path in self._points.items())
        return Record(device, time_ns, [(name, _plain(value)) for name, value in found if value is not _ABSENT])

    def _members(self, item: dict[Any, Any] | list[Any]) -> list[tuple[str, Any]]:
        if not isinstance(item, dict):
            raise PayloadError("bad-record", "an array, and no points are declared")
        if len(item) > MAX_MEMBERS:
            raise PayloadError("too-many-members", f"{len(item)} in one record")
        if set(map(type, item)) != {str}:
            item = {_key(key): value for key, value in item.items()}
        skip = self._no_values
        return [(key, value) for key, value in item.items() if key not in skip and type(value) not in _NESTED]

    def _name(self, path: Path, item: Any, document: Any) -> str:
        found = _find(path, item, document)
        if isinstance(found, str):
            return found
        if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**64:
            return str(found)
        nothing = found is _ABSENT or found is None
        raise PayloadError("missing" if nothing else "bad-name", "the name of a device or point")

    def _read_columns(self, document: Any) -> Iterator[Record | PayloadError]:
        assert self._time is not None
        times = _column(document, self._time)
        columns = []
        for name, path in self._points.items():
            column = _column(document, path)
            if column is not None and times is not None and len(column) != len(times):
                raise PayloadError("uneven-columns", f"{len(column)} values of {name} and {len(times)} times")
            columns.append((name, column))
        device = self._name(self._device, document, document) if self._device else None
        if times is None:
            raise PayloadError("missing", "no array of times")
        for number, time in enumerate(times):
            values = [(name, _plain(column[number])) for name, column in columns if column is not None]
            try:
                yield Record(device, _time(time), values)
            except PayloadError as error:
                yield error


def as_object(document: Any) -> dict[Any, Any]:
    """The document itself.

    Raises:
        PayloadError: ``unparsable``, if it is no object.
    """
    if not isinstance(document, dict):
        raise PayloadError("unparsable", "not an object")
    return document


def as_array(found: Any) -> list[Any]:
    """What stands where the records should.

    Raises:
        PayloadError: ``not-records``, if it is no array.
    """
    if not isinstance(found, list):
        raise PayloadError("not-records", "no array where the records should be")
    return found


def as_record(item: Any) -> dict[Any, Any] | list[Any]:
    """The record itself.

    Raises:
        PayloadError: ``bad-record``, if it can have no values.
    """
    if not isinstance(item, (dict, list)):
        raise PayloadError("bad-record", "neither an object nor an array")
    return item


_ABSENT: Final = object()
_NESTED: Final = (dict, list)


def _path(text: str) -> Path | None:
    return parse_path(text) if text else None


def _find(path: Path | None, item: Any, document: Any) -> Any:
    """What stands there, or the mark of nothing."""
    if path is None:
        return _ABSENT
    if len(path.tokens) == 1 and type(item) is dict and not path.root and path.tokens[0] in item:
        return item[path.tokens[0]]
    try:
        return resolve(document if path.root else item, path.tokens)
    except PayloadError:
        return _ABSENT


def _time(found: Any) -> int | None:
    if type(found) is int and 10**11 <= found < 9 * 10**12:  # ms until 2255, as most write it
        return found * 1_000_000
    return None if found is None or found is _ABSENT else parse_time(found)


def _plain(found: Any) -> Any:
    """Nothing where a record promises a value is the same as null."""
    return None if found is _ABSENT else found


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(key) if isinstance(key, int) and abs(key) < 2**64 else ""


def _column(document: Any, path: Path) -> list[Any] | None:
    try:
        found = resolve(document, path.tokens)
    except PayloadError:
        return None
    if not isinstance(found, list):
        raise PayloadError("uneven-columns", "no array where a column should be")
    return found
