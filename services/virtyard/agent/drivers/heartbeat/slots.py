"""Slots of a heartbeat device: whose each is, and clearing one for a member that is dead.

A slot that was cleared for its member keeps what was in it, under the mark of who cleared it, so that this can be taken
back; it counts as free. A slot names the mark under which its member joined, so that a member that returns can tell
whether the slot is its own still.
"""

from __future__ import annotations

from pathlib import Path

from virtyard.agent.drivers.heartbeat import block
from virtyard.agent.drivers.heartbeat.block import Content
from virtyard.agent.drivers.heartbeat.contract import Membership

__all__ = ["clear", "cleared_by", "is_lost", "occupant", "of_member", "put_back", "read"]


def occupant(content: Content | None) -> Content | None:
    """Return the member that a block is of; None if the slot is free."""
    return content if content is not None and content["server"] else None


def of_member(content: Content | None, server: str, mark: str | None) -> bool:
    """Tell whether a slot is a server's, if a mark is given one that the server took under that mark."""
    content = occupant(content)
    if content is None or content["server"] != server:
        return False
    return mark is None or content.get("mark", mark) == mark  # an agent before marks were kept wrote none


def read(path: Path, slot: int) -> Content | None:
    """Return what a slot holds."""
    (content,) = block.read(path, slot, 1)
    return content


def is_lost(path: Path, membership: Membership) -> bool:
    """Tell whether a slot was cleared, or given to another member; one that was torn while it was written is not."""
    content = read(path, membership.slot)
    if content is None:
        return block.is_clear(path, membership.slot)
    return not of_member(content, membership.server, membership.mark)


def clear(path: Path, slot: int, mark: str) -> None:
    """Free a slot under a mark, with what was in it kept for `put_back`."""
    block.write(path, slot, {"server": "", "mark": mark, "cleared": occupant(read(path, slot))})


def cleared_by(content: Content | None, mark: str) -> bool:
    """Tell whether a slot is free since it was cleared under a mark."""
    return content is not None and not content["server"] and content["mark"] == mark


def put_back(path: Path, slot: int, mark: str) -> bool:
    """Put back what was cleared under a mark; False if the slot is not as that left it."""
    content = read(path, slot)
    if content is None or not cleared_by(content, mark):
        return False
    block.write(path, slot, content["cleared"])
    return True
