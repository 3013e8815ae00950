"""Options that many verbs share. A leaf: imports typer only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Option("-c", "--config", help="A YAML file, or a folder whose *.yaml are merged.")]
StatePath = Annotated[
    Path | None, typer.Option(help="The daemon's state folder; default: what the configuration says.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines.")]
DEFAULT_CONFIG = Path("/etc/onpath")
