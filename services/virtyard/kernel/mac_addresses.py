"""Hardware addresses of network cards, and the ranges from which new cards get theirs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from virtyard.kernel.errors import InvalidRequest

SITE_POOL = "52:54:00:00:00:00-52:54:00:ff:ff:ff"
"""The range of cards that are in no network with a range of its own: QEMU's own prefix."""
_ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_GROUP_BIT = 1 << 40


def check_address(address: str, field: str) -> str:
    """Return the address in lower case, if it is one of a single card.

    Raises:
        InvalidRequest: it is not six pairs of hexadecimal digits, or is a group address; the refusal names `field`.
    """
    lowered = address.lower()
    if not _ADDRESS.fullmatch(lowered) or _number(lowered) & _GROUP_BIT:
        raise InvalidRequest.of(field, f"{address!r} is not a hardware address of one card, as 52:54:00:12:34:56")
    return lowered


def check_pool(pool: str, field: str) -> str:
    """Return a range of addresses in lower case, if it is one.

    Raises:
        InvalidRequest: it is not two addresses with a hyphen between, the lower first; the refusal names `field`.
    """
    first, hyphen, last = pool.partition("-")
    low, high = check_address(first, field), check_address(last, field) if hyphen else ""
    if not low <= high:
        raise InvalidRequest.of(field, f"{pool!r} is not a range, as 52:54:00:10:00:00-52:54:00:10:ff:ff")
    return f"{low}-{high}"


def candidates(pool: str, key: str) -> Iterator[str]:
    """Yield every address of a range once, beginning at a place that a key decides, so that two keys rarely meet.

    Args:
        pool: the range, as `check_pool` gives it.
        key: a uid.
    """
    low, _, high = pool.partition("-")
    first, size = _number(low), _number(high) - _number(low) + 1
    start = int.from_bytes(hashlib.sha256(key.encode()).digest()) % size
    for offset in range(size):
        number = first + (start + offset) % size
        if not number & _GROUP_BIT:
            yield ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))


def _number(address: str) -> int:
    return int(address.replace(":", ""), 16)
