"""Gets, lists and views: generic over the kinds, paged by key, whole in every snapshot."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest
from google.api import resource_pb2
from google.protobuf.message_factory import GetMessageClass

from tests.contract.inventory.samples import create, effect, machine, pool, server, update
from tests.contract.inventory.served import Served
from virtyard.api.inventory.v1 import inventory_service_pb2 as pb
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import watch_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.listing import parse_place, read_objects
from virtyard.inventory.model import Place, Query
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel.errors import InvalidRequest, NotFound, VirtyardError
from virtyard.kernel.names import kinds
from virtyard.runtime.database import Database
from virtyard.runtime.status import errors_named


async def execute(served: Served, *effects: participant.Effect) -> None:
    """Carry out effects that must succeed."""
    call = served.participant.Execute()
    await call.write(participant.ExecuteRequest(effects=effects))
    await call.done_writing()
    done = 0
    async for response in call:
        for report in response.reports:
            assert report.result.state == participant.EFFECT_STATE_DONE, report
            done += 1
    assert done == len(effects)


async def machines(served: Served, *names: str) -> None:
    """Make virtual machines."""
    await execute(served, effect("1/1/1", *(create(machine(name)) for name in names)))


async def names_of_all(served: Served, size: int, **fields: str) -> list[str]:
    """Return the names of all machines, read page by page."""
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListVirtualMachinesRequest(page_size=size, page_token=token, **fields)
        page = await served.reads.ListVirtualMachines(request)
        found += [one.name.partition("/")[2] for one in page.virtual_machines]
        token = page.next_page_token
        if not token:
            return found


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 0])
@pytest.mark.parametrize(
    ("order", "wanted"),
    [("", "aAbcdz"), ("name", "aAbcdz"), ("name desc", "zdcbAa"), ("display_name", "aAbcdz"),
     ("display_name desc", "zdcbAa"), ("create_time", "aAbcdz"), ("create_time desc", "zdcbAa")],
)  # fmt: skip
async def test_pages_give_every_object_once_in_order(served: Served, size: int, order: str, wanted: str) -> None:
    """Whatever the page size and the order, each object is given once, in that order."""
    await machines(served, *"zAdacb")
    await execute(served, effect("2/1/1", create(server("x")), create(pool("y"))))
    assert await names_of_all(served, size, order_by=order) == sorted(wanted, reverse=order.endswith("desc"))


async def test_pages_of_a_filtered_list_are_full(served: Served) -> None:
    """A filter does not make pages short, and the last page has no token."""
    await machines(served, *(f"m{n:03}" for n in range(40)))
    request = pb.ListVirtualMachinesRequest(page_size=4, filter="name:m00 OR name:5")
    page = await served.reads.ListVirtualMachines(request)
    assert len(page.virtual_machines) == 4
    assert len(await names_of_all(served, 4, filter="name:m00 OR name:5")) == 13


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "!"}, "page_token"),
        ({"page_token": "WzFd"}, "page_token"),
        ({"filter": "no_such_field = 1"}, "filter"),
        ({"filter": "("}, "filter"),
        ({"order_by": "labels"}, "order_by"),
        ({"order_by": "name down"}, "order_by"),
    ],
)
async def test_bad_list_request_names_the_field(served: Served, fields: dict[str, str], field: str) -> None:
    """A wrong page size, token, filter or order is refused with the field's name."""
    with pytest.raises(InvalidRequest) as caught, errors_named():
        await served.reads.ListVirtualMachines(pb.ListVirtualMachinesRequest(**fields))  # type: ignore[arg-type]  # mixed
    assert caught.value.violations[0].field == field


async def test_page_token_of_another_list_is_refused(served: Served) -> None:
    """A token is bound to the filter, the order and the kind that it was given for."""
    await machines(served, *"abc")
    page = await served.reads.ListVirtualMachines(pb.ListVirtualMachinesRequest(page_size=1))
    token = page.next_page_token
    for request in (
        pb.ListVirtualMachinesRequest(page_token=token, filter="name:a"),
        pb.ListVirtualMachinesRequest(page_token=token, order_by="display_name"),
    ):
        with pytest.raises(InvalidRequest), errors_named():
            await served.reads.ListVirtualMachines(request)
    with pytest.raises(InvalidRequest), errors_named():
        await served.reads.ListServers(pb.ListServersRequest(page_token=token))


