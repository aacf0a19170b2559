"""The inheritance of locks: what an owner gives back passes to the one it yields to, whoever else waits (P12).

Nobody who waits is passed by more than the locks that were in its way before: it waited for them already. So a waiter
is passed once for each holder that yields, beside the passes that its rank allows (P15).
"""

from __future__ import annotations

from collections.abc import Mapping

from virtyard.locks.model import Claim
from virtyard.locks.queue import ObjectQueue

__all__ = ["inherits"]


def inherits(heir: Claim, left: Claim, objects: Mapping[str, ObjectQueue]) -> bool:
    """Tell whether all that an owner waits for is within what another one held, and no other holder is in the way.

    Args:
        heir: the owner that is to have the locks.
        left: the owner that gives its locks back, as it was.
        objects: the queue of each object, in which that owner is no more.
    """
    if not heir.waiting or left.waiting or not left.holds(heir.asked):
        return False
    queues = ((objects.get(name), mode) for name, mode in heir.asked.items())
    return not any(
        owner != heir.under for queue, mode in queues if queue is not None for owner, _ in queue.blocking_holders(mode)
    )
