"""The files that a browser loads, from the package: small, so they are kept in memory, plain and compressed.

Each has an ETag made of its content; a browser asks whether it still holds and is answered by a few bytes.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.console.answers import ApiError, takes_gzip

FOLDER: Final = Path(__file__).parent / "static"
LEAST_ZIPPED: Final = 1024
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_INLINE: Final = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class _File:
    changed: tuple[int, int]
    content: bytes
    zipped: bytes | None
    etag: str
    media: str


class StaticFiles:
    """Files below a folder; what is changed on disk is read again."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder.resolve()
        self._known: dict[str, _File] = {}

    async def file(self, request: Request, name: str, headers: dict[str, str] | None = None) -> Response:
        """Answer with a file by its name below the folder.

        Raises:
            ApiError: there is none.
        """
        found = await asyncio.to_thread(self._find, name)
        if found is None:
            raise ApiError(404, "there is no such file")
        sent = {"etag": found.etag, "cache-control": "no-cache", "vary": "accept-encoding", **(headers or {})}
        asked = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if found.etag in asked or "*" in asked:
            return Response(status_code=304, headers=sent)
        content = found.content
        if found.zipped is not None and takes_gzip(request):
            content, sent["content-encoding"] = found.zipped, "gzip"
        return Response(content, headers=sent, media_type=found.media)

    async def policy(self) -> str:
        """What ``index.html`` may load: its own files, and the inline scripts that it has (the import map)."""
        found = await asyncio.to_thread(self._find, "index.html")
        scripts = [] if found is None else _INLINE.findall(found.content)
        hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
        return " ".join(["'self'", *(f"'sha256-{one}'" for one in hashes)])

    def _find(self, name: str) -> _File | None:
        if "\0" in name or any(part in {"", ".", ".."} or part.startswith(".") for part in name.split("/")):
            return None
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder):
            return None
        try:
            stat = path.stat()
            changed = (stat.st_mtime_ns, stat.st_size)
            known = self._known.get(name)
            if known is None or known.changed != changed:
                known = self._known[name] = _read(path, changed)
        except OSError:
            return None
        return known


def _read(path: Path, changed: tuple[int, int]) -> _File:
    content = path.read_bytes()
    zipped = gzip.compress(content, 6, mtime=0) if len(content) >= LEAST_ZIPPED else None
    if zipped is not None and len(zipped) > 0.9 * len(content):
        zipped = None
    media = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _File(changed, content, zipped, f'"{hashlib.sha256(content).hexdigest()[:32]}"', media)