async def test_watch_token_of_a_later_page_is_that_of_the_first(served: Served) -> None:
    """Watching from any page's token misses no change that came while the pages were read."""
    await machines(served, *"abc")
    first = await served.reads.ListVirtualMachines(pb.ListVirtualMachinesRequest(page_size=1))
    changed = machine("a")
    changed.display_name = "changed"
    await execute(served, effect("2/1/1", update(changed, "display_name"), token=2))
    second = await served.reads.ListVirtualMachines(pb.ListVirtualMachinesRequest(page_token=first.next_page_token))
    assert second.watch_token == first.watch_token
    options = watch_pb2.WatchOptions(resume_token=second.watch_token)
    watch = served.reads.WatchObjects(pb.WatchObjectsRequest(options=options))
    frame = await anext(aiter(watch))
    assert frame.object.virtual_machine.display_name == "changed"
    watch.cancel()


@pytest.mark.parametrize("order", ["name", "name desc", "display_name", "display_name desc", "create_time desc"])
async def test_page_deep_inside_a_list_is_found_by_its_index(
    store: SqliteStore, database: Database, order: str
) -> None:
    """A page reads its own rows through an index, without sorting and without those before it."""
    writes = [create(machine(f"m{n:04}")) for n in range(600)]
    await store.execute([effect("1/1/1", *writes)])
    query = Query(collection="virtualMachines", size=10, order_by=order)
    page = await store.list(query)
    later = Query(collection="virtualMachines", size=10, order_by=order, page_token=page.next_page_token)
    place = parse_place(later)

    def steps(connection: sqlite3.Connection, place: Place) -> int:
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        connection.set_progress_handler(tick, 1)
        try:
            read_objects(connection, later, place)
        finally:
            connection.set_progress_handler(None, 0)
        return count

    first = await database.read(lambda connection: steps(connection, place))
    token = page.next_page_token
    for _ in range(50):
        token = (
            await store.list(Query(collection="virtualMachines", size=10, order_by=order, page_token=token))
        ).next_page_token
    deep = parse_place(Query(collection="virtualMachines", size=10, order_by=order, page_token=token))
    assert await database.read(lambda connection: steps(connection, deep)) < 1.5 * first


@pytest.mark.parametrize(("name", "error"), [("virtualMachines/none", NotFound), ("servers/a", InvalidRequest),
                                             ("virtualMachines/", InvalidRequest), ("", InvalidRequest),
                                             ("virtualMachines/a/b", InvalidRequest)])  # fmt: skip
async def test_get_refuses_what_is_not_there(served: Served, name: str, error: type[VirtyardError]) -> None:
    """An unknown name is NOT_FOUND; one of another kind, or a malformed one, is refused by field."""
    with pytest.raises(error), errors_named():
        await served.reads.GetVirtualMachine(pb.GetVirtualMachineRequest(name=name))


async def test_view_gives_every_hop_once(served: Served) -> None:
    """A view follows relations forward and backward and gives what it met, absent names left out."""
    await execute(
        served,
        effect(
            "1/1/1",
            create(pool("p")),
            create(server("s", pool="serverPools/p")),
            create(server("t", pool="serverPools/p")),
        ),
        effect("1/1/2", create(machine("m", on="servers/s"))),
    )
    selections = [
        participant.Selection(object="virtualMachines/m", follow=["server/server_pool/servers@server_pool"]),
        participant.Selection(object="virtualMachines/none"),
        participant.Selection(object="serverPools/p"),
    ]
    view = await served.control.View(control_service_pb2.ViewRequest(selections=selections))
    names = [getattr(one, one.WhichOneof("object") or "").name for one in view.objects]
    assert names == ["serverPools/p", "servers/s", "servers/t", "virtualMachines/m"]
    assert list(view.objects[0].server_pool.servers) == ["servers/s", "servers/t"]
    assert view.sequence == served.inventory.feed.head
    assert view.resume_token == served.inventory.feed.token()
    again = await served.control.View(control_service_pb2.ViewRequest())
    assert len(view.owner_id) == 36
    assert again.owner_id == view.owner_id


