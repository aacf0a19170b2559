"""Quantities as people write and read them: bytes, per cent, spans of time and points in time.

`4G` means 4 GiB, as in qemu-img and libvirt; `4GB` is decimal, `4GiB` says it in full.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_NUMBER = r"(?P<number>\d+(?:\.\d+)?|\.\d+)"
_BYTES = re.compile(rf"{_NUMBER}\s*(?P<prefix>[KMGTPE]?)(?P<rest>iB|B|)", re.IGNORECASE)
_SPAN = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)")
_PERCENT = re.compile(rf"{_NUMBER}\s*%?")
_PREFIXES = "KMGTPE"
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}

BYTES_ALLOWED = "a size such as 512M, 4G, 1.5T or a number of bytes"
SPAN_ALLOWED = "a span of time such as 30s, 5m, 1h30m or a number of seconds"
PERCENT_ALLOWED = "per cent from 0 to 100, such as 40 or 40%"
TIME_ALLOWED = "a time such as 2030-01-31T18:00:00Z, or +2h for two hours from now"


def read_bytes(text: str) -> int:
    """Read a size as a whole number of bytes.

    Raises:
        ValueError: it is no size, or a fraction of a byte; the message says what is allowed.
    """
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        raise ValueError(BYTES_ALLOWED)
    prefix, rest = found["prefix"].upper(), found["rest"]
    power = _PREFIXES.index(prefix) + 1 if prefix else 0
    factor = 1000**power if rest.upper() == "B" else 1024**power
    size = Decimal(found["number"]) * factor
    if size != size.to_integral_value():
        if not power:
            raise ValueError(BYTES_ALLOWED)
        size = size.to_integral_value()
    return int(size)


def read_seconds(text: str) -> Decimal:
    """Read a span of time as seconds.

    Raises:
        ValueError: it is no span; the message says what is allowed.
    """
    text = text.strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return Decimal(text)
    parts = list(_SPAN.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(SPAN_ALLOWED)
    return sum((Decimal(part["number"]) * _SECONDS[part["unit"]] for part in parts), Decimal(0))


def read_percent(text: str) -> float:
    """Read per cent.

    Raises:
        ValueError: it is no number from 0 to 100; the message says what is allowed.
    """
    found = _PERCENT.fullmatch(text.strip())
    if found is None or float(found["number"]) > 100:
        raise ValueError(PERCENT_ALLOWED)
    return float(found["number"])


def read_time(text: str, now: Callable[[], datetime]) -> datetime:
    """Read a point in time: RFC 3339 (UTC if no zone is given), or `+SPAN` from now.

    Raises:
        ValueError: it is neither; the message says what is allowed.
    """
    if text.startswith("+"):
        return now() + timedelta(seconds=float(read_seconds(text[1:])))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(TIME_ALLOWED) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def show_bytes(size: float) -> str:
    """A size with a binary unit and at most one digit behind the point, as 4 GiB or 1.5 TiB."""
    value, power = float(size), 0
    while abs(value) >= 1024 and power < len(_PREFIXES):
        value, power = value / 1024, power + 1
    if not power:
        return f"{int(size)} B"
    digits = f"{value:.1f}".removesuffix(".0")
    return f"{digits} {_PREFIXES[power - 1]}iB"


def show_seconds(seconds: float) -> str:
    """A span of time in its two largest units, as 1.2 s, 3 m 20 s or 2 h 5 m."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest} s" if rest else f"{minutes} m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} m" if minutes else f"{hours} h"


def show_time(moment: datetime) -> str:
    """A point in time in UTC to the second, as RFC 3339 writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
