"""Images in the inventory: they take of their repository's space together with its disks."""

from __future__ import annotations

from tests.contract.inventory.samples import GIB, create, delete, disk, effect, repository
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_reads import execute
from virtyard.api.inventory.v1 import image_pb2, inventory_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant

WHERE = "repositories/r"


def image(name: str, size: int = GIB) -> image_pb2.Image:
    """Return an image of this size, in bytes."""
    return image_pb2.Image(name=f"images/{name}", uid=f"uid-{name}", repository=WHERE, size_bytes=size)


async def provisioned(served: Served) -> int:
    """Return what the repository shows as taken, in bytes."""
    request = inventory_service_pb2.GetRepositoryRequest(name=WHERE)
    return int((await served.reads.GetRepository(request)).provisioned_bytes)


async def test_images_and_disks_are_shown_together(served: Served) -> None:
    """The sum is that of both kinds, whichever comes or goes."""
    await execute(served, effect("1/1/1", create(repository("r"))))
    await execute(served, effect("2/1/1", create(image("a"))))
    assert await provisioned(served) == GIB
    await execute(served, effect("3/1/1", create(disk("d", where=WHERE, size=2 * GIB))))
    assert await provisioned(served) == 3 * GIB
    await execute(served, effect("4/1/1", delete("images/a")))
    assert await provisioned(served) == 2 * GIB


async def test_an_image_that_does_not_fit_beside_the_disks_is_not_recorded(served: Served) -> None:
    """Nor a disk beside the images: the limit is one for both."""
    await execute(served, effect("1/1/1", create(repository("r", capacity=3 * GIB))))
    await execute(served, effect("2/1/1", create(disk("d", where=WHERE, size=2 * GIB))))
    await refuse(served, effect("3/1/1", create(image("a", 2 * GIB))))
    await execute(served, effect("4/1/1", create(image("b", GIB))))
    await refuse(served, effect("5/1/1", create(disk("e", where=WHERE, size=GIB))))
    assert await provisioned(served) == 3 * GIB


async def refuse(served: Served, asked: participant.Effect) -> None:
    """Carry out an effect for which the repository must have no room."""
    call = served.participant.Execute()
    await call.write(participant.ExecuteRequest(effects=[asked]))
    await call.done_writing()
    (report,) = [report async for response in call for report in response.reports if report.HasField("result")]
    assert report.result.state == participant.EFFECT_STATE_FAILED
    assert "CAPACITY_EXHAUSTED" in str(report.result.error)
