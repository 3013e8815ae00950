"""The import rule: leaves below, adapters and pipelines beside each other, gateway above; protocols only when used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAVES = {
    f"gateway.{leaf}" for leaf in ("frame", "errors", "quality", "point", "units", "merge", "finding", "batch", "tls")
}
LEAVES |= {f"gateway.wire.{path.stem}" for path in (ROOT / "gateway/wire").glob("[!_]*.py")}
OURS = {"gateway", "adapters", "pipelines"}
HEAVY = {
    "aiocoap",
    "gmqtt",
    "pymodbus",
    "aiomqtt",
    "paho",
    "serial",
    "apsw",
    "nats",
    "aiohttp",
    "confluent_kafka",
    "pyarrow",
}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports anywhere in it, for types too; a name of a package counts as its module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            exact = {name for name in inside if is_module(name)}
            found |= exact or {node.module}
    return {name for name in found if name.partition(".")[0] in OURS}


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_the_parser_sees_imports_in_all_their_forms():
    assert "adapters.base" in imported(ROOT / "gateway/links.py")
    assert "gateway.quality" in imported(ROOT / "gateway/merge.py")  # from gateway import quality
    assert "gateway.uplinks.mqtt" in imported(ROOT / "gateway/uplinks/config.py")  # inside a function


@pytest.mark.parametrize("package", ["adapters", "pipelines"])
def test_plugins_import_only_leaves_and_themselves(package):
    assert modules(package)
    wrong = {
        (name_of(path), name)
        for path in modules(package)
        for name in imported(path)
        if name not in LEAVES and not f"{name}.".startswith(f"{package}.")
    }
    assert not wrong


def test_leaves_import_only_leaves():
    wrong = {
        (leaf, name)
        for leaf in LEAVES
        for name in imported(ROOT.joinpath(*leaf.split(".")).with_suffix(".py"))
        if name not in LEAVES
    }
    assert not wrong


def test_an_adapter_imports_no_other_adapter():
    shared = {"adapters", "adapters.base", "adapters.payloads"}
    above = {("adapters.frame", "adapters.mqtt")}  # batches come by MQTT's sessions, too
    wrong = set()
    for folder in (path for path in (ROOT / "adapters").iterdir() if (path / "__init__.py").is_file()):
        own = f"adapters.{folder.name}"
        for path in modules(f"adapters/{folder.name}"):
            for name in imported(path):
                top = ".".join(name.split(".")[:2])
                if name.startswith("adapters") and top not in shared | {own} and (own, top) not in above:
                    wrong.add((name_of(path), name))
    assert not wrong


@pytest.mark.parametrize("module", ["gateway.config", "gateway.cli.main"])
def test_protocol_libraries_wait_until_they_are_used(module):
    code = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert module.partition(".")[0] in loaded
    assert not loaded & HEAVY
