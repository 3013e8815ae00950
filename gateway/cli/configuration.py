"""``onpath check``, ``schema`` and ``plugins``."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway.config import load_checked
from gateway.config.plugins import installed
from gateway.config.schema import schema
from gateway.errors import ConfigError, Problem


def check_config(path: Path, *, as_json: bool) -> None:
    """Print all problems and warnings; exit 78 if there are problems."""
    try:
        loaded = load_checked(path, os.environ)
    except ConfigError as error:
        if as_json:
            print(json.dumps({"ok": False, "problems": _plain(error.problems), "warnings": []}))
        else:
            for problem in error.problems:
                print(problem, file=sys.stderr)
            print(f"{len(error.problems)} problem(s)", file=sys.stderr)
        sys.exit(error.exit_code)
    if as_json:
        print(json.dumps({"ok": True, "problems": [], "warnings": _plain(loaded.warnings)}))
        return
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    config = loaded.config
    print(
        f"{path}: ok ({len(config.adapters)} adapters, {len(config.pipelines)} pipelines, "
        f"{len(config.uplinks)} uplinks)"
    )


def _plain(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    fields = ("file", "line", "column", "path", "message")
    return [{field: getattr(problem, field) for field in fields} for problem in problems]


def print_schema(*, of_service: bool = False) -> None:
    """Print the JSON Schema of a configuration, or of a service."""
    if of_service:
        from gateway.network.service import ServiceConfig

        print(json.dumps(schema(ServiceConfig, "onpath service"), indent=2))
    else:
        print(json.dumps(schema(), indent=2))


def list_plugins(*, as_json: bool) -> None:
    """Print every plug-in with the first line of its documentation."""
    found = installed()
    sections: dict[str, Mapping[str, type]] = {
        "adapters": found.adapters,
        "operators": found.operators,
        "uplinks": found.uplinks,
    }
    table = {
        section: {name: (inspect.getdoc(config) or "").split("\n", 1)[0] for name, config in items.items()}
        for section, items in sections.items()
    }
    if as_json:
        print(json.dumps(table))
        return
    for section, rows in table.items():
        print(section)
        for name, text in rows.items():
            print(f"  {name:<12} {text}")
