"""What the control socket answers about the configuration (:mod:`gateway.control`); the command line uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gateway.editing.editor import Editor, Files, Made
from gateway.editing.effective import LIMIT, effective_rows, printed, tree
from gateway.editing.files import BadRequestError
from gateway.tasks import in_thread

if TYPE_CHECKING:
    from gateway.control import Verb
    from gateway.inside import Inside

T = TypeVar("T")


class FileText(msgspec.Struct, frozen=True):
    """A file of the configuration."""

    name: str
    text: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """All files that there are to be."""

    files: list[FileText]

    @property
    def pairs(self) -> Files:
        """As the editor takes them.

        Raises:
            BadRequestError: a name comes twice.
        """
        names = [one.name for one in self.files]
        if len(set(names)) < len(names):
            raise BadRequestError("a file comes twice")
        return [(one.name, one.text) for one in self.files]


class Apply(Wanted, frozen=True, kw_only=True):
    """Bring files into effect."""

    base: str = ""
    """Hash of the files that these were made from; a change by somebody else in between is a conflict."""
    comment: str = ""
    by: str = ""
    confirm_s: float = 0.0
    """Undo it unless it is confirmed within so many seconds; 0 for good."""


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """Bring a former version into effect."""

    version: int
    comment: str = ""
    by: str = ""
    confirm_s: float = 0.0


class Confirm(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a change that waits, or take it back."""

    keep: bool = True


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What of the effective configuration is wanted."""

    path: str = ""
    """A glob of paths: ``uplinks.*.url``, ``store`` with all below it."""
    defaults: bool = True
    offset: int = 0
    limit: int = LIMIT
    origins: bool = True
    """For YAML: with comments."""


class Announce(msgspec.Struct, frozen=True, kw_only=True):
    """What has this hash is about to be read from disk; for who may write where the gateway may not."""

    hash: str
    comment: str = ""
    by: str = ""


def taken(cls: type[T], request: dict[str, Any]) -> T:
    """The fields of a request; unknown ones are left out.

    Raises:
        BadRequestError: it is not what it should be, in one line.
    """
    try:
        return msgspec.convert(request, cls)
    except msgspec.ValidationError as error:
        raise BadRequestError(str(error)) from None


async def apply(editor: Editor, request: Apply, by: str) -> dict[str, Any]:
    """See :meth:`Editor.apply`."""
    made = Made(by, request.comment)
    return await editor.apply(request.pairs, made, base=request.base, confirm_s=request.confirm_s)


async def rollback(editor: Editor, request: Rollback, by: str) -> dict[str, Any]:
    """See :meth:`Editor.rollback`."""
    return await editor.rollback(request.version, Made(by, request.comment), confirm_s=request.confirm_s)


async def effective(inside: Inside, query: Query) -> dict[str, Any]:
    """See :func:`effective_rows`."""
    return await effective_rows(inside, query.path, defaults=query.defaults, offset=query.offset, limit=query.limit)


def editing_verbs(inside: Inside) -> dict[str, Verb]:
    """By name; all answer with one object."""
    return _looking(inside) | _changing(inside.editing)


def _looking(inside: Inside) -> dict[str, Verb]:
    editor = inside.editing

    async def current(_request: dict[str, Any]) -> dict[str, Any]:
        return await editor.current()

    async def check(request: dict[str, Any]) -> dict[str, Any]:
        return await editor.check(taken(Wanted, request).pairs)

    async def diff(request: dict[str, Any]) -> dict[str, Any]:
        return await editor.diff(taken(Wanted, request).pairs)

    async def versions(_request: dict[str, Any]) -> dict[str, Any]:
        return {"versions": await editor.list_versions()}

    async def version(request: dict[str, Any]) -> dict[str, Any]:
        return await editor.show_version(taken(Rollback, request).version)

    async def shown(request: dict[str, Any]) -> dict[str, Any]:
        return await effective(inside, taken(Query, request))

    async def as_yaml(request: dict[str, Any]) -> dict[str, Any]:
        asked = taken(Query, request)
        found = await in_thread(tree, inside)
        text = await in_thread(printed, found, asked.path, defaults=asked.defaults, origins=asked.origins)
        return {"yaml": text}

    return {
        "config": current,
        "config-check": check,
        "config-diff": diff,
        "config-versions": versions,
        "config-version": version,
        "effective": shown,
        "effective-yaml": as_yaml,
    }


def _changing(editor: Editor) -> dict[str, Verb]:
    async def applied(request: dict[str, Any]) -> dict[str, Any]:
        asked = taken(Apply, request)
        return await apply(editor, asked, asked.by or "command line")

    async def back(request: dict[str, Any]) -> dict[str, Any]:
        asked = taken(Rollback, request)
        return await rollback(editor, asked, asked.by or "command line")

    async def confirm(request: dict[str, Any]) -> dict[str, Any]:
        return await editor.confirm(keep=taken(Confirm, request).keep)

    async def announce(request: dict[str, Any]) -> dict[str, Any]:
        asked = taken(Announce, request)
        editor.announce(asked.hash, Made(asked.by or "command line", asked.comment, always=True))
        return {}

    return {
        "config-apply": applied,
        "config-rollback": back,
        "config-confirm": confirm,
        "config-announce": announce,
    }
