"""Uplink to files: appended to, or written whole. A batch is done when it is synced to disk."""

from __future__ import annotations

from gateway.errors import LinkError, StoreError
from gateway.tasks import in_thread, opened
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.file_append import GATHER, NOTE, AppendedFile
from gateway.uplinks.file_config import FileFormat, FileUplinkConfig
from gateway.uplinks.file_names import FileNames, tell_removed
from gateway.uplinks.file_whole import WholeFiles
from gateway.uplinks.streams import Recorder


class FileUplink(Uplink):
    """See :class:`FileUplinkConfig`."""

    def __init__(self, config: FileUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        names = FileNames(self._config, ctx.gateway, ctx.name)
        try:
            if self._config.whole:
                await WholeFiles(self._config, names, ctx).run()
            else:
                await self._append(ctx, names)
        except OSError as error:
            raise LinkError(f"{self._config.path}: {error.strerror or error}") from error
        except StoreError as error:
            raise LinkError(f"{self._config.path}: no new file while the store has failed: {error}") from error

    async def _append(self, ctx: UplinkContext, names: FileNames) -> None:
        file = await opened(AppendedFile, self._config, names, ctx.recall(NOTE))
        try:
            tell_removed(ctx, await in_thread(file.tidy))
            ctx.link(up=True, detail=self._config.path)
            recorder = Recorder(ctx, framed=self._config.format is FileFormat.FRAME, time=self._config.time)
            while True:
                await self._write_some(ctx, file, recorder)
        finally:
            file.close()

    async def _write_some(self, ctx: UplinkContext, file: AppendedFile, recorder: Recorder) -> None:
        batches = [await ctx.next(), *ctx.ready(GATHER - 1)]
        if file.due():
            ctx.remember(NOTE, await in_thread(file.note))
            await ctx.saved()  # with it the spool lets go of all that is done
            tell_removed(ctx, await in_thread(file.rotate))
            recorder.begin()
        fresh = [batch for batch in batches if not file.has(batch)]
        if fresh:
            records = [recorder.record(batch) for batch in fresh]
            await in_thread(file.write, records)
            ctx.stats.messages += len(fresh)
            ctx.stats.bytes += sum(map(len, records))
        if len(fresh) < len(batches):
            ctx.stats.counts["already_there"] += len(batches) - len(fresh)
        for batch in batches:
            ctx.done(batch)
