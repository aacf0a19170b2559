"""Disconnections: servers whose agent's contact was lost, told once when it is lost and once when it is heard again."""

from __future__ import annotations

from datetime import datetime

from virtyard.inventory.model import FeedWriter, Reader
from virtyard.inventory.objects import read_row
from virtyard.inventory.troubles import begin_trouble, end_trouble, has_trouble
from virtyard.kernel import event_types

__all__ = ["is_disconnected", "read_disconnected", "reconnect", "tell_disconnected"]

_PART = "agent/contact"
"""What is wrong with the server, in the table of troubles; no interface has a slash in its name."""
_ALL = "SELECT object FROM trouble WHERE part = ?"


def read_disconnected(reader: Reader) -> frozenset[str]:
    """Return the servers whose contact was told to be lost, and that were not heard since."""
    return frozenset(name for (name,) in reader.execute(_ALL, (_PART,)))


def is_disconnected(reader: Reader, server: str) -> bool:
    """Return whether it was told that the contact to a server is lost."""
    return has_trouble(reader, server, _PART)


def tell_disconnected(transaction: FeedWriter, server: str, now: datetime) -> None:
    """Tell that the contact to a server's agent was lost, unless that was told already or there is no such server."""
    row = read_row(transaction, server)
    if row is None or row.deleted or is_disconnected(transaction, server):
        return
    text = f"the connection to the agent of {server} has ended, and the agent did not say that it stops"
    begin_trouble(transaction, server, _PART, event_types.SERVER_DISCONNECTED, text, now)


def reconnect(transaction: FeedWriter, server: str, now: datetime, *, tell: bool) -> None:
    """Note that a server which was disconnected is heard again; `tell` of it where no other event does."""
    text = f"the agent of {server} is heard again"
    kind = event_types.SERVER_RECONNECTED if tell else None
    end_trouble(transaction, server, _PART, kind, text, now)
