"""Adds blocks to a YAML file that a person wrote, keeping the comments and the order of what is there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gateway.errors import OnpathError


def as_yaml(block: dict[str, Any]) -> str:
    """A block as it will stand in the file."""
    stream = io.StringIO()
    _yaml().dump(block, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 120
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def add_to_file(path: Path, blocks: list[dict[str, Any]]) -> bool:
    """Merge blocks into a file, made if it is not there; whether that changed anything.

    What stands in the file wins; mappings grow by key, lists by what they do not hold yet. The file is exchanged
    in one step.

    Raises:
        OnpathError: it cannot be read or written, or is not YAML.
    """
    yaml = _yaml()
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        document = yaml.load(text) or {}
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise OnpathError(f"{path}: cannot be added to: {error}") from error
    if not isinstance(document, dict):
        raise OnpathError(f"{path}: holds no mapping of keys such as adapters:")
    changed = [_grow(document, block) for block in blocks]
    if not any(changed):
        return False
    stream = io.StringIO()
    yaml.dump(document, stream)
    _replace(path, stream.getvalue())
    return True


def _grow(known: dict[str, Any], addition: dict[str, Any]) -> bool:
    changed = False
    for key, value in addition.items():
        here = known.get(key)
        if here is None:
            known[key] = value
            changed = True
        elif isinstance(here, dict) and isinstance(value, dict):
            changed |= _grow(here, value)
        elif isinstance(here, list) and isinstance(value, list):
            fresh = [item for item in value if item not in here]
            here.extend(fresh)
            changed |= bool(fresh)
    return changed


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, "utf-8")
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
    except OSError as error:
        raise OnpathError(f"{path}: cannot be written: {error.strerror}") from error
