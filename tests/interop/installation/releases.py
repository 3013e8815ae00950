"""Releases as they will come: this tree under later version numbers, sound ones and broken ones, each a package."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PARTS = ("gateway", "adapters", "pipelines", "systemd", "docs/installation.md")
READY = r'^ {12}notify\.notify\("READY=1", f".*$'
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")


@dataclass(frozen=True)
class Release:
    """What ``make package`` has built of a tree."""

    version: str
    deb: Path
    tarball: Path


def release(folder: Path, version: str, change: Callable[[Path], None] | None = None) -> Release:
    """The package and the tarball of this tree as that version, changed by ``change(tree)``."""
    tree = folder / f"tree-{version}"
    ignore = shutil.ignore_patterns("__pycache__", "node_modules", "*.pyc")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else _copy
        copy(ROOT / part, tree / part, **({"ignore": ignore} if copy is shutil.copytree else {}))
    for name in FILES:
        shutil.copy2(ROOT / name, tree / name)
    replace(tree / "pyproject.toml", r'^version = ".*"', f'version = "{version}"')
    replace(tree / "gateway" / "__init__.py", r'__version__ = ".*"', f'__version__ = "{version}"')
    if change is not None:
        change(tree)
    out = folder / "dist"
    command = [ROOT / "systemd" / "package", "--source", tree, "--out", out, "--no-console", "--extras", "kafka"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(tree)
    return Release(
        version, next(out.glob(f"onpath_{version}_*.deb")), next(out.glob(f"onpath-{version}-*.tar.gz"))
    )  # fmt: skip


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def replace(path: Path, pattern: str, text: str) -> None:
    """Change a file by an expression that must be there."""
    changed, count = re.subn(pattern, lambda _: text, path.read_text(), flags=re.MULTILINE)
    assert count, f"{pattern} is not in {path}"
    path.write_text(changed)


def with_next_format(tree: Path) -> None:
    """A version that stores more."""
    text = 'STEPS: tuple[Upgrade, ...] = (_to_second, lambda db: db.execute("ALTER TABLE loss ADD COLUMN by TEXT"))'
    replace(tree / "gateway" / "store" / "upgrade.py", r"^STEPS: .*$", text)


def that_fails_once_it_has_the_store(tree: Path) -> None:
    """A version that upgrades the store, starts, and breaks before it is ready."""
    with_next_format(tree)
    replace(tree / "gateway" / "daemon.py", READY, '            raise RuntimeError("a defect of this version")')


def that_never_gets_ready(tree: Path) -> None:
    """A version that hangs."""
    replace(tree / "gateway" / "daemon.py", READY, "            await asyncio.sleep(3600)")
