"""Structured logs on standard error: for people and journald, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

from gateway.config.model import LogConfig, LogFormat

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# syslog priorities as journald understands them at the start of a line, sd-daemon(3)
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00Z warning adapter meters: link down: timed out key=value``."""

    def __init__(self, *, journald: bool) -> None:
        super().__init__()
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on its own lines."""
        facts = "".join(f" {key}={value}" for key, value in _facts(record).items())
        text = f"{record.levelname.lower()} {record.getMessage()}{facts}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._journald:
            return f"<{_PRIORITY.get(record.levelno, 6)}>{text}"
        return f"{_utc(record)} {text}"


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", ...facts}``."""

    def format(self, record: logging.LogRecord) -> str:
        """One object, one line."""
        line = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _utc(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def set_up(config: LogConfig, beside: logging.Handler | None = None) -> None:
    """Send all logging to standard error as the configuration says, and ``beside``; can be called again."""
    handler = logging.StreamHandler(sys.stderr)
    if config.format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter(journald="JOURNAL_STREAM" in os.environ))
    root = logging.getLogger()
    root.handlers[:] = [handler] if beside is None else [handler, beside]
    root.setLevel(config.level.value.upper())
    # Libraries report each failed attempt; ours reports each change
    for noisy in ("gmqtt", "pymodbus", "coap", "coap-server", "mqtt", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.ERROR, root.level))
