"""An open CRITICAL event keeps what it names from its object: at submission, and again under the locks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_failure import state_of
from tests.integration.jobs.test_replan import WEB, before_grant, metadata_of
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2, inventory_service_pb2_grpc
from virtyard.api.operations.v1 import rename_virtual_machine_pb2, start_virtual_machine_pb2
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.internal.inventory.v1 import control_service_pb2, control_service_pb2_grpc
from virtyard.inventory import selections
from virtyard.kernel import event_types
from virtyard.kernel.errors import BlockedByEvent, ConditionHolds
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.permissions import Principal
from virtyard.locks.model import LockSet, LockWish, Release
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.status import errors_named, from_status

START = start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB)


@pytest.fixture
async def furnished(site: Site) -> Site:
    """Return a site with a stopped machine."""
    (site.share / "vmlinuz").write_bytes(b"a kernel")
    request = machine("web", disks=0, vnics=0)
    request.virtual_machine.boot.kernel_path = str(site.share / "vmlinuz")
    await site.succeed(request)
    await site.wait_released()
    return site


async def violate(site: Site, subject: str = WEB, key: str = "1") -> event_pb2.Event:
    """Raise the event that a rule was broken on an object; return it as it was recorded."""
    event = event_types.new_event(event_types.SAFETY_VIOLATED, subject, "it is locked twice")
    keyed = control_service_pb2.KeyedEvent(key=key, event=event)
    stub: Any = control_service_pb2_grpc.ControlServiceStub(site._near["inventory"])
    await stub.RaiseEvents(control_service_pb2.RaiseEventsRequest(events=[keyed]))
    return (await site.events(subject))[0]


async def acknowledge(site: Site, name: str, *, force: bool = False) -> event_pb2.Event:
    """Acknowledge an event as an operator does."""
    operator = Principal.of("user/operator", frozenset({Role.ROLE_OPERATOR}))
    async with LocalChannel(site.inventory.services, operator) as channel:
        stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        request = inventory_service_pb2.AcknowledgeEventRequest(name=name, comment="looked at", force=force)
        with errors_named():
            answer: event_pb2.Event = await stub.AcknowledgeEvent(request)
    return answer


@pytest.mark.parametrize("subject", [WEB, "serverPools/Finance"])
async def test_an_open_event_blocks_what_it_names_and_nothing_else(furnished: Site, subject: str) -> None:
    """On its object and below it; a preview says so too. Once it is acknowledged, the same request is accepted."""
    site = furnished
    event = await violate(site, subject)
    before = await state_of(site)
    for rehearsal in (True, False):
        request = start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB, validate_only=rehearsal)
        with pytest.raises(BlockedByEvent) as refused, errors_named():
            await site.submit(request)
        assert refused.value.resource == subject
        assert refused.value.metadata["event"] == event.name
        assert f"virtyard event acknowledge {event.name}" in refused.value.message
    assert await state_of(site) == before
    # What it does not name goes on.
    await site.succeed(rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=WEB, display_name="Web"))
    await acknowledge(site, event.name)
    await site.succeed(START)


async def test_an_event_on_something_else_blocks_nothing(furnished: Site) -> None:
    """The other server was read for the plan, and is not part of it."""
    site = furnished
    rehearsal = await site.submit(
        start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB, server="servers/s1", validate_only=True)
    )
    assert rehearsal.done
    await violate(site, "servers/s2")
    await site.succeed(start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB, server="servers/s1"))


async def test_an_event_that_comes_before_the_locks_is_found_under_them(furnished: Site) -> None:
    """The operation ends refused by its reason, with nothing done, and has not been planned again and again."""
    site = furnished
    before = await state_of(site)
    asked = before_grant(site, "Start Virtual Machine", lambda: violate(site))
    operation = await site.run(START)
    error = from_status(operation.error)
    assert isinstance(error, BlockedByEvent), error
    assert len(asked) == 1
    await site.wait_released()
    assert await state_of(site) == before


async def test_without_the_check_under_the_locks_it_would_be_overlooked(
    furnished: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the look for new events switched off, the machine starts: what the test above sees is that look's doing."""
    monkeypatch.setattr(selections, "read_blocking", lambda _reader, _names: [])
    site = furnished
    before_grant(site, "Start Virtual Machine", lambda: violate(site))
    await site.succeed(START)


async def test_an_event_known_to_the_plan_is_no_change(furnished: Site) -> None:
    """One that was open when the plan was made, and does not block it, has nothing planned again."""
    site = furnished
    await violate(site, "servers/s2")
    asked = before_grant(site, "Start Virtual Machine", lambda: asyncio.sleep(0))
    operation = await site.succeed(start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB, server="servers/s1"))
    assert len(asked) == 1
    assert metadata_of(operation).replans == 0


async def test_what_still_holds_is_not_acknowledged_unless_by_force(furnished: Site) -> None:
    """An operation that holds its locks is still at it; once they are released the same event can be acknowledged."""
    site = furnished
    proxy: Any = site.jobs.scheduler.world.locks
    wanted = LockSet(owner="operations/900", epoch=1, locks=(LockWish(object=WEB, mode=LockMode.X, job="jobs/900-1"),))
    await proxy.acquire(wanted)
    names = []
    for key in ("1", "2"):
        event = event_types.new_event(event_types.ROLLBACK_FAILED, WEB, "stuck", operation="operations/900")
        keyed = control_service_pb2.KeyedEvent(key=key, event=event)
        stub: Any = control_service_pb2_grpc.ControlServiceStub(site._near["inventory"])
        await stub.RaiseEvents(control_service_pb2.RaiseEventsRequest(events=[keyed]))
        names.append((await site.events(WEB))[0].name)
    activity = site.inventory.activity
    assert activity is not None

    async def is_seen() -> bool:
        return bool(activity.held_by("operations/900"))

    await site.wait_until(is_seen)
    with pytest.raises(ConditionHolds, match="operations/900 is still open"):
        await acknowledge(site, names[0])
    assert (await acknowledge(site, names[0], force=True)).forced
    await proxy.release([Release(owner="operations/900", epoch=1)])

    async def is_over() -> bool:
        return not activity.held_by("operations/900")

    await site.wait_until(is_over)
    assert not (await acknowledge(site, names[1])).forced
