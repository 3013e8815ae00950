"""What failed beside other tests, once more by itself: ``python -m tests.support.again CODE CACHE``.

Side by side on a busy machine a test may be kept from its turn for longer than it waits. What is wrong fails by itself
as well; of what does not, the names are told. More than a few at once are no accident, and are not tried again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

FAILED: Final = 1
"""Pytest's exit code for: tests were run, and some failed."""
MOST: Final = 3


def main(code: int, cache: Path) -> int:
    """The exit code that counts."""
    try:
        failed = sorted(json.loads((cache / "v" / "cache" / "lastfailed").read_text()))
    except (OSError, ValueError):
        return code
    if code != FAILED or not 0 < len(failed) <= MOST:
        return code
    print("failed beside others, once more by themselves:", *failed, sep="\n  ", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *failed], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
