"""The names of all points, made ready for searching and ordering. Used in a thread, by one at a time.

Grows with the directory; what a name says once is not looked at again.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from gateway.directory import Directory
from gateway.frame import Ids
from gateway.point import compile_glob

REMEMBERED: Final = 32
"""Searches whose result is kept: who scrolls asks the same again."""
_DIGITS: Final = re.compile(r"\d+")


class Names:
    """Every name in lower case, and its place in the order that people expect (``m2`` before ``m10``)."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._lower: list[str] = []
        self._keys: list[str] = []
        self._order: list[int] = []
        self._rank: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._found: dict[tuple[str, str], Ids] = {}

    def _learn(self) -> None:
        first, total = len(self._lower), len(self._directory)
        if first == total:
            return
        names = [self._directory.name(point) for point in range(first, total)]
        self._lower += [name.lower() for name in names]
        self._keys += [_DIGITS.sub(_padded, name) for name in names]
        self._order = sorted([*self._order, *range(first, total)], key=self._keys.__getitem__)
        self._rank = np.empty(total, np.int32)
        self._rank[self._order] = np.arange(total, dtype=np.int32)
        self._found.clear()

    def find(self, words: str, device: str = "") -> Ids:
        """Ids of the points whose name holds all words, or fits the glob, in the order of names.

        Small and large letters are the same to words, and not to a glob, which has a ``*`` or ``?``.
        """
        self._learn()
        key = (words.strip(), device)
        found = self._found.pop(key, None)
        if found is None:
            found = self._search(*key)
        self._found[key] = found
        while len(self._found) > REMEMBERED:
            del self._found[next(iter(self._found))]
        return found

    def _search(self, words: str, device: str) -> Ids:
        chosen = self._order
        if device:
            own = f"{device}/"
            name = self._directory.name
            chosen = [point for point in chosen if name(point).startswith(own)]
        if "*" in words or "?" in words:
            match, name = compile_glob(words).match, self._directory.name
            chosen = [point for point in chosen if match(name(point))]
        else:
            lower = self._lower
            for word in words.lower().split():
                chosen = [point for point in chosen if word in lower[point]]
        return np.array(chosen, np.int32)

    def rank(self, points: Ids) -> npt.NDArray[np.int32]:
        """The place of each point in the order of names, [n]."""
        result: npt.NDArray[np.int32] = self._rank[points]
        return result

    def derived(self, name: str) -> list[str]:
        """Names that a pipeline made of this one: ``m1/power#mean``."""
        self._learn()
        prefix = f"{name}#".lower()
        return [self._directory.name(point) for point in self._order if self._lower[point].startswith(prefix)]


def _padded(digits: re.Match[str]) -> str:
    return digits[0].zfill(12)
