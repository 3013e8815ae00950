"""The pages of docs/reference, by file name."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec.inspect as mi

from gateway.config.convert import type_info
from gateway.config.model import GatewayConfig, PipelineConfig
from gateway.config.plugins import installed, tag_of
from gateway.uplinks.options import BatchOptions, UplinkConfig
from pipelines.base import OperatorConfig
from tests.support.documents import ROOT
from tests.support.reference import commands, examples, words
from tests.support.reference.structs import described, parts, row, sections

MADE = "<!-- Made from the source by make docs. What is written here by hand is lost. -->\n"
INDEX = """# Reference of all options

Made from the source, so that it says what the program does. `required` options have to be given; `none` means that
there is none if it is left out; `its own` that the part has defaults of its own. The examples are parts of
[configs/reference.yaml](../../configs/reference.yaml), which loads as it is.

"""
ROOMS = {
    "shape": "Shape",
    "judge": "Judge",
    "reduce": "Reduce",
    "aggregate": "Aggregate",
    "power": "The power grid",
    "ahead": "Look ahead",
    "own": "Your own",
}
_PAGES_OF_UPLINKS = ROOT / "docs" / "uplinks"


def pages() -> dict[str, str]:
    """All of them."""
    made = {
        "README.md": _index(),
        "gateway.md": _gateway(),
        "uplinks.md": _every_uplink(),
        "verbs.md": commands.page(),
        "words.md": words.page(),
    }
    plugins = installed()
    made |= {f"adapter-{name}.md": _adapter(name, cls) for name, cls in plugins.adapters.items()}
    made |= {f"uplink-{name}.md": _uplink(name, cls) for name, cls in plugins.uplinks.items()}
    made |= {f"operators-{room}.md": _room(room) for room in ROOMS}
    return {name: MADE + text.rstrip() + "\n" for name, text in made.items()}


def room_of(cls: type) -> str:
    """The room of an operator: the folder that its file lies in."""
    return cls.__module__.split(".")[2]


def _index() -> str:
    plugins = installed()
    table = ["| page | options of |", "|---|---|", "| [gateway](gateway.md) | the file's top level and its sections |"]
    table += [row((f"[adapter {name}](adapter-{name}.md)", _line(cls))) for name, cls in plugins.adapters.items()]
    for room, title in ROOMS.items():
        inside = [name for name, cls in plugins.operators.items() if room_of(cls) == room]
        links = ", ".join(f"[{name}](operators-{room}.md#{name})" for name in inside)
        table.append(row((f"[operators: {title.lower()}](operators-{room}.md)", links)))
    table.append("| [every uplink](uplinks.md) | what all uplinks have in common |")
    table += [row((f"[uplink {name}](uplink-{name}.md)", _line(cls))) for name, cls in plugins.uplinks.items()]
    table.append("| [verbs](verbs.md) | the command line |")
    table.append("| [words](words.md) | quality, reasons, exit codes, units |")
    return INDEX + "\n".join(table)


def _line(cls: type) -> str:
    return described(cls).split("\n\n")[0]


def _gateway() -> str:
    text = ["# The file: top level and sections\n", described(GatewayConfig), ""]
    plug_ins = frozenset({*installed().adapters.values(), *installed().uplinks.values()})
    found = parts(GatewayConfig, known=plug_ins | {_step()})
    top, below = found[0], found[1:]
    text.append(sections([top], "##"))
    names = [name for name in type_info(GatewayConfig).fields if _own_structs(name)]  # type: ignore[attr-defined]
    for field in names:
        name = field.encode_name
        group = [part for part in below if part.path.split(".")[0] == name]
        text.append(f"## {name}\n")
        text.append(sections(group, "###", bare=name))
        text.append(_example(examples.section(name)) if name not in {"pipelines", "adapters", "uplinks"} else "")
    return "\n".join(text)


def _own_structs(field: mi.Field) -> bool:
    known = {part.path.split(".")[0] for part in parts(GatewayConfig)}
    return field.encode_name in known and field.encode_name not in {"adapters", "uplinks"}


def _step() -> type:
    """The struct of a step, whose operators have pages of their own."""
    (field,) = [field for field in type_info(PipelineConfig).fields if field.name == "steps"]  # type: ignore[attr-defined]
    return field.type.item_type.cls


def _adapter(name: str, cls: type) -> str:
    more = f"[What it does, and what happens when](../../adapters/{name}/README.md)."
    text = [f"# Adapter {name}: options\n", described(cls), more, sections(parts(cls), "##")]
    return "\n\n".join(text) + _example(_under("adapters", name))


def _uplink(name: str, cls: type) -> str:
    base = BatchOptions if issubclass(cls, BatchOptions) else UplinkConfig
    common = frozenset(base.__struct_encode_fields__)
    known = frozenset(part.cls for part in parts(base))
    page = f"../uplinks/{name}.md" if (_PAGES_OF_UPLINKS / f"{name}.md").exists() else f"../uplinks.md#{name}"
    more = f"Besides those of [every uplink](uplinks.md). [What it promises]({page})."
    own = parts(cls, leave_out=common, known=known)
    text = [f"# Uplink {name}: options\n", described(cls), more, sections(own, "##")]
    return "\n\n".join(text) + _example(_under("uplinks", name))


def _every_uplink() -> str:
    found = parts(BatchOptions)
    only = ", ".join(f"`{tag_of(cls)}`" for cls in installed().uplinks.values() if not issubclass(cls, BatchOptions))
    common = set(BatchOptions.__struct_encode_fields__) - set(UplinkConfig.__struct_encode_fields__)
    lacking = f"Not of {only}: {', '.join(f'`{name}`' for name in sorted(common))}." if only else ""
    said = f"What all uplinks have in common. [Uplinks](../uplinks.md) and [the queue](../spool.md) say more. {lacking}"
    return f"# Every uplink: options\n\n{said.strip()}\n\n{sections(found, '##')}"


def _room(room: str) -> str:
    text = [f"# Operators: {ROOMS[room].lower()}\n", _common_options()]
    for name, cls in installed().operators.items():
        if room_of(cls) == room:
            text += list(_operator(name, cls))
    return "\n".join(text)


def _common_options() -> str:
    (base,) = parts(OperatorConfig)
    return "Every step has these options besides its own:\n\n" + sections([base], "##")


def _operator(name: str, cls: type) -> Iterator[str]:
    common = frozenset(OperatorConfig.__struct_encode_fields__)
    yield f"## {name}\n"
    yield described(cls) + f" [More](../operators.md#{name}).\n"
    yield sections(parts(cls, leave_out=common), "###")
    yield _example("".join(examples.steps(name)))


def _under(kind: str, name: str) -> str:
    text = examples.plug_in(kind, name)
    return f"{kind}:\n{text}" if text else ""


def _example(text: str) -> str:
    return f"\n{examples.fenced(text)}\n" if text else ""
