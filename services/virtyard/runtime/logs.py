"""Logs: one line an event, as key=value for people or JSON for machines, each with its operation, job and trace."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from typing_extensions import override

from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime import telemetry

__all__ = ["bound", "configure_logs"]

# What the present task works for; a context variable, because it follows the task and not the call stack.
_facts: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("virtyard_log_facts", default=())


@contextmanager
def bound(**facts: str) -> Iterator[None]:
    """Add facts, as `operation=...` and `job=...`, to every line that is logged within the block."""
    token = _facts.set((*_facts.get(), *facts.items()))
    try:
        yield
    finally:
        _facts.reset(token)


def configure_logs(service: str, *, form: str = "text", level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send the process's logs to a stream; a process calls this once, at its start.

    Args:
        service: what the process is called.
        form: `text` or `json`.
        level: the least level that is shown.
        stream: where to; standard error if not given.

    Raises:
        InvalidRequest: the form or the level is none of those known.
    """
    if form not in {"text", "json"}:
        raise InvalidRequest.of("log form", "must be text or json")
    if level.upper() not in logging.getLevelNamesMapping():
        raise InvalidRequest.of("log level", "must be one of debug, info, warning, error")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json(service) if form == "json" else _Text(service))
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


class _Formatter(logging.Formatter):
    """What both forms say of a record."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def _facts(self, record: logging.LogRecord) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **dict(_facts.get()),
        }
        trace = telemetry.trace_id()
        if trace:
            facts.setdefault("trace", trace)
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return facts


class _Json(_Formatter):
    """One JSON object a line."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(self._facts(record), ensure_ascii=False)


class _Text(_Formatter):
    """Time, level and message, then key=value; an exception follows on lines of its own."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts = self._facts(record)
        head = [facts.pop("time"), f"{facts.pop('level').upper():7}", facts.pop("message")]
        exception = facts.pop("exception", "")
        tail = [f"{key}={_quoted(str(value))}" for key, value in facts.items()]
        line = " ".join((*head, *tail))
        return f"{line}\n{exception}" if exception else line


def _quoted(value: str) -> str:
    plain = value and not any(mark in value for mark in ' "=\n')
    return value if plain else json.dumps(value, ensure_ascii=False)
