"""JSON Schema (2020-12) of a configuration, for editors.

Made from the same types that the loader walks, and so as lenient as it is: a key with nothing behind it
stands for an empty mapping or list, a number may stand for text, and ``${...}`` in text for any leaf. What
only a struct's own checks or the cross references know is left to ``onpath check``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec.inspect as mi

from gateway.config.convert import type_info
from gateway.config.describe import field_docs, summary, written
from gateway.config.leaves import members_of
from gateway.config.model import GatewayConfig, StepBase
from gateway.config.nodes import Mark, Scalar, resolve
from gateway.units import QUANTITIES, quantity_schema

Schema = dict[str, Any]
REFERENCE: Final = {"$ref": "#/$defs/reference"}
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}


def schema(of: type = GatewayConfig, title: str = "onpath configuration") -> Schema:
    """The schema of a whole configuration, or of another file that is read like one."""
    maker = _Maker()
    top = maker.struct(type_info(of))
    reference = {
        "type": "string",
        "pattern": r"\$\{",
        "description": "`${VAR}`, `${VAR:-default}`, `${VAR:?why}` or `${credential:name}`",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **top,
        "$defs": {"reference": reference, **dict(sorted(maker.definitions.items()))},
    }


class _Maker:
    """Walks the types; structs become definitions, each once."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self._names: dict[type, str] = {}

    def of(self, info: mi.Type) -> Schema:
        """The schema of a value."""
        if isinstance(info, mi.Metadata):
            return {**self.of(info.type), **(info.extra_json_schema or {})}
        if isinstance(info, mi.StructType):
            return self._reference(info)
        if isinstance(info, mi.UnionType):
            return {"anyOf": self._members(info)}
        if isinstance(info, mi.DictType):
            return self._dict(info)
        if isinstance(info, mi.CollectionType):
            return _sized(info, "array", "Items", {"items": self.of(info.item_type)})
        maker = _LEAVES.get(type(info))
        return self._tuple(info) if isinstance(info, mi.TupleType) else maker(info) if maker else {}

    def _members(self, info: mi.UnionType) -> list[Schema]:
        members: list[Schema] = []
        for member in map(self.of, info.types):
            for flat in member["anyOf"] if member.keys() == {"anyOf"} else [member]:
                if flat not in members:
                    members.append(flat)
        return members

    def _reference(self, info: mi.StructType) -> Schema:
        name = self._names.get(info.cls)
        if name is None:
            name = _definition_name(info.cls, self.definitions)
            self._names[info.cls] = name
            self.definitions[name] = {}  # taken, also for a struct that contains itself
            self.definitions[name] = self.struct(info)
        reference = {"$ref": f"#/$defs/{name}"}
        optional = info.tag is None and not any(field.required for field in info.fields)
        return {"anyOf": [reference, {"type": "null"}]} if optional else reference

    def struct(self, info: mi.Type) -> Schema:
        """The schema of a struct, in full."""
        assert isinstance(info, mi.StructType)
        docs = field_docs(info.cls)
        properties: dict[str, Schema] = {}
        required = [field.encode_name for field in info.fields if field.required]
        if info.tag is not None and info.tag_field is not None:
            properties[info.tag_field] = {"const": info.tag}
            required.insert(0, info.tag_field)
        for field in info.fields:
            properties[field.encode_name] = {
                **self.of(field.type),
                **({"description": docs[field.name]} if field.name in docs else {}),
                **_default(field),
            }
        step = {"minProperties": 1, "maxProperties": 1} if issubclass(info.cls, StepBase) else {}
        return {
            "type": "object",
            "description": summary(info.cls),
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False,
            **step,
        }

    def _dict(self, info: mi.DictType) -> Schema:
        body: Schema = {"additionalProperties": self.of(info.value_type)}
        if isinstance(info.key_type, mi.StrType):
            names = _string_bounds(info.key_type)
            body |= {"propertyNames": names} if names else {}
        return _sized(info, "object", "Properties", body)

    def _tuple(self, info: mi.TupleType) -> Schema:
        items = [self.of(item) for item in info.item_types]
        n = len(items)
        return {"type": "array", "prefixItems": items, "minItems": n, "maxItems": n}


def _definition_name(cls: type, taken: dict[str, Schema]) -> str:
    name = cls.__qualname__
    if name not in taken:
        return name
    return f"{cls.__module__}.{name}"


def _sized(info: mi.CollectionType | mi.DictType, kind: str, noun: str, body: Schema) -> Schema:
    bounds: Schema = {}
    if info.min_length is not None:
        bounds[f"min{noun}"] = info.min_length
    if info.max_length is not None:
        bounds[f"max{noun}"] = info.max_length
    return {"type": kind if info.min_length else [kind, "null"], **body, **bounds}


def _default(field: mi.Field) -> Schema:
    value = written(field.default)
    return {"default": value} if isinstance(value, str | int | float | list) else {}


def _string_bounds(info: mi.StrType) -> Schema:
    bounds = {"minLength": info.min_length, "maxLength": info.max_length, "pattern": info.pattern}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _string(info: mi.StrType) -> Schema:
    bounds = _string_bounds(info)
    if not bounds:
        return {"type": ["string", "number", "boolean"]}
    return {"anyOf": [{"type": "string", **bounds}, {"type": ["number", "boolean"]}, REFERENCE]}


def _number(info: mi.IntType | mi.FloatType) -> Schema:
    bounds = {word: getattr(info, name) for name, word in _BOUNDS.items() if getattr(info, name) is not None}
    kind = "integer" if isinstance(info, mi.IntType) else "number"
    return {"anyOf": [{"type": kind, **bounds}, REFERENCE]}


def _choice(info: mi.EnumType | mi.LiteralType) -> Schema:
    """The words, and what those that look like numbers become when they are not quoted."""
    words: list[Any] = list(members_of(info))
    read = [resolve(Scalar(Mark("", 1, 1), word)) for word in words]
    return {"anyOf": [{"enum": words + [value for value in read if not isinstance(value, str)]}, REFERENCE]}


def _quantity(info: mi.CustomType) -> Schema:
    if info.cls not in QUANTITIES:
        return {}
    return {"anyOf": [*quantity_schema(info.cls)["anyOf"], REFERENCE]}


_LEAVES: dict[type[mi.Type], Callable[[Any], Schema]] = {
    mi.StrType: _string,
    mi.BoolType: lambda _: {"anyOf": [{"type": "boolean"}, REFERENCE]},
    mi.IntType: _number,
    mi.FloatType: _number,
    mi.EnumType: _choice,
    mi.LiteralType: _choice,
    mi.CustomType: _quantity,
    mi.NoneType: lambda _: {"type": "null"},
}
