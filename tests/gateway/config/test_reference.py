"""configs/: everything shipped loads; the reference is complete and its comments are true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import msgspec.inspect as mi
import pytest

from gateway.config import GatewayConfig, load_checked
from gateway.config.compose import parse
from gateway.config.convert import plain, type_info
from gateway.config.describe import field_docs, written
from gateway.config.model import StepBase
from gateway.config.nodes import Mapping, Node, Scalar, Sequence, path_text, value_text
from gateway.config.plugins import installed
from gateway.config.schema import schema
from gateway.uplinks.options import UplinkConfig
from pipelines.base import OperatorConfig

CONFIGS = Path(__file__).parents[3] / "configs"
OTHERS = ("services/", "hub")
"""What is no gateway's configuration: services and the hub, which have tests of their own."""
SHIPPED = sorted(file for file in CONFIGS.rglob("*.y*ml") if not str(file.relative_to(CONFIGS)).startswith(OTHERS))
REFERENCE = CONFIGS / "reference.yaml"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_what_is_shipped_loads_without_a_word(file):
    assert load_checked(file, {}).warnings == []


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_the_schema_accepts_what_is_shipped(file):
    tree, problems = parse(file.read_text(), str(file))
    assert problems == []
    jsonschema.Draft202012Validator(schema()).validate(plain(tree))


