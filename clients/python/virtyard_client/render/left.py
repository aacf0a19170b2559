"""How long something still takes, as people say it: about 7 minutes left."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["in_words", "left"]


def left(end: Timestamp, now: datetime) -> str:
    """How long it is to an expected end; empty once that has passed, as then nothing is known."""
    seconds = (end.ToDatetime(UTC) - now).total_seconds()
    return f"about {in_words(seconds)} left" if seconds > 0 else ""


def in_words(seconds: float) -> str:
    """A span of time in its one unit that people would use, as 40 seconds or 7 minutes."""
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size * (0.9 if size == 60 else 1.5):
            count = round(seconds / size)
            return f"{count} {word}{'' if count == 1 else 's'}"
    count = max(1, round(seconds))
    return f"{count} second{'' if count == 1 else 's'}"
