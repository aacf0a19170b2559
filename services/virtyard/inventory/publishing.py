"""Publishing objects that something else than an effect has changed: their watchers see them as they are now."""

from __future__ import annotations

from collections.abc import Iterable

from virtyard.inventory.model import FeedWriter
from virtyard.inventory.objects import read_rows
from virtyard.inventory.projections import present
from virtyard.kernel.names import wrap

__all__ = ["publish"]


def publish(transaction: FeedWriter, names: Iterable[str]) -> None:
    """Add objects to the feed with their projections, each that exists."""
    rows = [row for row in read_rows(transaction, names).values() if not row.deleted]
    for message in present(transaction, rows):
        transaction.append("object", message.name, wrap(message).SerializeToString())