class Walk:
    """Types and nodes side by side: which fields of which structs the file shows, and where."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.shown: dict[type, dict[str, list[tuple[str, mi.Field, Node, str]]]] = {}
        self.value(type_info(GatewayConfig), parse(text, "f")[0], ())

    def value(self, info: mi.Type, node: Node, path: tuple) -> None:
        if isinstance(info, mi.Metadata):
            self.value(info.type, node, path)
        elif isinstance(info, mi.UnionType):
            for member in info.types:
                self.value(member, node, path)
        elif isinstance(info, mi.DictType) and isinstance(node, Mapping):
            for key, entry in node.entries.items():
                self.value(info.value_type, entry.value, (*path, key))
        elif isinstance(info, mi.CollectionType) and isinstance(node, Sequence):
            for at, item in enumerate(node.items):
                self.value(info.item_type, item, (*path, at))
        elif isinstance(info, mi.StructType) and isinstance(node, Mapping):
            self.struct(info, node, path)

    def struct(self, info: mi.StructType, node: Mapping, path: tuple) -> None:
        tag = node.entries.get(info.tag_field or "")
        if info.tag is not None and (tag is None or tag.value.text != info.tag):
            return
        seen = self.shown.setdefault(info.cls, {})
        for field in info.fields:
            entry = node.entries.get(field.encode_name)
            if entry is not None:
                here = (*path, field.encode_name)
                comment = self.lines[entry.key.line - 1].partition(" # ")[2]
                seen.setdefault(field.encode_name, []).append((path_text(here), field, entry.value, comment))
                self.value(field.type, entry.value, here)


@pytest.fixture(scope="module")
def walk():
    return Walk(REFERENCE.read_text())


def every_struct() -> set[type]:
    found: set[type] = set()
    stack: list[mi.Type] = [type_info(GatewayConfig)]
    while stack:
        info = stack.pop()
        if isinstance(info, mi.StructType) and info.cls not in found:
            found.add(info.cls)
            stack += [field.type for field in info.fields]
        stack += [getattr(info, name) for name in ("type", "item_type", "value_type") if hasattr(info, name)]
        stack += getattr(info, "types", ()) + getattr(info, "item_types", ())
    return found


def every_union() -> list[tuple[str, mi.UnionType]]:
    fields = [(cls, field) for cls in every_struct() for field in mi.type_info(cls).fields]
    return [
        (f"{cls.__name__}.{field.encode_name}", field.type)
        for cls, field in fields
        if isinstance(field.type, mi.UnionType)
    ]


def test_no_union_has_text_with_a_pattern_beside_a_collection():
    """msgspec 0.22.0 corrupts memory when it frees a decoder for such a union."""
    wrong = []
    for name, union in every_union():
        types = [t.type if isinstance(t, mi.Metadata) else t for t in union.types]
        pattern = any(isinstance(t, mi.StrType) and t.pattern for t in types)
        if pattern and any(isinstance(t, mi.CollectionType | mi.DictType | mi.TupleType) for t in types):
            wrong.append(name)
    assert wrong == []
    assert len(every_union()) > 10


def test_loading_leaves_memory_sound():
    """The same from outside: a debugging allocator ends the process if what is freed was never allocated."""
    code = (
        "import pathlib, sys; from gateway.config import load; from gateway.config.schema import schema; "
        "load(pathlib.Path(sys.argv[1]), {}); schema()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(REFERENCE)],
        env={**os.environ, "PYTHONMALLOC": "debug"},
        cwd=CONFIGS.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_option_of_every_plug_in_is_shown(walk):
    plugins = installed()
    built_in = {*plugins.adapters.values(), *plugins.operators.values(), *plugins.uplinks.values()}
    structs = every_struct()
    assert built_in <= structs
    operators = plugins.operators.values()
    shown_once = {"dry_run"} & {name for cls in operators for name in walk.shown.get(cls, {})}
    uplinks = plugins.uplinks.values()
    common = set(UplinkConfig.__struct_encode_fields__) & {name for cls in uplinks for name in walk.shown.get(cls, {})}
    missing = [
        f"{cls.__name__}.{field.encode_name}"
        for cls in structs
        for field in mi.type_info(cls).fields
        if field.encode_name not in walk.shown.get(cls, {})
        and not (issubclass(cls, OperatorConfig) and field.encode_name in shown_once)
        and not (issubclass(cls, UplinkConfig) and field.encode_name in common)
    ]
    assert missing == []


def test_every_option_is_commented(walk):
    for cls, fields in walk.shown.items():
        for name, places in fields.items():
            assert any(comment for *_, comment in places), f"{cls.__name__}.{name} has no comment"


def said(comment: str) -> str | None:
    """``required``, ``default``, ``default VALUE``; None if the comment says none of them."""
    words = comment.partition(";")[0].strip()
    return words if words == "required" or words.split(" ")[0] == "default" else None


def truth(field: mi.Field, node: Node) -> set[str]:
    """What a comment may say."""
    if field.required:
        return {"required"}
    if field.encode_name == "gateway":
        return {"default the host's name"}
    value = field.default
    if value is mi.NODEFAULT:
        value = None if field.default_factory is mi.NODEFAULT else field.default_factory()
    if isinstance(value, mi.StructType) or hasattr(value, "__struct_fields__"):
        return {"default as below"}
    value = written(value)
    if value in (None, "", [], {}):
        return {"default none"}
    same = plain(node) == value or (isinstance(node, Scalar) and value_text(value) == node.text)
    return {"default"} if same else {f"default {value_text(value)}"}


def test_comments_tell_the_truth(walk):
    checked = 0
    for fields in walk.shown.values():
        for places in fields.values():
            for path, field, node, comment in places:
                word = said(comment)
                if word is not None:
                    assert {word} == truth(field, node), path
                    checked += 1
    assert checked > 150


def test_every_option_says_whether_it_is_required_or_what_its_default_is(walk):
    for cls, fields in walk.shown.items():
        if not issubclass(cls, StepBase):
            for name, places in fields.items():
                assert any(said(comment) for *_, comment in places), f"{cls.__name__}.{name}"


def test_fields_have_docstrings():
    undocumented = [
        f"{cls.__name__}.{field.encode_name}"
        for cls in every_struct()
        if not issubclass(cls, StepBase)
        for field in mi.type_info(cls).fields
        if field.name not in field_docs(cls)
    ]
    assert undocumented == []
