"""Names of the files that the uplink ``file`` writes, and which of them are kept."""

from __future__ import annotations

import glob
import re
import time
from pathlib import Path
from typing import Final

from gateway.uplinks.base import UplinkContext
from gateway.uplinks.compress import ENDING
from gateway.uplinks.file_config import FileUplinkConfig

PART: Final = ".part"
"""What the name of a file that is not complete ends with."""


class FileNames:
    """Names by the template of one uplink.

    Two styles: files that are appended to under a fixed name become ``name.1`` (the newest), ``name.2`` ...; all others
    keep their name, and those that would have the same get a number: ``name.csv``, ``name-2.csv``, ``name-3.csv`` ...
    """

    def __init__(self, config: FileUplinkConfig, gateway: str, uplink: str) -> None:
        ending = ENDING[config.compress]
        path = config.path if config.path.endswith(ending) else config.path + ending
        self._config = config
        self._template = path.replace("{gateway}", gateway).replace("{uplink}", uplink)
        bare = self._template.removesuffix(ending) if ending else self._template
        suffix = Path(bare).suffix
        self._stem, self._suffix = bare.removesuffix(suffix) if suffix else bare, suffix + ending
        self.dated = "{date}" in path or "{hour}" in path
        self.shifts = not self.dated and not config.whole
        """Whether files become ``name.1`` and so on."""

    def base(self) -> str:
        """The name without a number that is right now; another one when the date or hour has changed."""
        return _filled(self._stem, "%Y-%m-%d", "%H")

    def path(self, base: str, number: int) -> Path:
        """The file of a number, from 1 on."""
        return Path(f"{base}{self._suffix}" if number == 1 else f"{base}-{number}{self._suffix}")

    def newest(self, base: str) -> int:
        """The highest number that is taken by a file or a part of one; 0 if there is none."""
        taken = re.compile(re.escape(base) + r"(?:-(\d+))?" + re.escape(self._suffix) + f"(?:{re.escape(PART)})?")
        found = glob.iglob(f"{glob.escape(base)}*{glob.escape(self._suffix)}*")  # noqa: PTH207  the name is one text
        return max((int(match[1] or 1) for name in found if (match := taken.fullmatch(name))), default=0)

    def existing(self) -> list[Path]:
        """The files there are, the oldest first, without parts; with a fixed name only those of before."""
        if self.shifts:
            return _matching(glob.escape(self._template) + ".*", re.escape(self._template) + r"\.\d+")
        return _matching(*self._patterns())

    def parts(self) -> list[Path]:
        """Files that were begun and never completed."""
        stars, exact = self._patterns()
        return _matching(stars + PART, exact + re.escape(PART))

    def _patterns(self) -> tuple[str, str]:
        """A glob, and what of its finds is ours."""
        stem, suffix = self._stem, self._suffix
        stars = glob.escape(stem).replace("{date}", "*").replace("{hour}", "*") + "*" + glob.escape(suffix)
        exact = re.escape(stem).replace(r"\{date\}", r"\d{4}-\d\d-\d\d").replace(r"\{hour\}", r"\d\d")
        return stars, exact + r"(?:-\d+)?" + re.escape(suffix)

    def surplus(self, current: Path | None = None) -> list[Path]:
        """Complete files that are to be removed, by count, age and size together."""
        config = self._config
        files = [(file, file.stat()) for file in self.existing() if file != current]
        total = sum(stat.st_size for _, stat in files)
        gone: list[Path] = []
        for at, (file, stat) in enumerate(files):
            many = len(files) - at > config.files
            old = config.max_age is not None and time.time() - stat.st_mtime > config.max_age
            large = config.max_total is not None and total > config.max_total
            if many or old or large:
                gone.append(file)
                total -= stat.st_size
        return gone


def _filled(text: str, date: str, hour: str) -> str:
    now = time.gmtime()
    return text.replace("{date}", time.strftime(date, now)).replace("{hour}", time.strftime(hour, now))


def _matching(stars: str, exact: str) -> list[Path]:
    wanted = re.compile(exact)
    found = [Path(name) for name in glob.iglob(stars) if wanted.fullmatch(name)]  # noqa: PTH207  the name is one text
    return sorted(found, key=lambda file: (file.stat().st_mtime_ns, len(file.name), file.name))


def tell_removed(ctx: UplinkContext, files: list[Path]) -> None:
    """Count old files that were removed, and say so."""
    if files:
        ctx.stats.counts["files_removed"] += len(files)
        ctx.log.info("removed %s%s", files[0], f" and {len(files) - 1} more" if len(files) > 1 else "")
