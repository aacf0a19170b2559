"""Hardware addresses: out of the network's range, and each to one card only."""

from __future__ import annotations

import pytest

from tests.contract.inventory.samples import create, delete, effect, machine, results, vnic
from virtyard.api.inventory.v1 import network_pb2, vnic_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.runtime.status import from_status

OWNER = "virtualMachines/m"
LAN = network_pb2.Network(name="networks/lan", uid="uid-lan", mac_pool="52:54:00:10:00:00-52:54:00:10:00:03")


def card(name: str, network: str = "networks/lan", mac: str = "") -> vnic_pb2.Vnic:
    """A card of the machine."""
    made = vnic(name, of=OWNER)
    made.bridged_network, made.mac_address = network, mac
    return made


async def run(store: SqliteStore, *effects: participant.Effect) -> list[participant.EffectRecord]:
    """The records of one round."""
    return list((await store.execute(effects)).records)


@pytest.fixture
async def filled(store: SqliteStore) -> SqliteStore:
    """An inventory with the machine and the network."""
    await run(store, effect("1/1/1", create(machine("m")), create(LAN)))
    return store


async def test_cards_get_the_addresses_of_their_range_and_then_none(filled: SqliteStore) -> None:
    """Four cards of one effect have the four addresses; a fifth is refused and leaves nothing."""
    (record,) = await run(filled, effect("2/1/1", *(create(card(name)) for name in "abcd")))
    given = {made.mac_address for made in results(record)}
    assert given == {f"52:54:00:10:00:0{number}" for number in range(4)}
    (record,) = await run(filled, effect("3/1/1", create(card("e"))))
    assert from_status(record.error).reason == "CAPACITY_EXHAUSTED"
    assert list((await filled.get("networks/lan")).vnics) == [f"vnics/{name}" for name in "abcd"]


async def test_an_address_belongs_to_one_card(filled: SqliteStore) -> None:
    """One that is taken is refused with its owner; with the owner it becomes free."""
    mac = "52:54:00:aa:00:01"
    await run(filled, effect("2/1/1", create(card("a", mac=mac))))
    (record,) = await run(filled, effect("3/1/1", create(card("b", mac=mac))))
    error = from_status(record.error)
    assert (error.reason, error.resource) == ("ALREADY_EXISTS", "vnics/a")
    await run(filled, effect("4/1/1", delete("vnics/a")))
    (record,) = await run(filled, effect("5/1/1", create(card("b", mac=mac))))
    assert [made.mac_address for made in results(record)] == [mac]


async def test_a_card_without_a_network_gets_one_of_the_sites(filled: SqliteStore) -> None:
    """The prefix is that of the site's own range."""
    (record,) = await run(filled, effect("2/1/1", create(card("a", network=""))))
    assert results(record)[0].mac_address.startswith("52:54:00:")
