"""The time service of the machine: whether the kernel holds its clock to be in step with the world's, as NTP keeps it.

Setting the clock by hand takes that back at once, so a clock that is in step after a jump was corrected, not broken.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

__all__ = ["is_synchronised"]

_ERROR = 5
_STRUCT_BYTES = 512
"""More than struct timex has, on any architecture; all zero it asks and changes nothing."""


@functools.cache
def _adjtimex() -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    return function


def is_synchronised() -> bool:
    """Return whether a time service keeps the machine's clock; false where that cannot be told, as in a container."""
    function = _adjtimex()
    return function is not None and 0 <= function(ctypes.create_string_buffer(_STRUCT_BYTES)) < _ERROR
