"""Hardware addresses of cards: given out of their network's range, and each to one card only.

Decided in the transaction that stores the card, by the relation index, so that cards made side by side never meet.
"""

from __future__ import annotations

from itertools import islice

from virtyard.api.inventory.v1 import network_pb2, vnic_pb2
from virtyard.inventory.model import Reader
from virtyard.inventory.objects import ADDRESSES, read_row
from virtyard.kernel.errors import AlreadyExists, CapacityExhausted
from virtyard.kernel.mac_addresses import SITE_POOL, candidates

__all__ = ["give_address"]

_MOST_TRIES = 4096
_OWNER = "SELECT source FROM relation WHERE target = ? AND kind = 'vnics' AND field = 'mac_address' AND source <> ?"


def give_address(reader: Reader, card: vnic_pb2.Vnic) -> None:
    """Give a card an address if it has none, and see that nobody else has its own.

    Raises:
        AlreadyExists: another card has the address that it came with.
        CapacityExhausted: its range has no free one.
    """
    if card.mac_address:
        owner = _owner(reader, card.mac_address, card.name)
        if owner:
            text = f"{card.mac_address} is the address of {owner}; each card needs one of its own"
            raise AlreadyExists(text, resource=owner, metadata={"field": "mac_address"})
        return
    pool = _pool(reader, card.bridged_network)
    for address in islice(candidates(pool, card.uid), _MOST_TRIES):
        if not _owner(reader, address, card.name):
            card.mac_address = address
            return
    where = card.bridged_network or "the site"
    raise CapacityExhausted(f"the range {pool} of {where} has no free address", resource=where)


def _pool(reader: Reader, network: str) -> str:
    row = read_row(reader, network) if network else None
    found = network_pb2.Network.FromString(row.body).mac_pool if row is not None else ""
    return found or SITE_POOL


def _owner(reader: Reader, address: str, card: str) -> str:
    found = reader.execute(_OWNER, (f"{ADDRESSES}/{address}", card)).fetchone()
    return str(found[0]) if found is not None else ""
