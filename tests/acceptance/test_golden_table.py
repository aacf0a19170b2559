"""The golden table: which jobs a machine's creation splits into, in which order; and the preview equals what ran."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.acceptance.asking import ask, create_machine, list_jobs, new_disk, prepare, run
from tests.acceptance.site import Site, open_site
from virtyard.api.jobs.v1 import operation_pb2

NUMBERS = (0, 1, 3)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with one server."""
    with open_site() as running:
        yield running


def golden(disks: int, cards: int) -> list[str]:
    """Return the titles that people know, in their order."""
    return [
        "Create Virtual Machine",
        "Add Virtual Machine to Server Pool",
        *(["Create Virtual Disk", "Add Virtual Disk to Virtual Machine"] * disks),
        *(["Create VNIC on Virtual Machine"] * cards),
    ]


async def test_create_virtual_machine_splits_into_the_golden_jobs_and_runs_as_previewed(site: Site) -> None:
    """Proves titles and order for each number of disks and cards, and that preview and run are the same plan."""
    async with site.client() as client:
        await prepare(site, client)
        for disks, cards in itertools.product(NUMBERS, NUMBERS):
            request = create_machine(site, f"m{disks}{cards}", [new_disk(1) for _ in range(disks)], cards)
            request.validate_only = True
            preview = operation_pb2.OperationMetadata.FromString((await ask(client, request)).metadata.value)
            request.validate_only = False
            story = await run(client, request)
            ran = await list_jobs(client, story.name)
            assert [job.title for job in ran] == golden(disks, cards)
            assert set(story.metadata.resume_tokens) == {"inventory", "jobs", "locks"}
            assert [(job.title, job.object) for job in preview.plan.jobs] == [(job.title, job.object) for job in ran]
            assert [[step.title for step in job.steps] for job in preview.plan.jobs] == [
                [step.title for step in job.steps] for job in ran
            ]
