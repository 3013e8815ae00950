"""``onpath doctor``: what is wrong, why it matters, and a command that helps."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from gateway.doctor.diagnosis import Severity
from gateway.doctor.run import examine_from_outside

_STYLES: Final = {
    Severity.OK: "green",
    Severity.NOTE: "cyan",
    Severity.WARNING: "yellow",
    Severity.PROBLEM: "bold red",
}


def run_doctor(config: Path, state: Path | None, *, as_json: bool) -> None:
    """Print all findings, the checks in a fixed order; exit 1 if one is a problem."""
    rows = examine_from_outside(config, os.environ, state)
    counts = {severity.value: sum(row["severity"] == severity for row in rows) for severity in Severity}
    if as_json:
        print(json.dumps({"findings": rows, "counts": counts}))
    else:
        _print(rows, counts)
    if counts[Severity.PROBLEM]:
        sys.exit(1)


def _print(rows: list[dict[str, Any]], counts: dict[str, int]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for row in rows:
        severity = Severity(row["severity"])
        head = row["subject"]
        named = not head or (head in row["what"] and not head.isalpha())
        text = row["what"] if named else f"{head}: {row['what']}"
        console.print(f"[{_STYLES[severity]}]{severity.value:<8}[/] {row['check']:<13}", end="")
        console.print(text, markup=False)
        if row["remedy"]:
            console.print(f"{'':<22}{row['why']}", markup=False)
            console.print(f"{'':<22}$ {row['remedy']}", markup=False, style="bold")
    told = ", ".join(f"{counts[name]} {name}" for name in ("problem", "warning", "note", "ok") if counts[name])
    console.print(f"\n{told}", markup=False)
