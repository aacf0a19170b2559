"""A finding: something that is stuck or will be, why, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How grave a finding is; the graver, the higher."""

    NOTICE = 1
    """Good to know."""
    WARNING = 2
    """Somebody should look at it soon."""
    CRITICAL = 3
    """Something does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found."""

    severity: Severity
    """How grave it is."""
    what: str
    """What is the matter, in one sentence."""
    why: str
    """Why that is so, as far as it can be told."""
    advice: str
    """What to do about it."""
    command: str = ""
    """A command line that does it; empty where none does."""
    repair: Any = field(default=None, compare=False)
    """The request of an operation that repairs it; None where only a person can."""

    def body(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "severity": self.severity.name,
            "what": self.what,
            "why": self.why,
            "advice": self.advice,
            "command": self.command,
            "repairable": self.repair is not None,
        }
