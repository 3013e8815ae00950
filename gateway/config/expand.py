"""``${...}`` in parsed text leaves: the environment and systemd credentials. Never in keys or structure.

| written | becomes |
|---|---|
| ``${VAR}`` | the variable; an error if it is not set |
| ``${VAR:-default}`` | the variable, or the default if it is not set or empty |
| ``${VAR:?why}`` | the variable, or an error that says why if it is not set or empty |
| ``${credential:name}`` | the file ``name`` in ``$CREDENTIALS_DIRECTORY``, without one newline at its end |
| ``$${`` | ``${`` as it stands |

What comes in is text and is not looked through again. A leaf that is nothing but digits after expansion
may stand where a number is wanted (see :mod:`gateway.config.convert`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as MappingABC
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Final

from gateway.config.nodes import Entry, Mapping, Node, Path, Scalar, Sequence, path_text
from gateway.errors import Problem

MAX_CREDENTIAL: Final = 1 << 20
"""Bytes; systemd's own bound on credentials."""

CREDENTIAL: Final = "credential "
VARIABLE: Final = "variable "
"""What begins the names in :attr:`Scalar.references`."""

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.DOTALL)
_CREDENTIAL = re.compile(r"credential:(?![-?])(.*)", re.DOTALL)
_FILE_NAME = re.compile(r"[A-Za-z0-9_.@:\-]{1,255}")


class ExpandError(ValueError):
    """A reference cannot be expanded; the text says why."""


class Expander:
    """Expands the leaves of trees from one environment; collects problems and the secrets it has read."""

    def __init__(self, env: MappingABC[str, str]) -> None:
        self.env = env
        self.problems: list[Problem] = []
        self.secrets: set[str] = set()
        self._credentials: dict[str, str] = {}

    def node(self, node: Node, path: Path = ()) -> Node:
        """The same tree with every leaf expanded; what cannot be is left as it was and reported."""
        if isinstance(node, Scalar):
            return self._scalar(node, path)
        if isinstance(node, Sequence):
            return Sequence(node.mark, tuple(self.node(item, (*path, i)) for i, item in enumerate(node.items)))
        return self.mapping(node, path)

    def mapping(self, node: Mapping, path: Path = ()) -> Mapping:
        """The same for a mapping."""
        entries = {key: Entry(entry.key, self.node(entry.value, (*path, key))) for key, entry in node.entries.items()}
        return Mapping(node.mark, entries)

    def hide(self, problem: Problem) -> Problem:
        """The same problem with no credential in its text, whole or in pieces of a URL."""
        message = problem.message
        pieces = {piece for secret in self.secrets for piece in (secret, *_pieces(secret))}
        for piece in sorted(pieces, key=len, reverse=True):
            for form in {piece, repr(piece)[1:-1], json.dumps(piece, ensure_ascii=False)[1:-1]}:
                message = message.replace(form, "***")
        return replace(problem, message=message)

    def _scalar(self, node: Scalar, path: Path) -> Scalar:
        if "${" not in node.text:
            return node
        used: dict[str, None] = {}
        try:
            text = _REFERENCE.sub(lambda match: self._reference(match, used), node.text)
        except ExpandError as error:
            self.problems.append(node.mark.problem(path_text(path), str(error)))
            return replace(node, failed=True)
        secret = any(reference.startswith(CREDENTIAL) for reference in used)
        return replace(node, text=text, expanded=True, secret=secret, references=tuple(used))

    def _reference(self, match: re.Match[str], used: dict[str, None]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise ExpandError("${ without its }; write $${ for the characters themselves")
        credential = _CREDENTIAL.fullmatch(match[1])
        if credential is not None:
            used[CREDENTIAL + credential[1]] = None
            return self._credential(credential[1])
        variable = _VARIABLE.fullmatch(match[1])
        if variable is None:
            raise ExpandError(
                f"{match[0]} is not understood; write ${{VAR}}, ${{VAR:-default}}, ${{VAR:?why}} "
                "or ${credential:name}"
            )
        used[VARIABLE + variable[1]] = None
        return self._variable(variable[1], variable[2], variable[3])

    def _variable(self, name: str, mode: str | None, rest: str) -> str:
        value = self.env.get(name)
        if mode is None:
            if value is None:
                raise ExpandError(f"${name} is not set; set it, or write ${{{name}:-default}}")
            return value
        if value:
            return value
        if mode == ":-":
            return rest
        state = "not set" if value is None else "empty"
        raise ExpandError(f"${name} is {state}: {rest}" if rest else f"${name} is {state}")

    def _credential(self, name: str) -> str:
        if name not in self._credentials:
            self._credentials[name] = text = self.read_credential(name)
            if text:
                self.secrets.add(text)
        return self._credentials[name]

    def read_credential(self, name: str) -> str:
        """What is in a credential.

        Raises:
            ExpandError: it cannot be read; with why.
        """
        if not _FILE_NAME.fullmatch(name) or name in {".", ".."}:
            raise ExpandError(f"{name!r} is not the name of a credential: a file name without a folder")
        folder = self.env.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise ExpandError(
                f"credential {name!r}: $CREDENTIALS_DIRECTORY is not set; "
                "systemd sets it when the unit has LoadCredential="
            )
        try:
            with (FilePath(folder) / name).open("rb") as file:
                data = file.read(MAX_CREDENTIAL + 1)
        except OSError as error:
            raise ExpandError(f"credential {name!r}: {error.strerror}") from None
        if len(data) > MAX_CREDENTIAL:
            raise ExpandError(f"credential {name!r}: larger than 1 MiB")
        try:
            return data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ExpandError(f"credential {name!r}: not UTF-8 text") from None


def _pieces(secret: str) -> list[str]:
    """What a URL parser may tear out of a secret; too short a piece would blot out common words."""
    return [piece for piece in re.split(r"[/@:?#&=\s]+", secret) if len(piece) >= 4]