@pytest.mark.parametrize("path", ["nothing", "servers@nothing", "nothing@server_pool", "server_pool//x", ""])
async def test_view_refuses_unknown_relations(served: Served, path: str) -> None:
    """A path that names no relation is refused, not silently empty."""
    request = control_service_pb2.ViewRequest(selections=[participant.Selection(object="servers/a", follow=[path])])
    with pytest.raises(InvalidRequest), errors_named():
        await served.control.View(request)


async def test_view_is_for_services_only(served: Served) -> None:
    """A person may not call what is made for the scheduler."""
    from virtyard.internal.inventory.v1 import control_service_pb2_grpc
    from virtyard.kernel.errors import PermissionDenied

    stub = control_service_pb2_grpc.ControlServiceStub(served.dial("user/viewer"))
    with pytest.raises(PermissionDenied), errors_named():
        await stub.View(control_service_pb2.ViewRequest())


async def test_no_reader_sees_half_a_relation(served: Served) -> None:
    """While servers move between pools, every view shows each server in the pool that it names, and in no other."""
    await execute(served, effect("1/1/1", create(pool("p")), create(pool("q")), *(create(server(n)) for n in "abcd")))
    pools = ("serverPools/p", "serverPools/q")

    async def move(name: str, operation: int) -> None:
        for turn in range(30):
            moved = server(name, pool=pools[turn % 2])
            await execute(served, effect(f"{operation}/1/{turn}", update(moved, "server_pool"), token=operation))

    async def look(finished: asyncio.Event) -> int:
        looks = 0
        selections = [participant.Selection(object=name, follow=["servers@server_pool"]) for name in pools]
        while not finished.is_set():
            view = await served.control.View(control_service_pb2.ViewRequest(selections=selections))
            listed = {
                one.server_pool.name: set(one.server_pool.servers)
                for one in view.objects
                if one.HasField("server_pool")
            }
            named: dict[str, set[str]] = {name: set() for name in pools}
            for one in view.objects:
                if one.HasField("server"):
                    named[one.server.server_pool].add(one.server.name)
            assert listed == named
            looks += 1
        return looks

    finished = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look(finished))
        movers = [group.create_task(move(name, number)) for number, name in enumerate("abcd", 2)]
        await asyncio.gather(*movers)
        finished.set()
    assert looking.result() > 10


async def test_filter_sees_projections(served: Served) -> None:
    """A filter may name a projected field."""
    await execute(
        served, effect("1/1/1", create(pool("p")), create(pool("q")), create(server("s", pool="serverPools/p")))
    )
    found = await served.reads.ListServerPools(pb.ListServerPoolsRequest(filter='servers:"servers/s"'))
    assert [one.name for one in found.server_pools] == ["serverPools/p"]


async def test_state_can_be_filtered(served: Served) -> None:
    """A filter names a state without the prefix of its kind."""
    running = machine("r")
    running.state = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
    await execute(served, effect("1/1/1", create(running), create(machine("m"))))
    found = await served.reads.ListVirtualMachines(pb.ListVirtualMachinesRequest(filter="state = RUNNING"))
    assert [one.name for one in found.virtual_machines] == ["virtualMachines/r"]


async def test_every_kind_has_a_get_and_a_list(served: Served) -> None:
    """Each method of the service is answered by the generic handler, with an empty page or NOT_FOUND."""
    stub = served.reads
    for method in pb.DESCRIPTOR.services_by_name["InventoryService"].methods:
        input_type: Any = method.input_type
        request = GetMessageClass(input_type)()
        if method.name.startswith("List"):
            page = await getattr(stub, method.name)(request)
            assert page.watch_token
        elif method.name.startswith("Get") and method.name != "GetTriageEvent":
            reference = input_type.fields_by_name["name"].GetOptions().Extensions[resource_pb2.resource_reference]
            collection = next((kind.collection for kind in kinds().values() if kind.type == reference.type), "events")
            with pytest.raises(NotFound), errors_named():
                await getattr(stub, method.name)(type(request)(name=f"{collection}/1"))
